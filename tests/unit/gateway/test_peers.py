"""What is decided about peers: addresses, links, sessions, codes."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.invitations import Invited, code_of, expiry, read_code
from gateway.peers import (
    Link,
    LinkState,
    Peer,
    PeerKey,
    check_site_name,
    checked_address,
    is_plain_beyond,
    latest_by_name,
    told_to,
)
from gateway.sessions import RANDOM_BYTES, SESSION, check_nonce, make_nonce
from librarian.api.federation.v1.federation_pb2 import Invitation, JoinStatement
from librarian.errors import InvalidInput, InviteInvalid, PeerKeyUnknown, PeerSessionEnded
from svckit.clock import ManualClock

NOW = ManualClock().now()
KEY = Ed25519PrivateKey.generate().public_key()
PEER = Peer("r1", "p1", "act", "grpcs://act:443", False, "grpcs://act:443", False, NOW)


def with_keys(*keys: tuple[str, datetime | None]) -> Peer:
    return replace(PEER, keys={name: PeerKey(name, KEY, NOW, expire) for name, expire in keys})


def test_a_key_opens_sessions_until_its_overlap_is_over() -> None:
    peer = with_keys(("old", NOW + timedelta(days=7)), ("new", None))
    assert set(peer.session_keys(NOW)) == {"old", "new"}
    later = NOW + timedelta(days=7)
    assert set(peer.session_keys(later)) == {"new"}
    with pytest.raises(PeerKeyUnknown, match="replaced"):
        peer.session_key("old", later)
    with pytest.raises(PeerKeyUnknown, match="no key"):
        peer.session_key("other", NOW)


def test_the_state_of_a_link() -> None:
    assert PEER.link_state is LinkState.DOWN, "not called yet"
    assert replace(PEER, link=Link(up=True)).link_state is LinkState.UP
    assert replace(PEER, address="").link_state is LinkState.INBOUND
    assert replace(PEER, address="", paused=True).link_state is LinkState.PAUSED
    assert replace(PEER, paused=True, remove_time=NOW).link_state is LinkState.REMOVED


def test_of_one_name_the_last_counts_with_the_keys_of_all() -> None:
    gone = replace(with_keys(("a", None)), remove_time=NOW)
    back = replace(with_keys(("b", None)), record_id="r2", peer_id="p2")
    other = replace(PEER, name="aaa", record_id="r3")
    found = latest_by_name([gone, back, other])
    assert [(peer.name, peer.peer_id, set(peer.keys)) for peer in found] == [
        ("aaa", "p1", set()),
        ("act", "p2", {"a", "b"}),
    ]


@pytest.mark.parametrize("name", ["", "Act", "a b", "-a", "a" * 64, "here"])
def test_names_that_are_none_of_another_site(name: str) -> None:
    with pytest.raises(InvalidInput):
        check_site_name(name, own_site="here")


def test_addresses_are_kept_with_their_scheme_and_plain_ones_only_where_meant() -> None:
    assert checked_address("act.example.org:443", insecure=False) == "grpcs://act.example.org:443"
    assert checked_address("127.0.0.1:5", insecure=False) == "grpc://127.0.0.1:5"
    assert checked_address("", insecure=False) == ""
    for wrong in ("grpc://act.example.org:443", "act", "http://x:1", "x" * 400):
        with pytest.raises(InvalidInput):
            checked_address(wrong, insecure=False)
    plain = checked_address("grpc://act.example.org:443", insecure=True)
    assert is_plain_beyond(plain)
    assert not is_plain_beyond("grpc://127.0.0.1:5")
    assert not is_plain_beyond("grpcs://act.example.org:443")


def test_a_loopback_address_is_told_on_this_machine_alone() -> None:
    assert told_to("grpc://127.0.0.1:5", "grpc://127.0.0.1:6") == "grpc://127.0.0.1:5"
    assert told_to("grpc://127.0.0.1:5", "grpcs://act.example.org:443") == ""
    assert told_to("grpcs://act.example.org:443", "grpc://127.0.0.1:6") == "grpcs://act.example.org:443"
    assert told_to("", "grpc://127.0.0.1:6") == ""


def test_a_nonce_is_good_for_a_session_and_nobody_can_make_one_up() -> None:
    nonce = make_nonce(b"k", bytes(RANDOM_BYTES), NOW)
    for seconds in (0, -4, SESSION.total_seconds() - 1):
        check_nonce(b"k", nonce, NOW + timedelta(seconds=seconds))
    for seconds in (SESSION.total_seconds(), -6, 86400, -86400):
        with pytest.raises(PeerSessionEnded):
            check_nonce(b"k", nonce, NOW + timedelta(seconds=seconds))
    changed = bytes([nonce[0]]) + bytes([nonce[1] ^ 1]) + nonce[2:]
    for wrong in (changed, nonce[:-1], nonce + b"x", b"", bytes(40)):
        with pytest.raises(PeerSessionEnded):
            check_nonce(b"k", wrong, NOW)
    with pytest.raises(PeerSessionEnded):
        check_nonce(b"of another gateway", nonce, NOW)


def test_an_invitation_is_for_one_site_and_after_its_use_for_one_key() -> None:
    def joining(site: str = "act", key: str = "k1") -> JoinStatement:
        statement = JoinStatement()
        statement.key.site, statement.key.key_id = site, key
        return statement

    invited = Invited("i", "act", b"", NOW + timedelta(hours=1))
    invited.check(joining(), NOW)
    with pytest.raises(InviteInvalid, match="expired"):
        invited.check(joining(), NOW + timedelta(hours=1))
    with pytest.raises(InviteInvalid, match="invites act"):
        invited.check(joining("nersc"), NOW)
    used = replace(invited, used_by="k1")
    used.check(joining(), NOW + timedelta(days=1))
    with pytest.raises(InviteInvalid, match="another key"):
        used.check(joining(key="k2"), NOW)


def test_a_code_is_read_as_it_was_written_and_no_other() -> None:
    invitation = Invitation(site="nersc", expected_site="act", public_key=KEY.public_bytes_raw())
    code = code_of(invitation)
    assert read_code(f" {code[:20]}\n  {code[20:]}\n", own_site="act") == invitation, "mail breaks lines"
    with pytest.raises(InviteInvalid, match="this site is called lat"):
        read_code(code, own_site="lat")
    own = code_of(Invitation(site="act", expected_site="act", public_key=KEY.public_bytes_raw()))
    keyless = code_of(Invitation(site="nersc", expected_site="act"))
    for wrong in ("", "inv_", code[4:], code + "!", "inv_" + "A" * 5000, keyless, own):
        with pytest.raises(InviteInvalid):
            read_code(wrong, own_site="act")


def test_how_long_a_code_lives() -> None:
    assert expiry(NOW, 0) == NOW + timedelta(days=1)
    assert expiry(NOW, 60) == NOW + timedelta(minutes=1)
    for wrong in (-1, 31 * 86400):
        with pytest.raises(InvalidInput):
            expiry(NOW, wrong)
