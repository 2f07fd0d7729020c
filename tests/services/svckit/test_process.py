"""A served process from outside: signals, exit codes, what it says, and what survives it."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from librarian.api.catalog.v1 import catalog_pb2 as pb
from librarian.errors import Unavailable
from svckit.auth import ISSUERS, Signer
from svckit.channels import ServiceChannels
from svckit.keys import ensure_keys
from svckit.settings import load_settings

SCRIPT = Path(__file__).with_name("served_process.py")


class Served:
    def __init__(self, directory: Path, process: asyncio.subprocess.Process) -> None:
        self.directory = directory
        self.process = process
        self.settings = load_settings(["--config", str(directory / "site.toml")])

    async def events(self) -> list[dict[str, Any]]:
        """What it logged until it ended."""
        assert self.process.stderr is not None
        return [json.loads(line) for line in (await self.process.stderr.read()).splitlines()]

    async def ends(self) -> int:
        async with asyncio.timeout(20):
            return await self.process.wait()

    def channels(self) -> ServiceChannels:
        return ServiceChannels(self.settings, Signer.load(self.directory, "transfer"))


def write_settings(directory: Path, more: str = "") -> None:
    ensure_keys(directory, ISSUERS)
    (directory / "site.toml").write_text(
        f"""
        [auth]
        keys_dir = "{directory}"
        [catalog]
        listen = "unix:{directory}/c.sock"
        [services]
        catalog = "unix:{directory}/c.sock"
        [server]
        drain_seconds = 0.1
        [faults]
        file = "{directory}/faults"
        {more}
        """
    )


async def start(directory: Path, behaviour: str = "catalog") -> asyncio.subprocess.Process:
    command = [sys.executable, str(SCRIPT), behaviour, "--config", str(directory / "site.toml")]
    return await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE)


@asynccontextmanager
async def started(directory: Path, behaviour: str = "catalog") -> AsyncIterator[Served]:
    process = await start(directory, behaviour)
    try:
        yield Served(directory, process)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def summary(channels: ServiceChannels) -> int:
    answer = await channels.catalog.GetSummary(pb.GetSummaryRequest(), wait_for_ready=True, timeout=20)
    return answer.dataset_count


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_stops_in_order(directory: Path, number: signal.Signals) -> None:
    write_settings(directory)
    async with started(directory) as served, served.channels() as channels:
        assert await summary(channels) == 1
        watch = aiter(channels.catalog.WatchEvents(pb.WatchEventsRequest()))
        await anext(watch)
        served.process.send_signal(number)
        # The stream is told and ends itself: no call is cut.
        assert [event.next.sequence async for event in watch] == [1]
        assert await served.ends() == 0
        names = [event["event"] for event in await served.events()]
    assert names == ["service_serving", "service_stopping", "closed_in_order", "service_stopped"]
    assert not (directory / "c.sock").exists()


async def test_callers_ride_over_a_restart(directory: Path) -> None:
    """`kill -9` in the middle of a call; the next process takes the socket over; the channel finds it."""
    write_settings(directory)
    plan = directory / "faults.catalog"
    async with started(directory) as first, first.channels() as channels:
        assert await summary(channels) == 1
        plan.write_text('{"kill_on": "summary"}')
        with pytest.raises(Unavailable):
            await channels.catalog.GetSummary(pb.GetSummaryRequest())
        assert await first.ends() == -signal.SIGKILL
        assert not plan.exists()
        assert (directory / "c.sock").exists()
        async with started(directory):
            assert await summary(channels) == 1


async def test_a_dead_background_task_is_exit_code_1(directory: Path) -> None:
    write_settings(directory)
    async with started(directory, "dies") as served:
        async with served.channels() as channels:
            assert await summary(channels) == 1
            (directory / "die").touch()
            assert await served.ends() == 1
        died = [event for event in await served.events() if event["event"] == "background_task_died"]
    assert died[0]["task"] == "mortal"
    assert "as told" in died[0]["exception"]


async def test_what_cannot_start_says_why(directory: Path) -> None:
    write_settings(directory)
    async with started(directory, "stubborn") as served:
        assert await served.ends() == 1
        (event,) = await served.events()
    assert (event["event"], event["message"], event["remedy"]) == ("service_failed", "will not", "ask nicely")


async def test_a_start_that_waits_can_be_stopped(directory: Path) -> None:
    write_settings(directory)
    async with started(directory, "slow") as served:
        async with asyncio.timeout(20):
            while not (directory / "starting").exists():  # noqa: ASYNC110 - told by another process
                await asyncio.sleep(0.01)
        served.process.terminate()
        assert await served.ends() == 0


async def test_wrong_settings_are_exit_code_2_and_named(directory: Path) -> None:
    write_settings(directory, more="fil = 3")
    process = await start(directory)
    _, told = await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode == 2
    assert "faults.fil: unknown key; did you mean faults.file?" in told.decode()
