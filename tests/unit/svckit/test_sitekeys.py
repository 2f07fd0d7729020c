"""A site's key, its rotation, and what others make of the statements."""

from __future__ import annotations

import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from librarian.api.common.v1.common_pb2 import Signed
from librarian.errors import InvalidConfig, Refused, SignatureInvalid
from svckit.handout import HOLDERS, hand_out, rotate_site_key
from svckit.init import main
from svckit.keys import ensure_private_key, key_id, load_public_key
from svckit.signing import sign
from svckit.sitekeys import KEY_TYPE, OVERLAP, SiteKeys, new_keys, rotate, verify_key
from svckit.statements import site_key

NOW = datetime.now(UTC)
FIRST, SECOND, THIRD = (Ed25519PrivateKey.generate() for _ in range(3))


def stated(key: Ed25519PrivateKey, by: Ed25519PrivateKey, *, site: str = "act") -> Signed:
    payload = site_key(site, key.public_key(), 0).SerializeToString()
    return sign(KEY_TYPE, payload, by)


def known(*keys: Ed25519PrivateKey) -> dict[str, object]:
    return {key_id(key.public_key()): key.public_key() for key in keys}


def test_a_rotation_keeps_the_former_key_and_the_new_one_is_signed_by_it(tmp_path: Path) -> None:
    file = tmp_path / "site.key"
    before = ensure_private_key(file)
    alone = SiteKeys.load("act", str(file))
    assert alone.former is None
    assert verify_key(alone.statement(NOW), "act", before.public_key()).key_id == key_id(before.public_key())

    fresh = rotate(file, now=NOW)
    keys = SiteKeys.load("act", str(file))
    assert keys.former is not None
    assert key_id(keys.former.public_key()) == key_id(before.public_key())
    assert fresh == key_id(keys.key.public_key()) == key_id(load_public_key(tmp_path / "site.pub"))
    assert verify_key(keys.statement(NOW), "act", before.public_key()).key_id == fresh
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.glob("*.key")} == {0o600}
    assert not list(tmp_path.glob(".*")), "nothing half-made is left"


def test_a_second_rotation_waits_until_peers_have_heard_of_the_first(tmp_path: Path) -> None:
    file = tmp_path / "site.key"
    ensure_private_key(file)
    first = rotate(file, now=NOW)
    with pytest.raises(Refused, match="would not know this site"):
        rotate(file, now=NOW + OVERLAP / 2)
    assert key_id(SiteKeys.load("act", str(file)).key.public_key()) == first
    second = rotate(file, now=NOW + OVERLAP / 2, again=True)
    assert len({first, second, rotate(file, now=datetime.now(UTC) + OVERLAP + timedelta(minutes=1))}) == 3


def test_without_a_key_there_is_nothing_to_rotate_or_load(tmp_path: Path) -> None:
    with pytest.raises(Refused):
        rotate(tmp_path / "site.key", now=NOW)
    with pytest.raises(InvalidConfig, match="site_key_file"):
        SiteKeys.load("act", "")


def test_keys_are_learned_along_the_chain_in_any_order() -> None:
    chain = [stated(THIRD, SECOND), stated(SECOND, FIRST), stated(FIRST, FIRST)]
    found = new_keys(chain, "act", known(FIRST))  # type: ignore[arg-type]
    assert [key.key_id for key in found] == [key_id(key.public_key()) for key in (SECOND, THIRD)]
    assert new_keys(chain, "act", known(FIRST, SECOND, THIRD)) == []  # type: ignore[arg-type]


def test_what_hangs_on_no_known_key_is_not_learned() -> None:
    assert new_keys([stated(THIRD, SECOND)], "act", known(FIRST)) == []  # type: ignore[arg-type]
    assert new_keys([stated(SECOND, SECOND)], "act", known(FIRST)) == []  # type: ignore[arg-type]


def test_a_forged_statement_is_refused() -> None:
    forged = stated(SECOND, FIRST)
    forged.signature = THIRD.sign(b"x")
    other_site = stated(SECOND, FIRST, site="nersc")
    payload = site_key("act", SECOND.public_key(), 0)
    payload.key_id = key_id(THIRD.public_key())
    other_id = sign(KEY_TYPE, payload.SerializeToString(), FIRST)
    garbled = sign(KEY_TYPE, b"\xff", FIRST)
    other_type = sign("librarian.origin", stated(SECOND, FIRST).payload, FIRST)
    for signed in (forged, other_site, other_id, garbled, other_type):
        with pytest.raises(SignatureInvalid):
            new_keys([signed], "act", known(FIRST))  # type: ignore[arg-type]


def test_a_rotation_in_containers_reaches_everyone_who_signs(tmp_path: Path) -> None:
    hand_out(tmp_path)
    before = {
        path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file() and "site." not in path.name
    }
    assert main(["rotate-key", str(tmp_path)]) == 0
    signing = [tmp_path / holder.service for holder in HOLDERS if holder.site_key]
    pairs = {
        tuple((directory / name).read_bytes() for name in ("site.key", "site.former.key"))
        for directory in (tmp_path / "site", *signing)
    }
    assert len(pairs) == 1
    assert all(path.read_bytes() == content for path, content in before.items()), "nothing else changed"
    assert not (tmp_path / "store" / "site.former.key").exists()
    assert main(["rotate-key", str(tmp_path)]) == 1
    assert main(["rotate-key", "--again", str(tmp_path)]) == 0
    hand_out(tmp_path)
    with pytest.raises(Refused):
        rotate_site_key(tmp_path, now=datetime.now(UTC))
