"""Key files and signed statements."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st

from librarian.api.common.v1.common_pb2 import Signed
from librarian.errors import Refused, SignatureInvalid
from svckit.keys import (
    ensure_keys,
    ensure_private_key,
    key_id,
    load_private_key,
    load_public_key,
    private_pem,
)
from svckit.signing import sign, signed_bytes, verify

KEY = Ed25519PrivateKey.generate()


def test_a_key_is_made_once(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "gateway.key"
    made = ensure_private_key(path)
    assert private_pem(ensure_private_key(path)) == private_pem(made) == private_pem(load_private_key(path))
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert key_id(load_public_key(path.with_suffix(".pub"))) == key_id(made.public_key())
    assert sorted(p.name for p in path.parent.iterdir()) == ["gateway.key", "gateway.pub"]


def test_many_at_once_end_with_the_same_key(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: private_pem(ensure_private_key(tmp_path / "k.key")), range(16)))
    assert len(set(made)) == 1


def test_a_key_that_is_there_stays(tmp_path: Path) -> None:
    ensure_keys(tmp_path, ("gateway",))
    before = (tmp_path / "gateway.key").read_bytes()
    ensure_keys(tmp_path, ("gateway", "worker"))
    assert (tmp_path / "gateway.key").read_bytes() == before
    assert (tmp_path / "worker.pub").exists()


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o620, 0o601])
def test_a_key_open_to_others_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "k.key"
    ensure_private_key(path)
    path.chmod(mode)
    with pytest.raises(Refused, match="open to others"):
        load_private_key(path)


def test_a_mounted_secret_may_be_read_by_its_group(tmp_path: Path) -> None:
    path = tmp_path / "k.key"
    ensure_private_key(path)
    path.chmod(0o440)
    load_private_key(path)


def test_what_is_no_key_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "k.key"
    with pytest.raises(Refused, match="cannot read"):
        load_private_key(path)
    path.write_text("hello")
    path.chmod(0o600)
    with pytest.raises(Refused, match="PEM"):
        load_private_key(path)
    with pytest.raises(Refused, match="PEM"):
        load_public_key(path)
    other = generate_private_key(SECP256R1())
    path.write_bytes(other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    with pytest.raises(Refused, match="Ed25519"):
        load_private_key(path)


@given(st.text(max_size=30), st.binary(max_size=200))
def test_a_signature_holds(statement_type: str, payload: bytes) -> None:
    signed = sign(statement_type, payload, KEY)
    again = Signed.FromString(signed.SerializeToString())
    assert verify(again, KEY.public_key(), expected_type=statement_type) == payload


def test_what_is_signed_is_fixed_for_ever() -> None:
    assert signed_bytes("t", b"pp") == (
        b"\0\0\0\0\0\0\0\x0clibrarian/v1" + b"\0\0\0\0\0\0\0\x01t" + b"\0\0\0\0\0\0\0\x02pp"
    )


@given(st.text(max_size=5), st.binary(max_size=5), st.text(max_size=5), st.binary(max_size=5))
def test_no_two_statements_share_their_bytes(one: str, p: bytes, other: str, q: bytes) -> None:
    assert (signed_bytes(one, p) == signed_bytes(other, q)) == ((one, p) == (other, q))


def test_anything_changed_is_refused() -> None:
    signed = sign("librarian.origin", b"payload", KEY)
    public = KEY.public_key()
    other = Ed25519PrivateKey.generate()
    cases = [
        (
            Signed(
                type="librarian.receipt", key_id=signed.key_id, payload=b"payload", signature=signed.signature
            )
        ),
        (Signed(type=signed.type, key_id=signed.key_id, payload=b"payloaD", signature=signed.signature)),
        (Signed(type=signed.type, key_id=signed.key_id, payload=b"payload", signature=b"")),
        (
            Signed(
                type=signed.type,
                key_id=key_id(other.public_key()),
                payload=b"payload",
                signature=signed.signature,
            )
        ),
        sign("librarian.origin", b"payload", other),
        Signed(),
    ]
    for case in cases:
        with pytest.raises(SignatureInvalid):
            verify(case, public, expected_type="librarian.origin")
    relabelled = Signed(type="x", key_id=signed.key_id, payload=b"payload", signature=signed.signature)
    with pytest.raises(SignatureInvalid):
        verify(relabelled, public, expected_type="x")
