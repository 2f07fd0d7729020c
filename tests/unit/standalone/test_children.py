"""The supervisor's end of the fork server, where a start is given up in the middle."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket

import pytest

from standalone.children import Children
from standalone.errors import ServiceFailed


@pytest.fixture
def ends() -> tuple[socket.socket, socket.socket]:
    return socket.socketpair()


async def give_up_a_start(children: Children) -> None:
    starting = asyncio.create_task(children.start("store"))
    await asyncio.sleep(0)
    starting.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await starting


async def test_what_was_given_up_and_started_nonetheless_can_be_stopped(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    ours, theirs = ends
    children = Children(ours)
    await children.open()
    await give_up_a_start(children)
    events = ({"started": "store", "pid": 7}, {"exited": "store", "pid": 7, "status": -15})
    theirs.sendall(b"".join(json.dumps(event).encode() + b"\n" for event in events))
    theirs.shutdown(socket.SHUT_WR)
    await children.close()
    assert children.running("store") is None
    theirs.close()


async def test_the_fork_server_goes_after_a_start_was_given_up(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    ours, theirs = ends
    children = Children(ours)
    await children.open()
    await give_up_a_start(children)
    theirs.close()
    with pytest.raises(ServiceFailed):
        await children.lost()
    await children.close()
