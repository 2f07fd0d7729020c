"""Watching transfers: what is known, what is drawn, and how it ends."""

from __future__ import annotations

import io
import json
import os
import pty
import signal
import subprocess
import sys
import threading

import pytest
from rich.console import Console
from support.client_site import ClientSite
from support.client_site.commands import Run
from support.eventually import eventually_blocking
from support.on_the_way import SIZE, transfer

from librarian.api.transfer.v1 import transfer_pb2
from librarian.cli import transfer_board
from librarian.cli.exits import ExitCode
from librarian.cli.transfer_board import Board
from librarian.cli.transfer_lines import change_line, queue_line
from librarian.cli.transfer_screen import picture
from librarian.errors import LibrarianError, NameTaken, RoleMayNot, Unavailable


def answer(
    *transfers: transfer_pb2.Transfer, queue: transfer_pb2.QueueStatus | None = None
) -> transfer_pb2.WatchTransfersResponse:
    return transfer_pb2.WatchTransfersResponse(transfers=transfers, queues=[queue or a_queue()])


def a_queue(**fields: int) -> transfer_pb2.QueueStatus:
    figures = {"waiting_count": 8, "waiting_bytes": 8 * SIZE, "active_count": 2, "active_bytes": 2 * SIZE}
    return transfer_pb2.QueueStatus(destination="nersc", via="stream", **{**figures, **fields})


def drawn(board: Board, trouble: str = "", rows: int = 10) -> str:
    console = Console(file=io.StringIO(), width=120)
    console.print(picture(board, trouble, rows))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_rates_and_time_left_are_those_of_the_window() -> None:
    board = Board()
    for second in range(30):
        # 3 MB/s before, 10 MB/s in the last 20 seconds.
        moved = SIZE // 2 + min(second, 10) * 3_000_000 + max(0, second - 10) * 10_000_000
        queue = a_queue(moved_bytes=moved)
        board.apply(answer(transfer(1, "moving", moved_bytes=moved), queue=queue))
        board.tick(second)
    assert board.arrived_bytes == moved - SIZE // 2
    [queue] = board.queues
    figures = board.queue_figures(queue)
    assert figures.bytes_per_second == pytest.approx(10_000_000)
    assert figures.seconds_left == pytest.approx((10 * SIZE - moved) / 10_000_000)
    own = board.transfer_figures(board.active[transfer(1, "moving").transfer_id])
    assert own.bytes_per_second == pytest.approx(10_000_000)
    assert own.seconds_left == pytest.approx((SIZE - moved) / 10_000_000)


def test_routes_to_one_place_have_rates_of_their_own() -> None:
    board = Board()
    for second in range(3):
        moving = transfer(1, "moving", moved_bytes=second * 1000, route_id="r1")
        queues = [
            transfer_pb2.QueueStatus(destination="nersc", via="stream", route_id=route_id)
            for route_id in ("r1", "r2", "")
        ]
        board.apply(transfer_pb2.WatchTransfersResponse(transfers=[moving], queues=queues))
        board.tick(second)
    assert [board.queue_figures(queue).bytes_per_second for queue in board.queues] == [1000, 0, 1000]


def test_what_stands_still_promises_nothing() -> None:
    board = Board()
    for second in range(30):
        board.apply(answer(transfer(1, "moving", moved_bytes=5)))
        board.tick(second)
    [queue] = board.queues
    assert board.queue_figures(queue).seconds_left is None
    assert board.queue_figures(queue).bytes_per_second == 0


def test_states_are_news_once_and_ends_are_counted() -> None:
    board = Board()
    opening = answer(transfer(1, "moving", moved_bytes=SIZE // 2), transfer(2, "delivered"))
    assert [one.name for one in board.apply(opening)] == ["satp3/obs/1", "satp3/obs/2"]
    assert board.apply(answer(transfer(1, "moving", moved_bytes=SIZE // 2))) == []
    assert board.arrived_bytes == 0
    queued = transfer(3, "queued")
    assert len(board.apply(answer(transfer(1, "verified"), transfer(2, "verified"), queued))) == 3
    # Another priority is no other state.
    queued.priority = 5
    assert board.apply(answer(queued)) == []
    assert board.active == {}
    assert board.arrived_bytes == SIZE // 2
    # It came and went between two answers.
    board.apply(answer(transfer(4, "verified"), transfer(5, "held"), transfer(6, "present")))
    assert board.arrived_bytes == SIZE // 2 + SIZE
    assert board.ended == {
        transfer_pb2.TRANSFER_STATE_VERIFIED: 3,
        transfer_pb2.TRANSFER_STATE_HELD: 1,
        transfer_pb2.TRANSFER_STATE_PRESENT: 1,
    }


def test_what_ended_during_a_break_is_not_shown_for_ever() -> None:
    board = Board()
    board.apply(answer(transfer(1, "moving"), transfer(2, "moving")))
    board.tick(0)
    news = board.apply(answer(transfer(2, "moving", moved_bytes=100)), anew=True)
    board.tick(1)
    assert news == []
    assert [one.name for one in board.active.values()] == ["satp3/obs/2"]
    assert board.arrived_bytes == 100


def test_news_and_sums_may_come_apart() -> None:
    board = Board()
    board.apply(transfer_pb2.WatchTransfersResponse())
    sums = transfer_pb2.WatchTransfersResponse(queues=[a_queue()])
    for news in ("moving", "verified"):
        board.apply(sums)
        board.apply(transfer_pb2.WatchTransfersResponse(transfers=[transfer(1, news)]))
        assert len(board.queues) == 1
    # Sums older than the news do not show as under way what has ended.
    assert [(queue.waiting_count, queue.active_count) for queue in board.queues] == [(8, 0)]
    assert board.arrived_bytes == SIZE
    board.apply(transfer_pb2.WatchTransfersResponse())
    assert board.queues == []


def test_the_picture() -> None:
    board = Board()
    board.apply(
        answer(
            transfer(1, "delivered"),
            transfer(2, "moving", moved_bytes=SIZE // 4, bytes_per_second=5_000_000),
            transfer(3, "held"),
            queue=a_queue(moved_bytes=SIZE, bytes_per_second=5_000_000, held_count=1),
        )
    )
    text = drawn(board, "the site does not answer")
    lines = [line.split() for line in text.splitlines()]
    assert lines[1] == [
        *[
            "nersc",
            "stream",
            "8",
            "8.00",
            "GB",
            "2",
            "2.00",
            "GB",
            "50",
            "%",
            "5.00",
            "MB/s",
            "30:00",
            "1",
            "0",
        ]
    ]
    assert lines[4][:4] == ["moving", "nersc", "1.00", "GB"]
    assert lines[4][-6:] == ["25", "%", "5.00", "MB/s", "2:30", "satp3/obs/2"]
    assert lines[5][0] == "delivered"
    assert "since the watch began: 1 held, 0 B went over" in text
    assert "waiting: the site does not answer" in text


def test_the_picture_is_no_longer_than_the_screen() -> None:
    board = Board()
    board.apply(answer(*(transfer(number, "moving") for number in range(100))))
    text = drawn(board, rows=5)
    assert "and 95 more" in text
    assert len(text.splitlines()) < 14
    assert "nothing is on its way" in drawn(Board())


def test_a_long_watch_does_not_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer_board, "REMEMBERED", 10)
    board = Board()
    for number in range(100):
        assert board.apply(answer(transfer(number, "queued"))) != []
    assert len(board._states) == 10
    assert board.apply(answer(transfer(99, "queued"))) == []


def test_lines() -> None:
    line = change_line(transfer(3, "held", trouble=NameTaken("other bytes have that name")))
    assert line.startswith("18:00:00  held       nersc  1.00 GB  satp3/obs/3: NAME_TAKEN: other bytes")
    assert "what to do: " in line
    again = change_line(transfer(3, "queued", trouble=Unavailable("the link is down")))
    assert again.endswith("UNAVAILABLE: the link is down")
    assert change_line(transfer(3, "verified", trouble=Unavailable("was down"))).endswith("satp3/obs/3")
    queue = a_queue(moved_bytes=SIZE, bytes_per_second=5_000_000, failed_count=2)
    assert queue_line(Board(), queue) == (
        "  nersc by stream: 8 waiting (8.00 GB), 2 under way (1.00 GB of 2.00 GB), 5.00 MB/s, 30:00 left, "
        "2 failed"
    )


@pytest.mark.parametrize("as_json", [False, True])
def test_it_goes_on_after_a_break_until_ctrl_c(site: ClientSite, *, as_json: bool) -> None:
    broken: list[transfer_pb2.WatchTransfersResponse | LibrarianError] = [
        answer(transfer(1, "moving")),
        transfer_pb2.WatchTransfersResponse(),
        Unavailable("restarting"),
    ]
    site.transfer.watches = [broken, [answer(transfer(1, "moving")), answer(transfer(1, "verified"))]]
    watched = threading.Event()
    site.state.on["watched"] = watched.set
    environment = {
        **os.environ,
        "LIBRARIAN_ADDRESS": f"grpc://{site.address}",
        "LIBRARIAN_TOKEN": "t",
        "PYTHONUNBUFFERED": "1",
    }
    command = [sys.executable, "-m", "librarian.cli", "transfer", "watch", "--to", "nersc"]
    program = subprocess.Popen(
        [*command, "--json"] if as_json else command,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment, text=True,
    )  # fmt: skip
    assert program.stdout is not None
    lines = [program.stdout.readline() for _ in range(3)]
    assert watched.wait(30)
    program.send_signal(signal.SIGINT)
    out, err = program.communicate(timeout=30)
    assert program.returncode == ExitCode.DONE
    # A break is told to people where it lasts.
    assert err in {"", "waiting: restarting\n"}
    lines += out.splitlines()
    assert [asked.destination for asked in site.transfer.asked] == ["nersc", "nersc"]
    if as_json:
        states = [one["state"] for line in lines for one in json.loads(line)["transfers"]]
        assert states == ["TRANSFER_STATE_MOVING"] * 2 + ["TRANSFER_STATE_VERIFIED"]
    else:
        assert [line.split()[1] for line in lines if line[0].isdigit()] == ["moving", "verified"]
        assert lines[1].startswith("  nersc by stream: 8 waiting")


def test_on_a_terminal_it_draws_and_ends_cleanly(site: ClientSite) -> None:
    site.transfer.watches = [[answer(transfer(1, "moving"), transfer(3, "held", trouble=NameTaken("no")))]]
    ours, theirs = pty.openpty()
    environment = {
        **os.environ,
        "LIBRARIAN_ADDRESS": f"grpc://{site.address}",
        "LIBRARIAN_TOKEN": "t",
        "TERM": "xterm",
        "COLUMNS": "120",
        "LINES": "30",
    }
    program = subprocess.Popen(
        [sys.executable, "-m", "librarian.cli", "transfer", "watch"],
        stdout=theirs, stderr=subprocess.PIPE, env=environment,
    )  # fmt: skip
    os.close(theirs)
    shown = b""

    def see() -> bool:
        nonlocal shown
        shown += os.read(ours, 65536)
        return b"satp3/obs/1" in shown and b"NAME_TAKEN" in shown

    eventually_blocking(see)
    program.send_signal(signal.SIGINT)
    _, err = program.communicate(timeout=30)
    os.close(ours)
    assert (program.returncode, err) == (ExitCode.DONE, b"")


def test_a_refusal_ends_it(site: ClientSite, lib: Run) -> None:
    site.transfer.watches = [[RoleMayNot("not you")]]
    said = lib("transfer", "watch", "--json")
    assert said.code == ExitCode.FAILED
    assert said.error["reason"] == "ROLE_MAY_NOT"
