from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import globus_sdk
import pytest
from support.eventually import eventually_blocking
from support.globus import SimulatedGlobus


@dataclass
class Lab:
    """Two collections, and an application that may use them."""

    sim: SimulatedGlobus
    root: Path
    here: str
    there: str
    client: dict[str, str]
    transfer: globus_sdk.TransferClient

    def write(self, path: str, content: bytes = b"content") -> Path:
        """At the source."""
        place = self.root / "here" / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
        return place

    def arrived(self, path: str) -> Path:
        return self.root / "there" / path

    def data(self, *paths: str, **options: object) -> globus_sdk.TransferData:
        """Each to the same path; one that ends in a slash with all below it."""
        data = globus_sdk.TransferData(
            source_endpoint=self.here,
            destination_endpoint=self.there,
            submission_id=self.transfer.get_submission_id()["value"],
            **options,  # type: ignore[arg-type]
        )
        for path in paths:
            data.add_item(path, path, recursive=path.endswith("/"))
        return data

    def submit(self, *paths: str, **options: object) -> str:
        return str(self.transfer.submit_transfer(self.data(*paths, **options))["task_id"])

    def task(self, task_id: str) -> dict[str, object]:
        return dict(self.transfer.get_task(task_id).data)

    def until(self, task_id: str, **fields: object) -> dict[str, object]:
        """The task once it shows these."""

        def shows() -> bool:
            task = self.task(task_id)
            return all(task[name] == value for name, value in fields.items())

        eventually_blocking(shows, timeout=60.0, what=f"{task_id} shows {fields}")
        return self.task(task_id)

    def codes(self, task_id: str) -> list[str]:
        """Of its events, oldest first."""
        return [event["code"] for event in self.transfer.task_event_list(task_id, limit=1000)][::-1]


@pytest.fixture(scope="module")
def sim(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimulatedGlobus]:
    state = tmp_path_factory.mktemp("globus-sim")
    with SimulatedGlobus(state, "--requests-per-second", "0", "--retry-seconds", "0.05") as sim:
        yield sim


@pytest.fixture
def lab(sim: SimulatedGlobus, tmp_path: Path) -> Iterator[Lab]:
    client = sim.client()
    here, there = sim.collection(tmp_path / "here"), sim.collection(tmp_path / "there")
    yield Lab(sim, tmp_path, here, there, client, sim.transfer_client(client))
    sim.mend()
