"""Whether work that is over has left anything behind."""

from __future__ import annotations

from pathlib import Path

from librarian.api.transfer.v1 import transfer_pb2
from librarian.blocking import Librarian

OPEN_STATES = [
    transfer_pb2.INGEST_STATE_OPEN,
    transfer_pb2.INGEST_STATE_COMMITTING,
    transfer_pb2.INGEST_STATE_STORED,
]


def nothing_left_behind(librarian: Librarian, store: str = "main") -> bool:
    """AssertionError where an ingest is open, room is reserved, or anything is staged or sealed."""
    [found] = [each for each in librarian.stores() if each.name == store]
    ours = Path(found.root) / ".librarian"
    batches = list((ours / "staging").iterdir())
    # An area itself, with nothing but its proof, may wait for the store's next look around.
    staged = [path for batch in batches for path in _entries(batch) if path.name != ".proof"]
    assert not staged, f"staged: {staged}"
    sealed = list((ours / "sealed").iterdir())
    assert not sealed, f"sealed: {sealed}"
    unfinished = [(ingest.name, ingest.state) for ingest in librarian.ingests(OPEN_STATES)]
    assert not unfinished, f"open: {unfinished}"
    assert found.usage.reserved_bytes == 0, f"reserved: {found.usage.reserved_bytes}"
    return True


def _entries(batch: Path) -> list[Path]:
    try:
        return list(batch.iterdir())
    except FileNotFoundError:
        return []  # taken away meanwhile
