"""Receipts that come back through others: each peer that is sent to is asked what it came to know."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Final

from librarian.api.catalog.v1 import catalog_pb2
from librarian.api.common.v1.common_pb2 import Signed
from librarian.api.federation.v1 import federation_pb2 as pb
from librarian.errors import CursorOfAnotherEpoch, LibrarianError
from svckit.statements import KeyRing, verify_receipt
from transfer_svc.receiving.peers import learn_introductions
from transfer_svc.sending import doubt_queries, link_queries
from transfer_svc.sending.engine import Engine
from transfer_svc.sending.link_queries import Cursor
from transfer_svc.sending.means import Means
from transfer_svc.sending.patience import patiently
from transfer_svc.sending.roster import Roster
from transfer_svc.sending.values import Destination, DestinationKind

_PAGE: Final = 500
_DOUBTED_AT_ONCE: Final = 2000
# Between questions to one peer (s): while something came lately, and otherwise.
_BUSY_SECONDS: Final = 3.0
_IDLE_SECONDS: Final = 20.0
# That many empty answers in a row: idle.
_PATIENCE: Final = 20


class Relays:
    """`run` is its task. Workers share the peers: each has its turn by the clock."""

    def __init__(self, means: Means, roster: Roster, engine: Engine, *, stopping: asyncio.Event) -> None:
        self._means = means
        self._context = means.context
        self._roster = roster
        self._engine = engine
        self._stopping = stopping
        self._empty: dict[str, int] = {}
        # When each is to be asked again (monotonic, s), as far as this worker knows.
        self._due: dict[str, float] = {}

    async def run(self) -> None:
        while not self._stopping.is_set():
            for name in self._asked():
                try:
                    await self._ask(name)
                except LibrarianError as error:
                    self._context.logger.warning("receipts_put_off", peer=name, reason=error.reason)
            with suppress(TimeoutError):
                async with asyncio.timeout(min(_BUSY_SECONDS, self._means.poll_seconds)):
                    await self._stopping.wait()

    def _asked(self) -> list[str]:
        """Peers that are sent to, or through, and that answer as far as is known."""
        names = set()
        for route in self._roster.routes.values():
            if route.to.is_peer:
                names.add(route.through or route.destination)
        reachable = [Destination(DestinationKind.PEER, name) for name in sorted(names)]
        return [to.name for to in reachable if self._roster.reachable(to) and self._engine.link(to).works]

    async def _ask(self, name: str) -> None:
        """All that is new at one peer."""
        to = Destination(DestinationKind.PEER, name)
        quiet = self._empty.get(name, 0) >= _PATIENCE
        now = self._context.clock.now()
        seconds = (_IDLE_SECONDS if quiet else _BUSY_SECONDS) - 0.5
        if self._context.clock.monotonic() < self._due.get(name, 0.0):
            return
        self._due[name] = self._context.clock.monotonic() + seconds
        async with self._context.database.hot() as connection:
            cursor = await link_queries.receipts_turn(
                connection, to, now=now, until=now + timedelta(seconds=seconds)
            )
        if cursor is None:
            return
        while True:
            after = (
                catalog_pb2.EventCursor(epoch=cursor.epoch, sequence=cursor.sequence, time_us=cursor.time_us)
                if cursor.epoch
                else None
            )
            request = pb.ListReceiptsRequest(after=after, page_size=_PAGE)
            try:
                response = await self._engine.link(to).call("ListReceipts", request)
            except CursorOfAnotherEpoch:
                await self._doubt(to)
                cursor = Cursor()
                continue
            if response.receipts:
                await self._take(name, response)
            self._empty[name] = 0 if response.receipts else self._empty.get(name, 0) + 1
            self._context.faults.hit("send.relayed_recorded")
            following = Cursor(response.next.epoch, response.next.sequence, response.next.time_us)
            if following == cursor:
                return
            # An answer without receipts, and hardly further: the log grows while it is read.
            little = not response.receipts and following.sequence - cursor.sequence < _PAGE
            cursor = following
            async with self._context.database.hot() as connection:
                await link_queries.receipts_read(connection, to, cursor)
            if little:
                return

    async def _doubt(self, to: Destination) -> None:
        """The peer's records are of another time: whatever it has signed for may be unknown there now. It is
        offered again, which moves nothing where the bytes lie. Until that is written down the cursor stays,
        so that a worker that dies here is followed by one that begins anew.
        """
        before, count = "", 0
        while True:
            async with self._context.database.hot() as connection:
                page = await doubt_queries.doubt(
                    connection,
                    to,
                    before=before,
                    limit=_DOUBTED_AT_ONCE,
                    now=self._context.clock.now(),
                    channel=self._means.channels.moved,
                )
            count += page.count
            if not page.last:
                break
            before = page.last
        self._context.logger.warning("receiver_restored", peer=to.name, doubted_count=count)
        self._context.faults.hit("send.doubted")

    async def _take(self, name: str, response: pb.ListReceiptsResponse) -> None:
        keys = self._roster.all_keys()
        await learn_introductions(self._context, keys, response.introductions, name)
        good = await asyncio.to_thread(self._check_all, name, keys, list(response.receipts))
        if not good:
            return
        request = catalog_pb2.RecordReceiptsRequest(
            request_id=self._context.ids.new_uid(),
            receipts=[catalog_pb2.ReceiptRecord(receipt=signed, via_site=name) for signed in good],
        )
        answer = await patiently(self._means, lambda: self._context.catalog.RecordReceipts(request))
        for verdict in answer.verdicts:
            self._context.logger.warning(
                "relayed_receipt_refused",
                peer=name,
                reason=verdict.error.reason,
                message=verdict.error.message,
            )

    def _check_all(self, name: str, keys: KeyRing, receipts: Sequence[Signed]) -> list[Signed]:
        """Those signed by a key that is known of the site they are of; not this site's own word."""
        good = []
        for signed in receipts:
            try:
                if verify_receipt(signed, keys).site != self._roster.site:
                    good.append(signed)
            except LibrarianError as error:
                self._context.logger.warning(
                    "relayed_receipt_refused", peer=name, reason=error.reason, message=error.message
                )
        return good
