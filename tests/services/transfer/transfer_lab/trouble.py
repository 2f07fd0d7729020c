"""How a test makes a fake misbehave."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict, deque
from collections.abc import Iterable

from librarian.errors import LibrarianError


class Trouble:
    """Per method: errors to raise before anything is done (`before`) or after all is done (`after`, an
    answer that got lost), and gates to be held at.
    """

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.before: dict[str, deque[LibrarianError]] = defaultdict(deque)
        self.after: dict[str, deque[LibrarianError]] = defaultdict(deque)
        self.always: dict[str, LibrarianError] = {}
        self._gates: dict[str, asyncio.Event] = {}
        self.at_gate: dict[str, asyncio.Event] = defaultdict(asyncio.Event)

    def fail(self, method: str, errors: Iterable[LibrarianError]) -> None:
        self.before[method].extend(errors)

    def lose_answer(self, method: str, error: LibrarianError) -> None:
        self.after[method].append(error)

    def close_gate(self, method: str) -> None:
        """Calls stop here until `open_gate`; `at_gate[method]` is set when one has come."""
        self._gates[method] = asyncio.Event()
        self.at_gate[method].clear()

    def open_gate(self, method: str) -> None:
        self._gates.pop(method).set()

    async def enter(self, method: str) -> None:
        self.calls[method] += 1
        gate = self._gates.get(method)
        if gate is not None:
            self.at_gate[method].set()
            await gate.wait()
        if method in self.always:
            raise self.always[method]
        if self.before[method]:
            raise self.before[method].popleft()

    def leave(self, method: str) -> None:
        if self.after[method]:
            raise self.after[method].popleft()
