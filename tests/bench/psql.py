"""`psql` and its copy command, into tables that are like the catalog's, with all their indices."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from standalone.postgres_binaries import find_binaries

# What registering one dataset writes.
TABLES = ("datasets", "replicas", "events")


@dataclass(frozen=True, slots=True)
class Psql:
    """Works in `directory`; `dsn` is the catalog's own login, so the copies lie in its schema."""

    dsn: str
    schema: str
    directory: Path

    def make_tables(self) -> None:
        self._run(
            *(
                f"CREATE TABLE {self.schema}.bench_{table} (LIKE {self.schema}.{table} INCLUDING ALL)"
                for table in TABLES
            )
        )

    def drop_tables(self) -> None:
        self._run(
            "SET client_min_messages = warning",
            *(f"DROP TABLE IF EXISTS {self.schema}.bench_{table}" for table in TABLES),
        )

    def export(self, names: tuple[str, str]) -> None:
        """What the catalog has written about the datasets from the first to the last of these names."""
        wanted = f"state = 1 AND name BETWEEN '{names[0]}' AND '{names[1]}'"
        chosen = f"SELECT uid FROM {self.schema}.datasets WHERE {wanted}"
        keys = {"datasets": "uid", "replicas": "dataset_uid", "events": "dataset_uid"}
        self._run(
            *(
                f"\\copy (SELECT * FROM {self.schema}.{table} WHERE {keys[table]} IN ({chosen}))"
                f" TO '{self._file(table)}'"
                for table in TABLES
            )
        )

    def load(self) -> None:
        copies = [f"\\copy {self.schema}.bench_{table} FROM '{self._file(table)}'" for table in TABLES]
        self._run("BEGIN", *copies, "COMMIT")

    def _file(self, table: str) -> Path:
        return self.directory / f"{table}.copy"

    def _run(self, *commands: str) -> None:
        program = shutil.which("psql") or str(find_binaries(Path("/nonexistent")) / "psql")
        arguments = [argument for command in commands for argument in ("--command", command)]
        subprocess.run(
            [program, "--no-psqlrc", "--quiet", "--set", "ON_ERROR_STOP=1", *arguments, self.dsn],
            check=True,
            stdin=subprocess.DEVNULL,
        )
