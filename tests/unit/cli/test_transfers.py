"""Transfers from the command line: listing, looking closer, putting a hand in."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys

import pytest
from support.client_site import ClientSite
from support.client_site.commands import Run
from support.on_the_way import SIZE, log_entry, route, transfer

from librarian.api.federation.v1 import federation_pb2
from librarian.api.transfer.v1 import transfer_pb2
from librarian.cli.exits import ExitCode
from librarian.errors import NameTaken, Unavailable

ID = "11111111-0000-4000-8000-000000000000"


@pytest.fixture
def transfers(site: ClientSite) -> list[transfer_pb2.Transfer]:
    site.transfer.routes = [route(0, "nersc", "satp3/**")]
    site.transfer.transfers = [
        transfer(1, "moving", moved_bytes=SIZE // 4, bytes_per_second=5_000_000),
        transfer(2, "queued", trouble=Unavailable("the link is down")),
        transfer(3, "held", trouble=NameTaken("satp3/obs/3 is there with other content")),
        transfer(4, "verified", to="tape"),
        transfer(5, "failed", name="odd/[x]*"),
    ]
    return site.transfer.transfers


def test_ls(lib: Run, transfers: list[transfer_pb2.Transfer]) -> None:
    said = lib("transfer", "ls")
    title, *lines = said.out.splitlines()
    assert title.split() == ["STATE", "TO", "SIZE", "THERE", "RATE", "SINCE", "WHY", "NAME"]
    assert [line.split()[0] for line in lines] == ["moving", "queued", "held", "verified", "failed"]
    assert "25 %  5.00 MB/s" in lines[0]
    assert lines[2].endswith("NAME_TAKEN    satp3/obs/3")
    assert said.err == "5 transfers; `librarian transfer show NAME` tells all of one\n"
    assert transfers[0].transfer_id not in said.out
    assert transfers[0].transfer_id in lib("transfer", "ls", "-l").out
    assert lib("transfer", "ls", "--match", "none").err == "no transfers\n"


def test_ls_asks_for_all_conditions(
    lib: Run, site: ClientSite, transfers: list[transfer_pb2.Transfer]
) -> None:
    said = lib(
        "transfer", "ls", "--to", "nersc", "--state", "held", "--state", "MOVING", "--match", "satp3/**",
        "--route", "nersc", "--limit", "5", "--json",
    )  # fmt: skip
    assert [one["name"] for one in said.value] == ["satp3/obs/1", "satp3/obs/3"]
    assert said.value[0]["state"] == "TRANSFER_STATE_MOVING"
    assert said.value[1]["error"]["reason"] == "NAME_TAKEN"
    asked = site.transfer.asked[-1]
    assert (asked.destination, asked.name_glob, asked.page_size) == ("nersc", "satp3/**", 5)
    assert asked.route_id == site.transfer.routes[0].route_id
    assert len(lib("transfer", "ls", "--limit", "3", "--json").value) == 3


def test_incoming(lib: Run, site: ClientSite) -> None:
    verifying = federation_pb2.Delivery(
        state=federation_pb2.DELIVERY_STATE_VERIFYING, verified_bytes=SIZE // 2
    )
    refused = federation_pb2.Delivery(state=federation_pb2.DELIVERY_STATE_REFUSED)
    refused.error.reason = "NAME_TAKEN"
    for name, delivery in (("a/1", verifying), ("b/2", refused)):
        site.transfer.deliveries.append(
            transfer_pb2.IncomingDelivery(
                peer="telescope", name=name, size_bytes=SIZE, store="main", delivery=delivery
            )
        )
    lines = lib("transfer", "ls", "--incoming").out.splitlines()
    assert "verifying" in lines[1]
    assert "50 %" in lines[1]
    assert "NAME_TAKEN" in lines[2]
    said = lib(
        "transfer",
        "ls",
        "--incoming",
        "--from",
        "telescope",
        "--state",
        "refused",
        "--match",
        "b/*",
        "--json",
    )
    assert [one["name"] for one in said.value] == ["b/2"]
    asked = site.transfer.asked[-1]
    assert (asked.peer, list(asked.states)) == ("telescope", [federation_pb2.DELIVERY_STATE_REFUSED])


@pytest.mark.parametrize(
    "arguments",
    [
        ["ls", "--state", "shiny"],
        ["ls", "--incoming", "--state", "queued"],
        ["ls", "--incoming", "--to", "x"],
        ["ls", "--from", "x"],
        ["show"],
        ["retry"],
        ["retry", ID, "--to", "x"],
        ["retry", ID, "a/name"],
        ["cancel"],
        ["prioritize", "5"],
        ["prioritize", "101", "--to", "x"],
        ["prioritize", "high", "--to", "x"],
    ],
)
def test_wrong_usage(lib: Run, site: ClientSite, arguments: list[str]) -> None:
    said = lib("transfer", *arguments)
    assert said.code == ExitCode.WRONG_USAGE
    assert said.err
    assert site.transfer.asked == []


def test_show_by_id_and_by_name(lib: Run, site: ClientSite, transfers: list[transfer_pb2.Transfer]) -> None:
    held = transfers[2]
    site.transfer.logs[held.transfer_id] = [
        log_entry("PLANNED", "by route 0"),
        log_entry("PUT_OFF", "the peer did not answer", after_seconds=60),
    ]
    words = lib("transfer", "show", held.transfer_id).out
    assert "state      held" in words
    assert "NAME_TAKEN: satp3/obs/3 is there with other content" in words
    assert "what to do: a name means one thing for ever" in words
    log = [line.split(maxsplit=3)[1:] for line in words.splitlines()[-2:]]
    assert log == [
        ["18:00:00", "planned", "by route 0"],
        ["18:01:00", "put", "off     the peer did not answer"],
    ]
    value = lib("transfer", "show", held.name, "--json").value
    assert value["transfer"]["transfer_id"] == held.transfer_id
    assert [entry["event"] for entry in value["log"]] == ["PLANNED", "PUT_OFF"]
    # A name's wildcards are its own characters.
    value = lib("transfer", "show", "odd/[x]*", "--json").value
    assert value["transfer"]["transfer_id"] == transfers[4].transfer_id
    assert lib("transfer", "show", "satp3/obs/4", "--to", "nersc").code == ExitCode.FAILED
    assert lib("transfer", "show", "nothing", "--json").error["reason"] == "TRANSFER_NOT_FOUND"


@pytest.mark.parametrize("command", [["retry"], ["cancel"], ["prioritize", "50"]])
def test_by_ids(
    lib: Run, site: ClientSite, transfers: list[transfer_pb2.Transfer], command: list[str]
) -> None:
    ids = [transfers[0].transfer_id, ID]
    said = lib("transfer", *command, *ids, "--json")
    assert said.code == ExitCode.FAILED
    assert said.value["changed_count"] == 1
    assert [verdict["error"] is None for verdict in said.value["verdicts"]] == [True, False]
    assert said.error["message"] == "1 of 2 were refused"
    asked = site.transfer.asked[-1]
    assert list(asked.selection.transfer_ids) == ids
    assert asked.request_id
    words = lib("transfer", *command, ids[0])
    assert words.code == ExitCode.DONE
    assert words.out.startswith("1 transfer ")
    assert "librarian transfer" in words.out
    assert "there is no such transfer" in lib("transfer", *command, ids[1]).err


@pytest.mark.parametrize("command", [["retry"], ["cancel"], ["prioritize", "50"]])
def test_by_conditions(
    lib: Run, site: ClientSite, transfers: list[transfer_pb2.Transfer], command: list[str]
) -> None:
    said = lib("transfer", *command, "--to", "nersc", "--match", "satp3/**", "--route", "nersc")
    assert said.code == ExitCode.DONE
    assert said.out.startswith("3 transfers ")
    selection = site.transfer.asked[-1].selection
    assert (selection.destination, selection.name_glob) == ("nersc", "satp3/**")
    assert selection.route_id == site.transfer.routes[0].route_id
    assert lib("transfer", *command, "--to", "moon").out.startswith("nothing to ")
    assert lib("transfer", *command, "--to", "moon", "--json").value == {"changed_count": 0, "verdicts": []}


@pytest.mark.parametrize("command", [["retry"], ["cancel"], ["prioritize", "50"]])
def test_by_names_and_globs(
    lib: Run, site: ClientSite, transfers: list[transfer_pb2.Transfer], command: list[str]
) -> None:
    assert lib("transfer", *command, "satp3/obs/2/").out.startswith("1 transfer ")
    assert list(site.transfer.asked[-1].selection.name_globs) == ["satp3/obs/2"]
    assert lib("transfer", *command, "satp3/obs/1", "satp3/obs/[34]").out.startswith("3 transfers ")
    assert lib("transfer", *command, "satp3/**", "--to", "tape").out.startswith("1 transfer ")
    assert lib("transfer", *command, "satp3/obs/9").out.startswith("nothing to ")


def test_what_is_asked_besides(lib: Run, site: ClientSite, transfers: list[transfer_pb2.Transfer]) -> None:
    lib("transfer", "cancel", "--to", "nersc", "--reason", "not needed")
    assert site.transfer.asked[-1].reason == "not needed"
    lib("transfer", "prioritize", "--to", "nersc", "--", "-7")
    assert site.transfer.asked[-1].priority == -7


@pytest.mark.parametrize(("answer", "cancelled"), [("y\n", True), ("n\n", False), ("", False)])
def test_on_a_terminal_a_cancellation_is_asked_back(
    site: ClientSite, transfers: list[transfer_pb2.Transfer], answer: str, *, cancelled: bool
) -> None:
    environment = {**os.environ, "LIBRARIAN_ADDRESS": f"grpc://{site.address}", "LIBRARIAN_TOKEN": "t"}
    ours, theirs = pty.openpty()
    program = subprocess.Popen(
        [sys.executable, "-m", "librarian.cli", "transfer", "cancel", "--to", "nersc"],
        stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment,
    )  # fmt: skip
    assert program.stderr is not None
    question = b""
    while not question.endswith(b"[y/N] "):
        question += program.stderr.read(1)
    assert question.decode() == "give up 4 transfers, 4.00 GB? [y/N] "
    if answer:
        os.write(ours, answer.encode())
    else:
        program.send_signal(signal.SIGINT)
    out, err = program.communicate(timeout=30)
    os.close(ours)
    os.close(theirs)
    assert (site.state.calls["CancelTransfers"] == 1) is cancelled
    if cancelled:
        assert out.startswith(b"4 transfers given up")
    else:
        assert b"nothing was changed" in err
        code = ExitCode.INTERRUPTED if not answer else ExitCode.FAILED
        assert program.returncode == code
