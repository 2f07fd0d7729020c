"""Who waits for which ingests and batches, in this process's memory; fed by one listening connection."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager


class Waiting:
    """Each wait has an event; a notification names the ingests that have ended and sets theirs."""

    def __init__(self) -> None:
        self._events: dict[str, set[asyncio.Event]] = {}

    def hear(self, payload: str) -> None:
        """`payload`: ids joined by commas. Empty: the connection was away, anything may have happened."""
        heard = payload.split(",") if payload else list(self._events)
        for uid in heard:
            for event in self._events.get(uid, ()):
                event.set()

    @contextmanager
    def watching(self, ids: Sequence[str]) -> Iterator[asyncio.Event]:
        """An event that is set when one of these has ended. Look into the database after entering."""
        event = asyncio.Event()
        for uid in ids:
            self._events.setdefault(uid, set()).add(event)
        try:
            yield event
        finally:
            for uid in ids:
                events = self._events.get(uid)
                if events is not None:
                    events.discard(event)
                    if not events:
                        del self._events[uid]


async def first_of(*events: asyncio.Event, seconds: float) -> None:
    """Until one of them is set, or so long."""
    waits = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
