"""Signed statements that outlive the process and cross sites: origins, receipts, certificates."""

from __future__ import annotations

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from librarian.api.common.v1.common_pb2 import Signed
from librarian.errors import SignatureInvalid
from svckit.keys import key_id

_DOMAIN = b"librarian/v1"


def signed_bytes(statement_type: str, payload: bytes) -> bytes:
    """What the signature covers: "librarian/v1", the type and the payload, each after its length as an
    8-byte big-endian number, so that no two statements share their bytes.
    """
    parts = (_DOMAIN, statement_type.encode(), payload)
    return b"".join(len(part).to_bytes(8, "big") + part for part in parts)


def sign(statement_type: str, payload: bytes, key: Ed25519PrivateKey) -> Signed:
    """A Signed of `payload`, whose bytes must be kept and forwarded as they are from now on."""
    return Signed(
        type=statement_type,
        key_id=key_id(key.public_key()),
        payload=payload,
        signature=key.sign(signed_bytes(statement_type, payload)),
    )


def verify(signed: Signed, key: Ed25519PublicKey, *, expected_type: str) -> bytes:
    """The payload. Raises SignatureInvalid: another type, another key, or changed bytes."""
    if signed.type != expected_type:
        raise SignatureInvalid(f"a statement of type {signed.type!r} where {expected_type!r} is due")
    if signed.key_id != key_id(key):
        raise SignatureInvalid(f"a {signed.type} signed by key {signed.key_id}, not by {key_id(key)}")
    try:
        key.verify(signed.signature, signed_bytes(signed.type, signed.payload))
    except InvalidSignature as error:
        raise SignatureInvalid(f"the signature of a {signed.type} does not match its content") from error
    return signed.payload
