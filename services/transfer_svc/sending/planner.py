"""Which datasets go where: follows the catalogue's event log and plans what routes want. One at a time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Final

from librarian.api.catalog.v1 import catalog_pb2
from librarian.errors import (
    CursorOfAnotherEpoch,
    InvalidPageToken,
    LibrarianError,
    StaleLease,
)
from librarian.globs import compile_glob
from librarian.messages import datetime_of
from svckit.notifications import Bell
from transfer_svc.backoff import TROUBLE
from transfer_svc.replicas import ReplicaState
from transfer_svc.sending import plan_queries
from transfer_svc.sending.changes import notify
from transfer_svc.sending.lifecycle import TransferState
from transfer_svc.sending.matching import Subject, mismatch, name_mismatch, obstacle
from transfer_svc.sending.means import Means
from transfer_svc.sending.plan_queries import Place, Plan
from transfer_svc.sending.ranking import rank
from transfer_svc.sending.values import RELAY, BackfillState, DestinationKind, Route

_PUBLISHED: Final = "DATASET_PUBLISHED"
_ADDED: Final = "REPLICA_ADDED"
_STATE_CHANGED: Final = "REPLICA_STATE_CHANGED"
_RECEIPT: Final = "RECEIPT_RECORDED"
# After which a dataset may be one that a route wants.
_NEWS: Final = frozenset({_PUBLISHED, _ADDED, _STATE_CHANGED})
# Events that lead to nothing are written off this often (s): to read them again costs little.
_ADVANCE_SECONDS: Final = 5.0
_PAGE: Final = 500
_GATHER_SECONDS: Final = 0.5


class Planner:
    """`run` is its task: waits for the lease, and plans while it has it. `bell`: routes may have changed."""

    def __init__(self, means: Means, *, bell: Bell, stopping: asyncio.Event) -> None:
        self._means = means
        self._context = means.context
        self._bell = bell
        self._stopping = stopping

    async def run(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            try:
                place = await self._claim()
                if place is None:
                    await self._pause(self._means.ttl.total_seconds() / 3)
                    continue
                failures = 0
                await self._hold(place)
            except* StaleLease:
                self._context.logger.warning("planner_overtaken")
            except* LibrarianError as errors:
                failures += 1
                self._context.logger.warning(
                    "planner_interrupted", reasons=[str(each) for each in errors.exceptions]
                )
                await self._pause(TROUBLE.delay(failures, self._means.rand()))

    async def _claim(self) -> Place | None:
        async with self._context.database.transaction() as connection:
            return await plan_queries.claim(
                connection, owner=self._means.owner, now=self._context.clock.now(), ttl=self._means.ttl
            )

    async def _hold(self, place: Place) -> None:
        work = _Tenure(self._means, place, self._bell)
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(each) for each in (work.keep(), work.follow(), work.backfill())]
                stop = group.create_task(self._stopping.wait())
                stop.add_done_callback(lambda _: [task.cancel() for task in tasks])
        finally:
            with suppress(LibrarianError):
                async with self._context.database.hot() as connection:
                    await plan_queries.release(connection, place.fence)

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()


class _Tenure:
    """What is done under one lease."""

    def __init__(self, means: Means, place: Place, bell: Bell) -> None:
        self._means = means
        self._context = means.context
        self._place = place
        self._written = place
        self._written_at = means.context.clock.monotonic()
        self._bell = bell

    async def keep(self) -> None:
        """Keeps the lease, and now and then writes down how far the log was read."""
        while True:
            await asyncio.sleep(min(self._means.ttl.total_seconds() / 3, _ADVANCE_SECONDS))
            async with self._context.database.hot() as connection:
                until = self._context.clock.now() + self._means.ttl
                if not await plan_queries.extend(connection, self._place.fence, until):
                    raise StaleLease("the planner's lease was taken over")

    async def follow(self) -> None:
        """The event log from where it was left, for ever. Another epoch: from its beginning; what was planned
        before is not planned twice.
        """
        while True:
            place = self._place
            after = catalog_pb2.EventCursor(epoch=place.epoch, sequence=place.sequence)
            request = catalog_pb2.WatchEventsRequest(after=after if place.epoch else None)
            stream = self._context.catalog.WatchEvents(request)
            try:
                async for response in stream:
                    await self._take(response)
            except CursorOfAnotherEpoch:
                self._context.logger.warning("event_log_restored", epoch=place.epoch)
                self._place = replace(place, epoch=0, sequence=0)
            finally:
                stream.cancel()

    async def _take(self, response: catalog_pb2.WatchEventsResponse) -> None:
        place = replace(self._place, epoch=response.next.epoch, sequence=response.next.sequence)
        news = [event for event in response.events if event.type in _NEWS]
        arrived = _arrivals(response.events)
        if not news and not arrived:
            await self._advance(place)
            return
        async with self._context.database.hot() as connection:
            routes = await plan_queries.routes_in_use(connection)
            if arrived:
                await plan_queries.close_present(
                    connection,
                    arrived,
                    now=self._context.clock.now(),
                    channel=self._means.channels.moved,
                )
        self._context.faults.hit("planner.closed")
        wanted = {
            event.dataset_uid
            for event in news
            if any(not name_mismatch(event.dataset_name, route) for route in routes)
        }
        plans = []
        for subject in await self._subjects(sorted(wanted)):
            plans += self._plans(subject, routes)
        await self._retry_sources([event for event in news if event.type == _STATE_CHANGED])
        if not plans:
            await self._advance(place)
            return
        self._context.faults.hit("planner.matched")
        async with self._context.database.hot() as connection:
            new = await plan_queries.write_plans(
                connection, place, plans, now=self._context.clock.now(), channel=self._means.channels.moved
            )
            self._context.faults.hit("planner.written")
            if new:
                await notify(connection, self._means.channels.queue)
        self._means.metrics.planned.inc(len(new))
        self._place = self._written = place

    async def _advance(self, place: Place) -> None:
        """Events that led to nothing."""
        self._place = place
        now = self._context.clock.monotonic()
        if place == self._written or (
            place.epoch == self._written.epoch and now - self._written_at < _ADVANCE_SECONDS
        ):
            return
        async with self._context.database.hot() as connection:
            if not await plan_queries.advance(connection, place):
                raise StaleLease("the planner's lease was taken over")
        self._written, self._written_at = place, now
        self._context.faults.hit("planner.advanced")

    async def _subjects(self, uids: Sequence[str]) -> list[Subject]:
        if not uids:
            return []
        request = catalog_pb2.BatchGetDatasetsRequest(uids=uids)
        response = await self._context.catalog.BatchGetDatasets(request)
        return [subject_of(dataset) for dataset in response.datasets]

    async def _retry_sources(self, events: Sequence[catalog_pb2.Event]) -> None:
        well = [event.dataset_uid for event in events if _tells_well(event)]
        if not well:
            return
        async with self._context.database.hot() as connection:
            again = await plan_queries.retry_sources(
                connection, well, now=self._context.clock.now(), channel=self._means.channels.moved
            )
            if again:
                await notify(connection, self._means.channels.queue)

    def _plans(self, subject: Subject, routes: Iterable[Route]) -> list[Plan]:
        """For one destination the first route that wants it: no second transfer could be made anyway."""
        plans: dict[tuple[int, str], Plan] = {}
        now = self._context.clock.now()
        for route in routes:
            key = (route.destination_kind, route.destination)
            if key in plans or mismatch(subject, route) or obstacle(subject, route):
                continue
            plans[key] = Plan(
                self._context.ids.new_uid(),
                route,
                subject.uid,
                subject.name,
                subject.kind,
                subject.size_bytes,
                TransferState.PLANNED if route.via == RELAY else TransferState.QUEUED,
                rank(now, route.priority),
            )
        return list(plans.values())

    async def backfill(self) -> None:
        """Datasets older than their route, page by page; between pages others have their turn."""
        while True:
            mark = self._bell.mark()
            async with self._context.database.hot() as connection:
                routes = await plan_queries.routes_in_use(connection)
            running = [route for route in routes if route.backfill_state == BackfillState.RUNNING]
            if not running:
                await self._bell.wait(mark, self._means.poll_seconds)
                # It rings often where much is planned.
                await asyncio.sleep(_GATHER_SECONDS)
            for route in running:
                await self._page(route)

    async def _page(self, route: Route) -> None:
        request = catalog_pb2.ListDatasetsRequest(
            page_size=_PAGE,
            page_token=route.backfill_token,
            filter=catalog_pb2.DatasetFilter(
                name_prefix=compile_glob(route.name_glob).literal_prefix if route.name_glob else "",
                lacks_site=route.destination if route.to.is_peer else "",
                lacks_store="" if route.to.is_peer else route.destination,
            ),
            with_replicas=True,
        )
        try:
            response = await self._context.catalog.ListDatasets(request)
        except InvalidPageToken:
            async with self._context.database.hot() as connection:
                await plan_queries.restart_backfill(connection, route.route_id, self._place.fence)
            return
        plans = []
        for dataset in response.datasets:
            plans += self._plans(subject_of(dataset), [route])
        self._context.faults.hit("planner.page_matched")
        async with self._context.database.hot() as connection:
            new = await plan_queries.write_page(
                connection,
                route,
                plans,
                fence=self._place.fence,
                next_token=response.next_page_token,
                looked_at=len(response.datasets),
                now=self._context.clock.now(),
                channel=self._means.channels.moved,
            )
            self._context.faults.hit("planner.page_written")
            if new:
                await notify(connection, self._means.channels.queue)
        self._means.metrics.planned.inc(len(new))


def subject_of(dataset: catalog_pb2.Dataset) -> Subject:
    return Subject(
        uid=dataset.uid,
        name=dataset.name,
        kind=dataset.kind,
        size_bytes=dataset.size_bytes,
        tags=dict(dataset.tags),
        publish_time=datetime_of(dataset.publish_time),
        stores=[each.store for each in dataset.replicas if int(each.state) == ReplicaState.AVAILABLE],
        sites=[each.site for each in dataset.remote_replicas],
    )


def _arrivals(events: Iterable[catalog_pb2.Event]) -> list[tuple[str, DestinationKind, str]]:
    """Datasets that came to be at a site, by its receipt, or on a store of this one."""
    found = []
    for event in events:
        if event.type == _RECEIPT:
            site = json.loads(event.details_json or "{}").get("site", "")
            found.append((event.dataset_uid, DestinationKind.PEER, str(site)))
        elif event.type == _ADDED:
            found.append((event.dataset_uid, DestinationKind.STORE, event.store))
    return found


def _tells_well(event: catalog_pb2.Event) -> bool:
    return bool(json.loads(event.details_json or "{}").get("state") == "AVAILABLE")
