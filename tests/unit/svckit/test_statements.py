"""Statements: only the right key of the right site makes them count."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from librarian.api.common.v1.common_pb2 import Origin, Receipt, Signed, SiteKey
from librarian.errors import KeyNotIntroduced, SignatureInvalid
from svckit.signing import sign
from svckit.statements import (
    INTRODUCTION_TYPE,
    KeyRing,
    make_introduction,
    make_origin,
    make_receipt,
    site_key,
    verify_introduction,
    verify_origin,
    verify_receipt,
)

CHILE, NERSC, PENN = (Ed25519PrivateKey.generate() for _ in range(3))
RING = KeyRing([("chile", CHILE.public_key()), ("nersc", NERSC.public_key())])


def test_a_statement_of_a_known_key_is_read() -> None:
    assert verify_origin(make_origin(Origin(site="chile", uid="u"), CHILE), RING).uid == "u"
    assert verify_receipt(make_receipt(Receipt(site="nersc", uid="u"), NERSC), RING).uid == "u"


def test_a_known_key_does_not_speak_for_another_site() -> None:
    with pytest.raises(KeyNotIntroduced):
        verify_receipt(make_receipt(Receipt(site="chile", uid="u"), NERSC), RING)
    with pytest.raises(KeyNotIntroduced):
        verify_origin(make_origin(Origin(site="penn", uid="u"), CHILE), RING)


def test_a_changed_or_mistyped_statement_is_refused() -> None:
    receipt = make_receipt(Receipt(site="nersc", uid="u"), NERSC)
    changed = Signed()
    changed.CopyFrom(receipt)
    changed.payload = Receipt(site="nersc", uid="v").SerializeToString()
    forged = Signed()
    forged.CopyFrom(receipt)
    forged.signature = make_receipt(Receipt(site="nersc", uid="u"), PENN).signature
    garbled = Signed()
    garbled.CopyFrom(receipt)
    garbled.payload = b"\xff\xff"
    for bad in (changed, forged, garbled, make_origin(Origin(site="nersc"), NERSC)):
        with pytest.raises(SignatureInvalid):
            verify_receipt(bad, RING)


def test_introductions() -> None:
    introduced = site_key("penn", PENN.public_key(), 7)
    signed = make_introduction(introduced, NERSC)
    assert verify_introduction(signed, "nersc", RING) == introduced
    # In another's name, and by one that is not known.
    with pytest.raises(KeyNotIntroduced):
        verify_introduction(signed, "chile", RING)
    with pytest.raises(KeyNotIntroduced):
        verify_introduction(make_introduction(introduced, PENN), "nersc", RING)


@pytest.mark.parametrize(
    "public", [b"short", b"", NERSC.public_key().public_bytes_raw()], ids=["short", "none", "other"]
)
def test_what_is_introduced_must_be_a_key_under_its_own_id(public: bytes) -> None:
    wrong = SiteKey(site="penn", key_id=site_key("penn", PENN.public_key(), 0).key_id, public_key=public)
    with pytest.raises(SignatureInvalid):
        verify_introduction(sign(INTRODUCTION_TYPE, wrong.SerializeToString(), NERSC), "nersc", RING)
