"""Files that hold secrets. Ed25519 keys: `<name>.key` (PKCS#8 PEM, 0600) where something is signed,
`<name>.pub` elsewhere. Passwords: 0600, no end of line.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import tempfile
from collections.abc import Iterable
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from librarian.errors import Refused

# Group read is allowed: Kubernetes mounts secrets as 0440 of the pod's fsGroup.
_TOO_OPEN = 0o037
# Of randomness, in a password.
_PASSWORD_BYTES = 24


def load_private_key(path: Path) -> Ed25519PrivateKey:
    """Raises Refused: missing, readable by others, or no Ed25519 key."""
    try:
        mode = path.stat().st_mode
        data = path.read_bytes()
    except OSError as error:
        raise Refused(f"cannot read the private key {path}: {error.strerror}", path=path) from error
    if mode & _TOO_OPEN:
        raise Refused(
            f"the private key {path} is open to others (mode {mode & 0o777:04o})",
            remedy=f"chmod 600 {path}, and make a new key if others could have read it",
            path=path,
        )
    try:
        key = serialization.load_pem_private_key(data, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise Refused(f"{path} is not an unencrypted private key in PEM", path=path) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise Refused(f"{path} is not an Ed25519 key", path=path)
    return key


def load_public_key(path: Path) -> Ed25519PublicKey:
    """Raises Refused: missing, or no Ed25519 key."""
    try:
        key = serialization.load_pem_public_key(path.read_bytes())
    except OSError as error:
        raise Refused(f"cannot read the public key {path}: {error.strerror}", path=path) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise Refused(f"{path} is not a public key in PEM", path=path) from error
    if not isinstance(key, Ed25519PublicKey):
        raise Refused(f"{path} is not an Ed25519 key", path=path)
    return key


def ensure_private_key(path: Path) -> Ed25519PrivateKey:
    """The key at `path`; made, with its `.pub` beside it, where there is none. Two that make it at once
    end with the same key.
    """
    if not path.exists():
        write_new(path, private_pem(Ed25519PrivateKey.generate()), 0o600)
    key = load_private_key(path)
    public = path.with_suffix(".pub")
    if not public.exists():
        write_new(public, public_pem(key.public_key()), 0o644)
    return key


def ensure_keys(keys_dir: Path, names: Iterable[str]) -> None:
    """A key pair for each name in `keys_dir`; those that are there stay."""
    for name in names:
        ensure_private_key(keys_dir / f"{name}.key")


def ensure_password(path: Path) -> str:
    """The password at `path`, made at random where there is none: letters, digits, `-` and `_`. Raises
    Refused: it cannot be read, or is empty.
    """
    try:
        if not path.exists():
            write_new(path, secrets.token_urlsafe(_PASSWORD_BYTES).encode(), 0o600)
        password = path.read_text().strip()
    except OSError as error:
        raise Refused(f"cannot keep a password in {path}: {error.strerror}", path=path) from error
    if not password:
        raise Refused(f"the password in {path} is empty", remedy=f"remove {path}", path=path)
    return password


def private_pem(key: Ed25519PrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def public_pem(key: Ed25519PublicKey) -> bytes:
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def key_id(key: Ed25519PublicKey) -> str:
    """Names a public key: the first 16 bytes of the sha256 of its 32 raw bytes, in hex."""
    raw = key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return hashlib.sha256(raw).hexdigest()[:32]


def write_new(path: Path, data: bytes, mode: int) -> None:
    """Write whole or not at all, durably; whoever was first stays. Missing directories are made, 0700."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor, scratch = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        try:
            os.link(scratch, path)
        except FileExistsError:
            return
    finally:
        Path(scratch).unlink()
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
