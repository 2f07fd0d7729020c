"""A site's own key and the one before it, and how others learn of a rotation.

`auth.site_key_file` is the present key, `<stem>.former.key` beside it the one before, where there was one.
A statement of type "librarian.key" names a key and is signed by its predecessor, or by itself.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from google.protobuf.message import DecodeError

from librarian.api.common.v1.common_pb2 import Signed, SiteKey
from librarian.errors import InvalidConfig, Refused, SignatureInvalid
from svckit.keys import key_id, load_private_key, private_pem, public_pem, write_new
from svckit.signing import sign, verify
from svckit.statements import public_key_of, site_key

KEY_TYPE = "librarian.key"
# How long the former key goes on opening sessions at a peer that has heard of the new one.
OVERLAP = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class SiteKeys:
    """`former`: None where the key was never rotated."""

    site: str
    key: Ed25519PrivateKey
    former: Ed25519PrivateKey | None = None

    @classmethod
    def load(cls, site: str, file: str) -> SiteKeys:
        """`file`: auth.site_key_file. Raises InvalidConfig where it is not set, Refused."""
        if not file:
            raise InvalidConfig("config: auth.site_key_file is not set", key="auth.site_key_file")
        former = former_file(Path(file))
        return cls(site, load_private_key(Path(file)), load_private_key(former) if former.exists() else None)

    def statement(self, now: datetime) -> Signed:
        """The present key, signed by the one before it where there was one."""
        made = site_key(self.site, self.key.public_key(), int(now.timestamp() * 1_000_000))
        return sign(KEY_TYPE, made.SerializeToString(deterministic=True), self.former or self.key)


def former_file(file: Path) -> Path:
    return file.with_name(f"{file.stem}.former.key")


def rotate(file: Path, *, now: datetime, again: bool = False) -> str:
    """Makes a new key at `file` and keeps the present one as the former; answers the new key's id.

    A crash leaves either the old pair or the new one: at worst the former key is the present one twice.
    Raises Refused where there is no key yet; and, unless `again`, where the last rotation is so recent that a
    peer may know neither of the two keys that are left.
    """
    present = load_private_key(file)
    former = former_file(file)
    if not again and former.exists():
        last = datetime.fromtimestamp(former.stat().st_mtime, UTC)
        if now < last + OVERLAP:
            raise Refused(
                f"the key was rotated at {last:%Y-%m-%d %H:%M}, and a peer that did not hear of it would not "
                "know this site any more",
                remedy=f"wait until {last + OVERLAP:%Y-%m-%d %H:%M}, or use --again once every peer has the "
                "present key (`librarian peer ls --json` there)",
            )
    fresh = Ed25519PrivateKey.generate()
    _replace(former, private_pem(present), 0o600)
    _replace(file, private_pem(fresh), 0o600)
    _replace(file.with_suffix(".pub"), public_pem(fresh.public_key()), 0o644)
    return key_id(fresh.public_key())


def verify_key(signed: Signed, site: str, by: Ed25519PublicKey) -> SiteKey:
    """Raises SignatureInvalid: not signed by `by`, about another site, or no key under its own id."""
    verify(signed, by, expected_type=KEY_TYPE)
    try:
        stated = SiteKey.FromString(signed.payload)
    except DecodeError as error:
        raise SignatureInvalid("the statement of a key cannot be read") from error
    if stated.site != site:
        raise SignatureInvalid(f"{site} states a key of {stated.site[:80]!r}")
    if key_id(public_key_of(stated.public_key)) != stated.key_id:
        raise SignatureInvalid(f"{site} states a key under another key's id")
    return stated


def new_keys(statements: Iterable[Signed], site: str, known: Mapping[str, Ed25519PublicKey]) -> list[SiteKey]:
    """Keys that these statements add to the `known` ones (by key id), each vouched for by one before it.

    What hangs on no known key is passed over: a peer may have been away for longer than the chain reaches.
    Raises SignatureInvalid for one that claims a known key and was not signed by it.
    """
    trusted = dict(known)
    found: list[SiteKey] = []
    left = list(statements)
    while usable := [signed for signed in left if signed.key_id in trusted]:
        for signed in usable:
            left.remove(signed)
            stated = verify_key(signed, site, trusted[signed.key_id])
            if stated.key_id not in trusted:
                trusted[stated.key_id] = public_key_of(stated.public_key)
                found.append(stated)
    return found


def _replace(path: Path, data: bytes, mode: int) -> None:
    scratch = path.with_name(f".{path.name}.new")
    scratch.unlink(missing_ok=True)
    write_new(scratch, data, mode)
    scratch.replace(path)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
