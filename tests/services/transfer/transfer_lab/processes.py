"""The real processes, to be killed."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from transfer_lab.rig import Rig, site_values

MODULES = {"transfer": "transfer_svc", "worker": "transfer_svc.workers"}


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


class Supervised:
    """A process that is started again whenever it dies; counts its deaths."""

    def __init__(self, service: str, config: Path) -> None:
        self._command = [sys.executable, "-m", MODULES[service], "--config", str(config)]
        self.deaths = 0
        self._process: asyncio.subprocess.Process | None = None

    async def keep_running(self) -> None:
        while True:
            self._process = await asyncio.create_subprocess_exec(*self._command)
            code = await self._process.wait()
            if code != -signal.SIGKILL:
                raise AssertionError(f"{self._command} ended with {code}")
            self.deaths += 1

    async def stop(self) -> int:
        """As the supervisor would: SIGTERM, and its exit code."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        return await self._process.wait()


@asynccontextmanager
async def supervised(service: str, config: Path) -> AsyncIterator[Supervised]:
    process = Supervised(service, config)
    keeper = asyncio.create_task(process.keep_running())
    try:
        yield process
    finally:
        keeper.cancel()
        await asyncio.gather(keeper, return_exceptions=True)
        assert await process.stop() == 0


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
