"""Keys of several purposes out of the gateway's one."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

TOKEN_REPLAY = b"librarian token replay"
SESSIONS = b"librarian sessions"
INVITATIONS = b"librarian invitations"


def derived_key(key: Ed25519PrivateKey, purpose: bytes) -> bytes:
    """32 bytes that only the holder of the gateway's private key can make."""
    return HKDF(SHA256(), 32, salt=None, info=purpose).derive(key.private_bytes_raw())
