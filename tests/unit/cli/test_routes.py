"""Routes from the command line: what is asked of the site, and what is told."""

from __future__ import annotations

import pytest
from support.client_site import ClientSite
from support.client_site.commands import Run
from support.on_the_way import route

from librarian.api.transfer.v1 import transfer_pb2
from librarian.cli.exits import ExitCode
from librarian.errors import InvalidInput


@pytest.fixture
def routes(site: ClientSite) -> list[transfer_pb2.Route]:
    site.transfer.routes = [
        route(1, "nersc", "satp3/obs/**", priority=10, destination_kind=1),
        route(2, "tape", "", "posix", paused=True, landing="/shared/tape", destination_kind=2),
        route(3, "tape", "hk/**", "rsync", max_active=5, max_bytes_per_second=5_000_000,
              backfill_state=1, backfilled_count=1234),
        route(4, "far", "**", "relay", through="nersc", tags={"kind": "science"}),
    ]  # fmt: skip
    return site.transfer.routes


def test_add_asks_for_what_was_given(lib: Run, site: ClientSite) -> None:
    said = lib(
        "route", "add", "--to", "nersc", "--match", "satp3/**", "--via", "rsync", "--priority", "-5",
        "--max-active", "7", "--limit", "5MB/s", "--tag", "kind=science", "--tag", "season",
        "--landing", "host:/data", "--backfill", "--json",
    )  # fmt: skip
    assert said.value["destination"] == "nersc"
    [asked] = site.transfer.asked
    assert asked.backfill
    assert asked.request_id
    assert asked.route == transfer_pb2.Route(
        destination="nersc", name_glob="satp3/**", via="rsync", priority=-5, max_active=7,
        max_bytes_per_second=5_000_000, tags={"kind": "science", "season": ""}, landing="host:/data",
    )  # fmt: skip


def test_add_says_what_it_does_and_what_it_leaves_out(lib: Run, site: ClientSite) -> None:
    out = lib("route", "add", "--to", "nersc", "--match", "satp3/**").out
    assert out.startswith("new datasets matching satp3/** go to nersc by stream; ")
    assert "--backfill" in out
    assert "librarian transfer watch --to nersc" in out
    assert "--backfill" not in lib("route", "add", "--to", "nersc", "--backfill").out
    relayed = lib("route", "add", "--to", "far", "--through", "nersc").out
    assert "by relay through nersc" in relayed
    assert "librarian explain NAME --at far" in relayed
    assert [asked.route.via for asked in site.transfer.asked] == ["stream", "stream", "relay"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["add"],
        ["add", "--to", "x", "--via", "pigeon"],
        ["add", "--to", "x", "--via", "relay"],
        ["add", "--to", "x", "--via", "stream", "--through", "y"],
        ["add", "--to", "x", "--limit", "fast"],
        ["add", "--to", "x", "--priority", "101"],
        ["set", "x"],
        ["rm"],
    ],
)
def test_wrong_usage(lib: Run, site: ClientSite, arguments: list[str]) -> None:
    said = lib("route", *arguments)
    assert said.code == ExitCode.WRONG_USAGE
    assert said.err
    assert site.transfer.asked == []


def test_the_site_s_refusal_is_told(lib: Run, site: ClientSite) -> None:
    site.state.fail["AddRoute"] = [InvalidInput("nersc is no peer", remedy="pair the sites first")]
    said = lib("route", "add", "--to", "nersc")
    assert said.code == ExitCode.FAILED
    assert said.err == "error: nersc is no peer\n  what to do: pair the sites first\n"


def test_ls(lib: Run, routes: list[transfer_pb2.Route]) -> None:
    title, *lines = lib("route", "ls").out.splitlines()
    assert title.split() == [
        "ROUTE",
        "TO",
        "VIA",
        "PRIORITY",
        "AT",
        "ONCE",
        "LIMIT",
        "STATE",
        "LANDING",
        "MATCH",
    ]
    cells = [[cell for cell in line.split("  ") if cell] for line in lines]
    assert [[cell.strip() for cell in row] for row in cells] == [
        ["00000001", "nersc", "stream", "10", "usual", "none", "open", "satp3/obs/**"],
        ["00000002", "tape (store)", "posix", "0", "usual", "none", "paused", "/shared/tape", "**"],
        ["00000003", "tape", "rsync", "0", "5", "5.00 MB/s", "open, backfilling (1,234)", "hk/**"],
        ["00000004", "far", "relay through nersc", "0", "usual", "none", "open", "**", "kind=science"],
    ]
    found = lib("route", "ls", "--json").value
    assert [one["route_id"] for one in found] == [one.route_id for one in routes]


def test_no_routes(lib: Run) -> None:
    assert "librarian route add" in lib("route", "ls").out
    assert lib("route", "ls", "--json").value == []


def test_a_route_is_named_by_id_prefix_or_destination(
    lib: Run, site: ClientSite, routes: list[transfer_pb2.Route]
) -> None:
    for which, meant in (("00000003", 2), ("nersc", 0), (routes[1].route_id, 1)):
        assert lib("route", "pause", which, "--json").value["route_id"] == routes[meant].route_id
        assert routes[meant].paused
    for which in ("tape", "0000"):
        said = lib("route", "rm", which, "--json")
        assert said.code == ExitCode.FAILED
        assert routes[2].route_id in said.error["message"]
    assert lib("route", "rm", "nowhere", "--json").error["reason"] == "ROUTE_NOT_FOUND"
    assert len(site.transfer.routes) == 4


def test_set_pause_resume_rm(lib: Run, site: ClientSite, routes: list[transfer_pb2.Route]) -> None:
    lib("route", "set", "nersc", "--limit", "none", "--max-active", "0", "--landing", "")
    asked = site.transfer.asked[-1]
    assert list(asked.update_mask.paths) == ["landing", "max_active", "max_bytes_per_second"]
    assert "route resume" in lib("route", "pause", "nersc").out
    assert routes[0].paused
    assert "goes on" in lib("route", "resume", "nersc").out
    assert not routes[0].paused
    out = lib("route", "rm", "nersc").out
    assert "3 transfers that had not started are cancelled" in out
    value = lib("route", "rm", "far", "--json").value
    assert value == {"route_id": routes[3].route_id, "cancelled_count": 3}
    assert [one.destination for one in site.transfer.routes] == ["tape", "tape"]
