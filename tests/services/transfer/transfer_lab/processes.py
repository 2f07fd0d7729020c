"""The real processes, to be killed."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

from support.eventually import eventually

from librarian.errors import Cancelled, DeadlineExceeded, Unavailable
from transfer_lab.rig import Rig, site_values

T = TypeVar("T")

_KEEPER = Path(__file__).parent / "keeper.py"


def write_settings(rig: Rig, **sections: Any) -> Path:
    """The site's TOML file, with failpoints on."""
    faults = {"file": str(rig.directory / "faults")}
    values = site_values(rig.directory, rig.dsn, list(rig.services), faults=faults, **sections)
    path = rig.directory / "site.toml"
    path.write_text(_toml(values))
    return path


def plan_fault(rig: Rig, service: str, **plan: Any) -> Path:
    path = rig.directory / f"faults.{service}"
    path.write_text(json.dumps(plan))
    return path


async def insist(call: Callable[[], Awaitable[T]]) -> T:
    """What a caller does whose service is being restarted: the same request again."""
    answers: list[T] = []

    async def answered() -> bool:
        try:
            answers.append(await call())
        except (Unavailable, DeadlineExceeded, Cancelled) as error:
            raise AssertionError(error.message) from error
        return True

    await eventually(answered, what="the service is back")
    return answers[0]


class Supervised:
    """A process that is started again whenever it is killed; counts its deaths."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.deaths = 0
        self.code: int | None = None

    async def listen(self) -> None:
        """Until it has ended otherwise: `code` says how."""
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            match line.split():
                case [b"killed"]:
                    self.deaths += 1
                case [b"ended", code]:
                    self.code = int(code)

    async def stop(self) -> int:
        """As the supervisor would, by SIGTERM; its exit code."""
        if self.code is None:
            self._process.send_signal(signal.SIGTERM)
        await self._process.wait()
        await eventually(lambda: self.code is not None, what="it says how it ended")
        assert self.code is not None
        return self.code


@asynccontextmanager
async def supervised(service: str, config: Path) -> AsyncIterator[Supervised]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(_KEEPER), service, str(config), stdout=asyncio.subprocess.PIPE
    )
    keeper = Supervised(process)
    listening = asyncio.create_task(keeper.listen())
    try:
        yield keeper
    finally:
        code = await keeper.stop()
        await listening
    # Told to stop while it was starting, it has no way yet to do it in order.
    assert code in {0, -signal.SIGTERM}


def _toml(values: dict[str, Any]) -> str:
    """Enough of TOML for settings: tables of scalars, one level of subtables."""
    lines = []
    for section, content in values.items():
        tables = {key: value for key, value in content.items() if isinstance(value, dict)}
        lines.append(f"[{section}]")
        lines += [f"{key} = {json.dumps(value)}" for key, value in content.items() if key not in tables]
        for key, table in tables.items():
            lines.append(f"[{section}.{key}]")
            lines += [f"{name} = {json.dumps(value)}" for name, value in table.items()]
    return "\n".join(lines) + "\n"
