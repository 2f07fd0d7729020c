"""What the simulator remembers, each kind with its id first. All of it can be written as JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

OK, QUEUED = "OK", "Queued"
ACTIVE, INACTIVE, SUCCEEDED, FAILED = "ACTIVE", "INACTIVE", "SUCCEEDED", "FAILED"


@dataclass(slots=True)
class Client:
    """An application: confidential where it has a secret. `identity` is who it acts as."""

    client_id: str
    secret: str
    name: str
    identity: str


@dataclass(slots=True)
class Collection:
    """A directory of this machine that stands for a collection. `mapped`: data_access is asked for.

    `high_assurance`: only for sessions that a person has just opened.
    """

    collection_id: str
    name: str
    root: str
    mapped: bool = False
    writable: bool = True
    high_assurance: bool = False


@dataclass(slots=True)
class Token:
    """`kind`: access, refresh or code. `challenge`: of a code, what its verifier must hash to."""

    token: str
    kind: str
    client_id: str
    identity: str
    scopes: list[str]
    expires: float
    redirect_uri: str = ""
    challenge: str = ""
    offline: bool = False
    # When a person last said who they are (s since 1970); 0: never, as with an application.
    session: float = 0.0


@dataclass(slots=True)
class FaultScript:
    """`kind`: see docs/globus-sim.md. It applies where all that is set fits, `count` times (-1: always), and
    `until` then (0: for ever).
    """

    fault_id: str
    kind: str
    collection_id: str = ""
    path: str = ""
    count: int = -1
    until: float = 0.0
    status: int = 0
    retry_after: int = 0
    seconds: float = 0.0
    message: str = ""


@dataclass(slots=True)
class File:
    """One file of a task, as found at its source. `state`: pending, done or skipped."""

    source: str
    destination: str
    size: int
    state: str = "pending"
    external_checksum: str = ""
    algorithm: str = ""
    error: str = ""


@dataclass(slots=True)
class Event:
    code: str
    description: str
    details: str
    is_error: bool
    time: float


@dataclass(slots=True)
class Task:
    """`found`: the items whose files are in `files`, by number. `asked_to_stop`: somebody cancelled it."""

    task_id: str
    kind: str
    owner: str
    submission_id: str
    source: str
    destination: str
    label: str | None
    items: list[dict[str, Any]]
    options: dict[str, Any]
    request_time: float
    deadline: float
    explicit_deadline: bool
    status: str = ACTIVE
    completion_time: float | None = None
    nice_status: str | None = QUEUED
    nice_details: str | None = None
    fatal_code: str = ""
    fatal_description: str = ""
    faults: int = 0
    directories: int = 0
    bytes_transferred: int = 0
    bytes_checksummed: int = 0
    found: list[int] = field(default_factory=list)
    files: list[File] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    paused: str = ""
    asked_to_stop: bool = False
    canceled_by_admin: str = ""
    history_deleted: bool = False

    @property
    def is_over(self) -> bool:
        return self.status in (SUCCEEDED, FAILED)

    def count(self, state: str) -> int:
        return sum(file.state == state for file in self.files)


def task_from(values: dict[str, Any]) -> Task:
    files = values.pop("files")
    events = values.pop("events")
    return Task(
        **values,
        files=[File(**file) for file in files],
        events=[Event(**event) for event in events],
    )


def plain(thing: Client | Collection | Token | FaultScript | Task) -> dict[str, Any]:
    return asdict(thing)
