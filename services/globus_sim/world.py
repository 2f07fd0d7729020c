"""Everything there is at the moment: in memory for who asks, on disk before anybody is told."""

from __future__ import annotations

import uuid
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from globus_sim.clock import SimClock
from globus_sim.errors import TransferError, not_found
from globus_sim.ledger import Ledger
from globus_sim.model import Client, Collection, FaultScript, Task, Token, plain, task_from

_REMEMBERED_CALLS = 10_000
# After that long a task that has ended is not known any more.
_HISTORY_SECONDS = 30 * 86_400.0


@dataclass(frozen=True, slots=True)
class Call:
    """A request that came: what tests count."""

    time: float
    method: str
    path: str
    client_id: str
    status: int


@dataclass(slots=True)
class World:
    """`submissions`: ids that were given out; `withdrawn`: collections whose data_access was taken back."""

    ledger: Ledger
    clock: SimClock
    clients: dict[str, Client] = field(default_factory=dict)
    collections: dict[str, Collection] = field(default_factory=dict)
    tokens: dict[str, Token] = field(default_factory=dict)
    faults: dict[str, FaultScript] = field(default_factory=dict)
    tasks: dict[str, Task] = field(default_factory=dict)
    submissions: set[str] = field(default_factory=set)
    withdrawn: set[str] = field(default_factory=set)
    calls: deque[Call] = field(default_factory=lambda: deque(maxlen=_REMEMBERED_CALLS))

    async def load(self) -> None:
        found = await self.ledger.open()
        self.clients = {key: Client(**each) for key, each in found.get("client", {}).items()}
        self.collections = {key: Collection(**each) for key, each in found.get("collection", {}).items()}
        self.tokens = {key: Token(**each) for key, each in found.get("token", {}).items()}
        self.faults = {key: FaultScript(**each) for key, each in found.get("fault", {}).items()}
        self.tasks = {key: task_from(each) for key, each in found.get("task", {}).items()}
        self.submissions = set(found.get("submission", {}))
        self.withdrawn = set(found.get("withdrawn", {}))
        self.clock.ahead = found.get("clock", {}).get("clock", {}).get("ahead", 0.0)

    async def save(self, *things: Client | Collection | Token | FaultScript | Task) -> None:
        for thing in things:
            match thing:
                case Client():
                    kind, key = "client", thing.client_id
                    self.clients[key] = thing
                case Collection():
                    kind, key = "collection", thing.collection_id
                    self.collections[key] = thing
                case Token():
                    kind, key = "token", thing.token
                    self.tokens[key] = thing
                case FaultScript():
                    kind, key = "fault", thing.fault_id
                    self.faults[key] = thing
                case Task():
                    kind, key = "task", thing.task_id
                    self.tasks[key] = thing
            await self.ledger.put(kind, key, plain(thing))

    async def drop_fault(self, fault_id: str) -> None:
        if self.faults.pop(fault_id, None) is not None:
            await self.ledger.drop("fault", fault_id)

    async def drop_token(self, token: str) -> None:
        if self.tokens.pop(token, None) is not None:
            await self.ledger.drop("token", token)

    async def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)
        await self.ledger.put("clock", "clock", {"ahead": self.clock.ahead})

    async def new_submission(self) -> str:
        value = str(uuid.uuid4())
        self.submissions.add(value)
        await self.ledger.put("submission", value, {})
        return value

    async def set_consent(self, collection_id: str, *, given: bool) -> None:
        """By whoever may give it, for everybody."""
        if given:
            self.withdrawn.discard(collection_id)
            await self.ledger.drop("withdrawn", collection_id)
        else:
            self.withdrawn.add(collection_id)
            await self.ledger.put("withdrawn", collection_id, {})

    def collection(self, collection_id: str) -> Collection:
        """Raises TransferError."""
        found = self.collections.get(collection_id)
        if found is None:
            raise TransferError(404, "EndpointNotFound", f"No such endpoint '{collection_id}'")
        return found

    def task(self, task_id: str, owner: str) -> Task:
        """Raises TransferError: not there, another's, or so old that it was forgotten."""
        found = self.tasks.get(task_id)
        if found is None or found.owner != owner or self._is_forgotten(found):
            raise not_found(f"Task ID '{task_id}' not found")
        return found

    def tasks_of(self, owner: str) -> list[Task]:
        """Newest first."""
        mine = [task for task in self.tasks.values() if task.owner == owner and not self._is_forgotten(task)]
        return sorted(mine, key=lambda task: (task.request_time, task.task_id), reverse=True)

    def _is_forgotten(self, task: Task) -> bool:
        old = self.clock.now() - _HISTORY_SECONDS
        return task.history_deleted or (task.completion_time is not None and task.completion_time < old)

    async def meets(self, kind: str, *, collection_id: str = "", path: str = "") -> FaultScript | None:
        """The first script of this kind that applies here; it is used up by one."""
        for fault in self._live():
            if fault.kind != kind or fault.count == 0:
                continue
            if fault.collection_id and fault.collection_id != collection_id:
                continue
            if fault.path and not fnmatchcase(path, fault.path):
                continue
            if fault.count > 0:
                fault.count -= 1
                await self.save(fault)
            return fault
        return None

    def _live(self) -> Iterable[FaultScript]:
        now = self.clock.now()
        return [fault for fault in self.faults.values() if not fault.until or now < fault.until]

    def counted(self) -> dict[str, object]:
        """What was called, by method and path without ids; and the most in any one second, by client."""
        names = Counter(f"{call.method} {_shape(call.path)}" for call in self.calls)
        seconds = Counter((call.client_id, int(call.time)) for call in self.calls if call.client_id)
        busiest: dict[str, int] = {}
        for (client, _), count in seconds.items():
            busiest[client] = max(busiest.get(client, 0), count)
        return {"calls": dict(names), "busiest_second": busiest}


def _shape(path: str) -> str:
    return "/".join("ID" if len(part) == 36 and part.count("-") == 4 else part for part in path.split("/"))
