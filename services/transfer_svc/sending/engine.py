"""The loop that sends: find what is due, claim it in batches, keep the leases, let go at a stop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from librarian.errors import LibrarianError, StaleLease
from svckit.notifications import Bell
from transfer_svc.movers.base import Mover
from transfer_svc.sending import batch_queries
from transfer_svc.sending.batch_queries import Limits
from transfer_svc.sending.carrying import carry
from transfer_svc.sending.desk import Desk
from transfer_svc.sending.link import Link
from transfer_svc.sending.means import Means
from transfer_svc.sending.roster import Roster
from transfer_svc.sending.values import RELAY, Destination, Route

if TYPE_CHECKING:
    from librarian.api.federation.v1.federation_pb2_grpc import FederationServiceAsyncStub

# So much is in one batch at most: what is not begun yet can be overtaken.
_BATCH_BYTES: Final = 16 * 2**30
_MOST_ITEMS: Final = 1000
# Batches to one destination by one mover that still wait for receipts.
_OPEN_BATCHES: Final = 32
# Of this process.
_MOST_BATCHES: Final = 64
_REQUEUED: Final = 1000
# How long (s) a batch that broke rests before it is taken up again.
_BREATH: Final = 1.0


class Engine:
    """`stub_of` gives the federation service of a destination. `bell` rings for the queue's channel, and
    `hear` is given what was said there. `run` and `keep_leases` are its two tasks; `close` ends it.
    """

    def __init__(
        self,
        means: Means,
        roster: Roster,
        movers: Mapping[str, Mover],
        stub_of: Callable[[Destination], FederationServiceAsyncStub],
        *,
        bell: Bell,
        stopping: asyncio.Event,
    ) -> None:
        self._means = means
        self._context = means.context
        self._roster = roster
        self._movers = movers
        self._stub_of = stub_of
        self._bell = bell
        self._stopping = stopping
        self._links: dict[Destination, Link] = {}
        self._desks: dict[str, Desk] = {}
        self._batches: set[asyncio.Task[None]] = set()

    def hear(self, payload: str) -> None:
        """`payload`: batches of which something was cancelled. Empty while nothing was, and after the
        connection was away.
        """
        named = payload.split(",") if payload else []
        for batch_id in named:
            if (desk := self._desks.get(batch_id)) is not None:
                desk.recheck = True
                desk.changed.ring()

    def link(self, to: Destination) -> Link:
        found = self._links.get(to)
        if found is None:
            found = self._links[to] = Link(self._means, self._roster, to, lambda: self._stub_of(to))
        return found

    async def run(self) -> None:
        """Until the stop."""
        while not self._stopping.is_set():
            mark = self._bell.mark()
            try:
                claimed = await self._round()
            except LibrarianError as error:
                self._context.logger.warning("send_round_failed", reason=error.reason, message=error.message)
                claimed = False
            if not claimed:
                await self._rest(mark)

    async def keep_leases(self) -> None:
        while True:
            await asyncio.sleep(self._means.ttl.total_seconds() / 3)
            held = [desk.batch for desk in self._desks.values()]
            if not held:
                continue
            try:
                async with self._context.database.hot() as connection:
                    kept = await batch_queries.extend(
                        connection, held, self._context.clock.now() + self._means.ttl
                    )
            except LibrarianError as error:
                self._context.logger.warning("heartbeat_failed", reason=error.reason, count=len(held))
                continue
            for batch in held:
                if batch.batch_id not in kept and (desk := self._desks.get(batch.batch_id)) is not None:
                    self._context.logger.warning("batch_lost", batch_id=batch.batch_id)
                    desk.lose()

    async def close(self) -> None:
        """Calls and tasks of movers in this process are cut off; what has arrived is found again. What is
        held is released.
        """
        for task in self._batches:
            task.cancel()
        await asyncio.gather(*self._batches, return_exceptions=True)
        for link in self._links.values():
            await link.close()
        for mover in self._movers.values():
            await mover.close()

    async def _round(self) -> bool:
        """Whether anything was claimed."""
        now = self._context.clock.now()
        async with self._context.database.hot() as connection:
            await self._roster.read(connection)
            due = await batch_queries.find_due(connection, now)
            if due.put_off:
                await batch_queries.requeue(connection, now, _REQUEUED, channel=self._means.channels.moved)
        claimed = due.put_off
        mine = [batch_id for batch_id in due.batch_ids if batch_id not in self._desks]
        if mine and self._room() > 0:
            claimed |= await self._take_over(mine[: self._room()])
        for route_id in due.route_ids:
            route = self._roster.routes.get(route_id)
            if route is not None and self._may_begin(route):
                claimed |= await self._claim(route)
        return claimed

    def _room(self) -> int:
        return _MOST_BATCHES - len(self._desks)

    def _may_begin(self, route: Route) -> bool:
        return (
            self._room() > 0
            and route.via != RELAY
            and route.via in self._movers
            and self._roster.may_send(route.route_id)
            and self.link(route.to).works
        )

    async def _claim(self, route: Route) -> bool:
        can = self._movers[route.via].capabilities
        limits = Limits(min(can.max_items, _MOST_ITEMS), _BATCH_BYTES, can.parallel, _OPEN_BATCHES)
        now = self._context.clock.now()
        async with self._context.database.transaction() as connection:
            found = await batch_queries.claim_queued(
                connection,
                route,
                limits,
                batch_id=self._context.ids.new_uid(),
                owner=self._means.owner,
                now=now,
                ttl=self._means.ttl,
                channel=self._means.channels.moved,
            )
        self._context.faults.hit("send.claimed")
        if found is None:
            return False
        batch, parcels = found
        self._start(Desk(self._means, batch, parcels), resumed=False)
        return True

    async def _take_over(self, batch_ids: list[str]) -> bool:
        async with self._context.database.transaction() as connection:
            batches = await batch_queries.take_over(
                connection,
                batch_ids,
                owner=self._means.owner,
                now=self._context.clock.now(),
                ttl=self._means.ttl,
            )
        self._context.faults.hit("send.taken_over")
        for batch in batches:
            async with self._context.database.hot() as connection:
                parcels = await batch_queries.parcels_of(connection, batch.batch_id)
            self._start(Desk(self._means, batch, parcels), resumed=True)
        return bool(batches)

    async def _rest(self, mark: int) -> None:
        seconds = self._means.poll_seconds
        async with self._context.database.hot() as connection:
            due = await batch_queries.next_due(connection)
        if due is not None:
            left = (due - self._context.clock.now()).total_seconds()
            seconds = min(seconds, max(left, 0.05))
        rung = asyncio.ensure_future(self._bell.wait(mark, seconds))
        stop = asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait([rung, stop], return_when=asyncio.FIRST_COMPLETED)
        finally:
            rung.cancel()
            stop.cancel()

    def _start(self, desk: Desk, *, resumed: bool) -> None:
        self._means.metrics.batch_count.inc()
        self._desks[desk.batch.batch_id] = desk
        task = asyncio.create_task(
            self._carry_out(desk, resumed=resumed), name=f"transfers {desk.batch.batch_id}"
        )
        self._batches.add(task)

        def ended(task: asyncio.Task[None]) -> None:
            self._batches.discard(task)
            self._desks.pop(desk.batch.batch_id, None)
            self._means.metrics.batch_count.dec()
            if not task.cancelled() and (error := task.exception()) is not None:
                self._context.logger.error("transfer_batch_broken", exc_info=error)
            # There is room again.
            self._bell.ring()

        task.add_done_callback(ended)

    async def _carry_out(self, desk: Desk, *, resumed: bool) -> None:
        batch = desk.batch
        try:
            mover = self._movers.get(batch.via)
            if mover is None:
                self._context.logger.warning("mover_unknown", via=batch.via, batch_id=batch.batch_id)
                await asyncio.sleep(self._means.poll_seconds)
                return
            await carry(desk, self._roster, self.link(batch.to), mover, resumed=resumed)
        except* StaleLease:
            desk.lose()
        except* LibrarianError as errors:
            # The database, mostly: the batch is released, or its lease runs out, and it is found again.
            self._context.logger.warning(
                "transfer_batch_left",
                batch_id=batch.batch_id,
                reasons=[str(each) for each in errors.exceptions],
            )
            await asyncio.sleep(_BREATH)
        except* Exception:
            self._context.logger.exception("transfer_batch_failed", batch_id=batch.batch_id)
            await asyncio.sleep(_BREATH)
        finally:
            await self._let_go(desk)

    async def _let_go(self, desk: Desk) -> None:
        """A lease that cannot be released runs out."""
        if desk.is_lost:
            return
        try:
            async with self._context.database.hot() as connection:
                await batch_queries.release(connection, [desk.batch])
        except LibrarianError as error:
            self._context.logger.warning("release_failed", reason=error.reason)
