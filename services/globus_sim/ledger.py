"""State on disk: documents by kind and id in SQLite. Everything happens in one thread of its own."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")
Documents = dict[str, dict[str, dict[str, Any]]]


class Ledger:
    """What `put` was given is there after a kill, once it has returned."""

    def __init__(self, directory: Path) -> None:
        self._file = directory / "globus-sim.sqlite"
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ledger")
        self._database: sqlite3.Connection | None = None

    async def open(self) -> Documents:
        """All that is there, by kind and id."""
        return await self._do(self._open)

    async def put(self, kind: str, key: str, document: dict[str, Any]) -> None:
        # Made here, so that it is what it was when this was called.
        text = json.dumps(document)
        await self._do(
            lambda: self._write("INSERT OR REPLACE INTO documents VALUES (?, ?, ?)", kind, key, text)
        )

    async def drop(self, kind: str, key: str) -> None:
        await self._do(lambda: self._write("DELETE FROM documents WHERE kind = ? AND key = ?", kind, key))

    async def close(self) -> None:
        await self._do(lambda: self._database.close() if self._database else None)
        self._thread.shutdown()

    async def _do(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _open(self) -> Documents:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        self._database = sqlite3.connect(self._file, isolation_level=None, check_same_thread=False)
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute(
            "CREATE TABLE IF NOT EXISTS documents"
            " (kind TEXT, key TEXT, document TEXT, PRIMARY KEY (kind, key))"
        )
        found: Documents = {}
        for kind, key, text in self._database.execute("SELECT kind, key, document FROM documents"):
            found.setdefault(kind, {})[key] = json.loads(text)
        return found

    def _write(self, statement: str, *values: str) -> None:
        assert self._database is not None, "it is open"
        self._database.execute(statement, values)
