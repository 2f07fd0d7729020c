"""Other sites from the command line: what is asked of the site, and what is told."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from support.client_site import ClientSite
from support.client_site.commands import Run

from librarian.api.gateway.v1 import gateway_pb2
from librarian.cli.exits import ExitCode
from librarian.errors import InviteInvalid
from librarian.messages import timestamp
from svckit.keys import ensure_private_key, key_id
from svckit.sitekeys import SiteKeys

JOINED = timestamp(datetime(2026, 6, 1, 12, 0, tzinfo=UTC))


@pytest.fixture(autouse=True)
def peers(site: ClientSite) -> list[gateway_pb2.Peer]:
    key = gateway_pb2.PeerKey(key_id="k1", pin_time=JOINED)
    site.peers.peers = [
        gateway_pb2.Peer(
            name="nersc", address="grpcs://nersc.example.org:443", keys=[key], version="0.1.0",
            link_state=gateway_pb2.LINK_STATE_DOWN, link_reason="nersc does not answer: refused",
            link_since_time=JOINED, clock_offset_ms=86_400_000,
        ),
        gateway_pb2.Peer(
            name="summit", link_state=gateway_pb2.LINK_STATE_INBOUND, last_heard_time=JOINED,
            clock_offset_ms=-200,
        ),
    ]  # fmt: skip
    return site.peers.peers


def test_an_invitation_is_the_code_alone_on_stdout(lib: Run, site: ClientSite) -> None:
    said = lib("peer", "invite", "nersc", "--lifetime", "2h")
    assert said.out == "inv_abc\n"
    assert "at nersc: librarian peer join CODE" in said.err
    assert (site.peers.asked[0].name, site.peers.asked[0].lifetime_seconds) == ("nersc", 7200)
    assert lib("peer", "invite", "nersc", "--json").value["code"] == "inv_abc"


def test_joining_tells_whom_and_what_to_do_next(lib: Run, site: ClientSite) -> None:
    out = lib("peer", "join", "inv_abc").out
    assert out.startswith("nersc is a peer, at grpcs://nersc.example.org:443, key k1\n")
    assert "librarian route add --to nersc" in out
    assert lib("peer", "join", "inv_abc", "--insecure", "--json").value["name"] == "nersc"
    assert [(asked.code, asked.insecure) for asked in site.peers.asked] == [
        ("inv_abc", False),
        ("inv_abc", True),
    ]


def test_a_code_that_is_none_says_how_to_get_another(lib: Run, site: ClientSite) -> None:
    site.state.fail["JoinPeer"] = [InviteInvalid("the code expired")]
    said = lib("peer", "join", "inv_abc")
    assert said.code == ExitCode.FAILED
    assert "librarian peer invite" in said.err


def test_the_list_tells_how_links_are_and_why(lib: Run, site: ClientSite) -> None:
    lines = lib("peer", "ls").out.splitlines()
    assert lines[1].split()[:2] == ["nersc", "down"]
    assert "2 d 00 h" not in lines[1]
    assert "24 h 00 m ahead" in lines[1]
    assert "none: it calls here" in lines[2]
    assert "behind" not in lines[2], "the way of an answer is no error of a clock"
    assert lines[3] == "nersc: nersc does not answer: refused"
    assert [peer["link_state"] for peer in lib("peer", "ls", "--removed", "--json").value] == [
        "LINK_STATE_DOWN",
        "LINK_STATE_INBOUND",
    ]
    assert [asked.with_removed for asked in site.peers.asked] == [False, True]
    site.peers.peers = []
    assert "librarian peer invite" in lib("peer", "ls").out


def test_pausing_resuming_moving_and_removing(lib: Run, site: ClientSite) -> None:
    assert "librarian peer resume nersc" in lib("peer", "pause", "nersc").out
    assert "goes on" in lib("peer", "resume", "nersc").out
    lib("peer", "set", "nersc", "--address", "", "--no-insecure")
    lib("peer", "set", "nersc", "--address", "grpc://x:1")
    assert "removed" in lib("peer", "rm", "nersc").out
    *updates, removal = site.peers.asked
    assert [(list(one.update_mask.paths), one.peer.paused, one.peer.address) for one in updates] == [
        (["paused"], True, ""),
        (["paused"], False, ""),
        (["address", "insecure"], False, ""),
        (["address"], False, "grpc://x:1"),
    ]
    assert removal.name == "nersc"
    assert len({asked.request_id for asked in site.peers.asked}) == 5
    for command in ("pause", "resume", "rm"):
        assert lib("peer", command, "nersc", "--json").value["name"] == "nersc"


def test_nothing_to_set_is_wrong_usage(lib: Run) -> None:
    assert lib("peer", "set", "nersc").code == ExitCode.WRONG_USAGE


def test_the_key_of_the_site_here_is_rotated_once(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "home" / "keys" / "site.key"
    ensure_private_key(file)
    said = run("peer", "rotate-key", "--home", tmp_path / "home", "--json")
    keys = SiteKeys.load("act", str(file))
    assert keys.former is not None
    assert said.value == {"key_id": key_id(keys.key.public_key())}
    refused = run("peer", "rotate-key", "--home", tmp_path / "home")
    assert refused.code == ExitCode.FAILED
    assert "--again" in refused.err
    assert "start it again" in run("peer", "rotate-key", "--home", tmp_path / "home", "--again").out
