"""The life of an ingest: one table; whatever is absent is illegal. Pure."""

from __future__ import annotations

from enum import Enum, IntEnum
from typing import Final

from svckit.lifecycle import Lifecycle


class IngestState(IntEnum):
    """As transfer.v1.IngestState."""

    OPEN = 1
    COMMITTING = 2
    STORED = 3
    PUBLISHED = 4
    ABORTED = 5
    EXPIRED = 6
    FAILED = 7


class IngestEvent(Enum):
    COMMIT = "commit"
    ABORT = "abort"
    EXPIRE = "expire"
    STORE = "store"
    FIND = "find"
    PUBLISH = "publish"
    FAIL = "fail"


_S, _E = IngestState, IngestEvent

INGEST: Final[Lifecycle[IngestState, IngestEvent]] = Lifecycle(
    name="ingest",
    initial=_S.OPEN,
    transitions={
        (_S.OPEN, _E.COMMIT): _S.COMMITTING,
        (_S.OPEN, _E.ABORT): _S.ABORTED,
        (_S.OPEN, _E.EXPIRE): _S.EXPIRED,
        (_S.COMMITTING, _E.STORE): _S.STORED,
        (_S.COMMITTING, _E.FIND): _S.PUBLISHED,
        (_S.COMMITTING, _E.FAIL): _S.FAILED,
        (_S.STORED, _E.PUBLISH): _S.PUBLISHED,
        (_S.STORED, _E.FAIL): _S.FAILED,
    },
    why={
        _E.COMMIT: "the client says that all bytes are there and what they must be",
        _E.ABORT: "the client gives it up",
        _E.EXPIRE: "no byte came for the whole lifetime of an ingest",
        _E.STORE: "the store has verified the bytes and holds them durably at their final place",
        _E.FIND: "another ingest of the same name and bytes was published first: theirs stay",
        _E.PUBLISH: "the catalogue has the dataset (or had the same one already)",
        _E.FAIL: "the store or the catalogue refused it for good; the reason is kept",
    },
)

FINAL: Final = INGEST.final
