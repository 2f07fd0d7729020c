"""What the use cases of this service work with; made once at start."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

from google.protobuf.message import Message

from librarian.messages import microseconds
from svckit.auth import current_caller
from svckit.clock import Clock
from svckit.database import Database
from svckit.faults import Faults
from svckit.idempotency import once
from svckit.notifications import Bell
from svckit.telemetry import Logger

from .queries.kit import Bare, bare
from .tables import idempotency

M = TypeVar("M", bound=Message)


@dataclass(frozen=True, slots=True)
class Context:
    """`site` is this one's name; `appended` rings when the event log has grown, `folded` when sums are up to
    date; `wants_sums` is set by whoever waits for sums.
    """

    site: str
    database: Database
    clock: Clock
    faults: Faults
    logger: Logger
    appended: Bell
    stopping: asyncio.Event
    folded: Bell = field(default_factory=Bell)
    wants_sums: asyncio.Event = field(default_factory=asyncio.Event)

    def now_us(self) -> int:
        return microseconds(self.clock.now())

    async def once(
        self,
        method: str,
        request_id: str,
        request: Message,
        response_type: type[M],
        action: Callable[[Bare], Awaitable[M]],
    ) -> M:
        """Runs `action` in one transaction with the record of its answer; a request that came before gets
        that answer again. Raises InvalidInput, RequestIdReused.
        """
        async with self.database.transaction() as connection:

            async def act() -> M:
                return await action(await bare(connection))

            return await once(
                connection,
                idempotency,
                request_id=request_id,
                caller=current_caller().subject,
                method=method,
                request=request,
                response_type=response_type,
                now=self.clock.now(),
                action=act,
            )
