"""What sites state under their signatures, made and checked: origins, receipts, introductions.

A key speaks for one site: a statement counts only where the key that signed it is known as a key of the
very site it is about.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, TypeVar

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from google.protobuf.message import DecodeError, Message

from librarian.api.common.v1.common_pb2 import Origin, Receipt, Signed, SiteKey
from librarian.errors import KeyNotIntroduced, SignatureInvalid
from svckit.keys import key_id
from svckit.signing import sign, verify

ORIGIN_TYPE: Final = "librarian.origin"
RECEIPT_TYPE: Final = "librarian.receipt"
INTRODUCTION_TYPE: Final = "librarian.introduction"

M = TypeVar("M", bound=Message)


class KeyRing:
    """Public keys by site and key id."""

    def __init__(self, keys: Iterable[tuple[str, Ed25519PublicKey]] = ()) -> None:
        self._keys: dict[tuple[str, str], Ed25519PublicKey] = {}
        for site, key in keys:
            self.add(site, key)

    def add(self, site: str, key: Ed25519PublicKey) -> None:
        self._keys[site, key_id(key)] = key

    def has(self, site: str, key: str) -> bool:
        """`key`: its id."""
        return (site, key) in self._keys

    def key_of(self, site: str, key: str) -> Ed25519PublicKey:
        """Raises KeyNotIntroduced."""
        found = self._keys.get((site, key))
        if found is None:
            raise KeyNotIntroduced(f"{key[:80]} is not known as a key of {site[:80]}", site=site[:80])
        return found


def make_origin(origin: Origin, key: Ed25519PrivateKey) -> Signed:
    return _made(ORIGIN_TYPE, origin, key)


def read_origin(signed: Signed) -> Origin:
    """Of one that was verified when it came to this site. Raises SignatureInvalid: it is none."""
    return _parsed(Origin, signed, ORIGIN_TYPE)


def verify_origin(signed: Signed, keys: KeyRing) -> Origin:
    """Raises SignatureInvalid: another type, changed bytes; KeyNotIntroduced: not a known key of its site."""
    origin = _parsed(Origin, signed, ORIGIN_TYPE)
    verify(signed, keys.key_of(origin.site, signed.key_id), expected_type=ORIGIN_TYPE)
    return origin


def make_receipt(receipt: Receipt, key: Ed25519PrivateKey) -> Signed:
    """`key`: of the site that holds the dataset."""
    return _made(RECEIPT_TYPE, receipt, key)


def verify_receipt(signed: Signed, keys: KeyRing) -> Receipt:
    """What is in it is the caller's to compare with what it offered. Raises as `verify_origin`."""
    receipt = _parsed(Receipt, signed, RECEIPT_TYPE)
    verify(signed, keys.key_of(receipt.site, signed.key_id), expected_type=RECEIPT_TYPE)
    return receipt


def site_key(site: str, key: Ed25519PublicKey, create_time_us: int) -> SiteKey:
    return SiteKey(
        site=site, key_id=key_id(key), public_key=key.public_bytes_raw(), create_time_us=create_time_us
    )


def make_introduction(introduced: SiteKey, key: Ed25519PrivateKey) -> Signed:
    """A third site's key, in the word of the site that `key` belongs to."""
    return _made(INTRODUCTION_TYPE, introduced, key)


def verify_introduction(signed: Signed, introducer: str, keys: KeyRing) -> SiteKey:
    """Raises SignatureInvalid: changed, or what it introduces is no key under its own id; KeyNotIntroduced:
    signed by a key that is not known as one of the site `introducer`.
    """
    introduced = _parsed(SiteKey, signed, INTRODUCTION_TYPE)
    verify(signed, keys.key_of(introducer, signed.key_id), expected_type=INTRODUCTION_TYPE)
    if key_id(public_key_of(introduced.public_key)) != introduced.key_id:
        raise SignatureInvalid(f"{introducer} introduces a key of {introduced.site[:80]} under another id")
    return introduced


def public_key_of(raw: bytes) -> Ed25519PublicKey:
    """Raises SignatureInvalid: not the 32 bytes of a key."""
    try:
        return Ed25519PublicKey.from_public_bytes(raw)
    except ValueError as error:
        raise SignatureInvalid("what is called a public key is none") from error


def _made(statement_type: str, statement: Message, key: Ed25519PrivateKey) -> Signed:
    return sign(statement_type, statement.SerializeToString(deterministic=True), key)


def _parsed(kind: type[M], signed: Signed, expected_type: str) -> M:
    """The payload before its signature is checked: it names the site whose key has to be asked for."""
    if signed.type != expected_type:
        raise SignatureInvalid(f"a statement of type {signed.type[:80]!r} where {expected_type!r} is due")
    try:
        return kind.FromString(signed.payload)
    except DecodeError as error:
        raise SignatureInvalid(f"the payload of a {expected_type} cannot be read") from error
