"""The bytes of a batch: one task of a mover, watched until each item has come to its end."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from librarian.errors import InternalError, LibrarianError, NotFound
from librarian.manifests import DatasetKind
from transfer_svc.movers import base
from transfer_svc.sending import batch_queries, changes
from transfer_svc.sending.confirming import deliver
from transfer_svc.sending.desk import Desk
from transfer_svc.sending.lifecycle import TransferState
from transfer_svc.sending.link import Link
from transfer_svc.sending.rates import Rate
from transfer_svc.sending.roster import Roster
from transfer_svc.sending.troubles import Trouble, trouble_of
from transfer_svc.sending.values import Parcel, Route

_WATCH_SECONDS: Final = 1.0
# What has arrived is told of this often, so that small items go in rounds.
_GATHER_SECONDS: Final = 0.25
_ROUND: Final = 250
_PROGRESS_SECONDS: Final = 1.0


class Moving:
    """One run of a mover over the parcels of a desk that have a landing."""

    def __init__(self, desk: Desk, roster: Roster, link: Link, mover: base.Mover, route: Route) -> None:
        self._desk = desk
        self._roster = roster
        self._link = link
        self._mover = mover
        self._route = route
        self._parcels: dict[str, Parcel] = {}
        self._rates: dict[str, Rate] = {}
        self._ripe: list[Parcel] = []
        self._clock = desk.context.clock
        self._told_at = self._clock.monotonic()
        self._noted_at = self._told_at

    async def run(self) -> None:
        """Until each is delivered or in trouble, or sending is paused, or something was cancelled."""
        parcels = [parcel for parcel in self._desk.in_state(TransferState.MOVING) if parcel.landing >= 0]
        if not parcels:
            return
        self._parcels = {parcel.upload_id: parcel for parcel in parcels}
        batch = self._batch(parcels)
        handle = ""
        try:
            handle = await self._handle(batch)
            await self._mover.start(batch, handle)
            self._desk.context.faults.hit("send.mover_started")
            await self._watch(handle)
        except NotFound:
            # The mover has lost its task; what has arrived is found again by the next.
            await self._failed(
                [(parcel, InternalError("the mover lost its task")) for parcel in self._left()]
            )
        except LibrarianError as error:
            await self._failed([(parcel, error) for parcel in self._left()])
        finally:
            # Not where this process ends: durable tasks go on.
            if handle and not _cancelled():
                with suppress(LibrarianError):
                    await self._mover.cancel(handle)

    async def _handle(self, batch: base.Batch) -> str:
        if self._desk.batch.handle and self._mover.capabilities.durable:
            return self._desk.batch.handle
        handle = await self._mover.prepare(batch)
        async with self._desk.context.database.hot() as connection:
            await batch_queries.keep_handle(connection, self._desk.batch, handle)
        self._desk.batch.handle = handle
        self._desk.context.faults.hit("send.handle_kept")
        return handle

    async def _watch(self, handle: str) -> None:
        while self._left():
            await self._mover.wait(handle, _GATHER_SECONDS if self._ripe else _WATCH_SECONDS)
            failed = []
            progress = await self._mover.poll(handle)
            for each in progress:
                parcel = self._parcels.get(each.upload_id)
                if parcel is None:
                    continue
                if each.moved_bytes > parcel.moved_bytes:
                    parcel.moved_bytes = each.moved_bytes
                    parcel.was_stale = False
                if each.state is not base.ItemState.MOVING:
                    del self._parcels[each.upload_id]
                if each.state is base.ItemState.MOVED:
                    self._ripe.append(parcel)
                elif each.state is base.ItemState.FAILED:
                    failed.append((parcel, each.error or InternalError("the mover gave no reason")))
            await self._failed(failed)
            await self._deliver_ripe()
            await self._note_progress()
            if self._desk.recheck and await self._desk.look_again():
                break
            if not self._roster.may_send(self._route.route_id):
                break
        await self._deliver_ripe(all_of_them=True)

    def _left(self) -> list[Parcel]:
        """Those not at their end that are still ours."""
        return [parcel for parcel in self._parcels.values() if parcel.dataset_uid in self._desk.parcels]

    async def _deliver_ripe(self, *, all_of_them: bool = False) -> None:
        waited = self._clock.monotonic() - self._told_at
        due = all_of_them or not self._left() or len(self._ripe) >= _ROUND or waited >= _GATHER_SECONDS
        if not (self._ripe and due):
            return
        ripe = [parcel for parcel in self._ripe if parcel.dataset_uid in self._desk.parcels]
        self._ripe = []
        if ripe:
            self._desk.context.faults.hit("send.moved")
            await deliver(self._desk, self._roster, self._link, ripe)
        self._told_at = self._clock.monotonic()

    async def _failed(self, failed: Sequence[tuple[Parcel, LibrarianError]]) -> None:
        """Those whose grant is not good any more get another one with the next offer, once; after that they
        wait their turn.
        """
        troubled = []
        for parcel, error in failed:
            parcel.landing = -1
            if trouble_of(error) is Trouble.STALE and not parcel.was_stale:
                parcel.was_stale = True
            else:
                troubled.append((parcel, error))
        await self._desk.troubled(troubled)

    async def _note_progress(self) -> None:
        now = self._clock.monotonic()
        if now - self._noted_at < _PROGRESS_SECONDS:
            return
        self._noted_at = now
        moved = []
        for parcel in self._left():
            rate = self._rates.setdefault(parcel.upload_id, Rate()).note(now, parcel.moved_bytes)
            if (parcel.moved_bytes, rate) != parcel.told:
                parcel.told = (parcel.moved_bytes, rate)
                moved.append((parcel.transfer_id, parcel.moved_bytes, rate))
        if moved:
            async with self._desk.context.database.hot() as connection:
                await changes.note_progress(
                    connection,
                    self._desk.batch,
                    moved,
                    now=self._clock.now(),
                    channel=self._desk.means.channels.moved,
                )

    def _batch(self, parcels: Sequence[Parcel]) -> base.Batch:
        return base.Batch(
            batch_id=self._desk.batch.batch_id,
            peer=self._desk.batch.destination if self._desk.batch.to.is_peer else "",
            items=[self._item(parcel) for parcel in parcels],
            landing_root=self._route.landing,
            max_bytes_per_second=self._route.max_bytes_per_second,
            route=self._route.route_id,
        )

    def _item(self, parcel: Parcel) -> base.Item:
        offered = self._desk.items[parcel.dataset_uid]
        return base.Item(
            transfer_id=parcel.transfer_id,
            uid=parcel.dataset_uid,
            upload_id=parcel.upload_id,
            name=parcel.name,
            kind=DatasetKind(parcel.kind),
            algorithm=offered.digest.algorithm,
            size_bytes=parcel.size_bytes,
            member_count=offered.member_count,
            store=parcel.store,
            landing=self._desk.landings[parcel.landing],
            begun=parcel.begun or parcel.moved_bytes > 0,
        )


def _cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
