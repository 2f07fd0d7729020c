"""Calling each peer now and then: how the link is, whose clock is where, which keys were replaced."""

from __future__ import annotations

import asyncio
from datetime import UTC, timedelta

from gateway import peer_queries as queries
from gateway.joining import address_for
from gateway.peerbook import PeerBook
from gateway.peers import Peer
from gateway.pinning import pin_rotated
from gateway.queries import tell_gateways
from gateway.release import site_version
from librarian.api.federation.v1.federation_pb2 import CheckInRequest, CheckInResponse, SiteAddress
from librarian.errors import LibrarianError, Unavailable
from svckit.clock import Clock
from svckit.database import Database
from svckit.notifications import Bell
from svckit.peerlink import PeerAddress, PeerLinks
from svckit.sitekeys import SiteKeys, new_keys
from svckit.telemetry import Logger

# While a link is down it is tried more often than that.
_DOWN_SECONDS = 5.0
_LOOK_SECONDS = 20.0
_REASON_CHARACTERS = 300
_MAX_KEYS = 16


class CheckIns:
    """A task for each peer that has an address, so that a dead one delays nobody."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        logger: Logger,
        book: PeerBook,
        links: PeerLinks,
        *,
        keys: SiteKeys,
        own: SiteAddress,
        seconds: float,
    ) -> None:
        self._database = database
        self._clock = clock
        self._logger = logger
        self._book = book
        self._links = links
        self._keys = keys
        self._own = own
        self._seconds = seconds
        self._running: dict[tuple[str, PeerAddress], asyncio.Task[None]] = {}
        # Of the peers that did not answer when they were last called.
        self._silent: dict[str, asyncio.Event] = {}

    async def follow(self, bell: Bell) -> None:
        """Keeps a task for each peer, and none for those that went. Never returns."""
        try:
            while True:
                mark = bell.mark()
                await self._look()
                await bell.wait(mark, _LOOK_SECONDS)
        finally:
            for task in self._running.values():
                task.cancel()
            await asyncio.gather(*self._running.values(), return_exceptions=True)

    def heard(self, name: str) -> None:
        """That peer has called: one that was not reached is tried again at once."""
        if name in self._silent:
            self._silent[name].set()

    async def check_in(self, peer: Peer) -> bool:
        """One call, and what it told; whether it got through. Raises Unavailable: our own database."""
        asked = self._clock.monotonic()
        place = PeerAddress(peer.name, peer.address, peer.insecure)
        request = CheckInRequest(
            keys=[self._keys.statement(self._clock.now())],
            address=address_for(self._own, peer.address),
            version=site_version(),
        )
        try:
            answer = await self._links.to(place).pairing.CheckIn(request)
            await self._keep(peer, answer, asked)
        except LibrarianError as error:
            if peer.link.up is not False:
                self._logger.warning(
                    "peer_link_down", peer=peer.name, reason=error.reason, message=error.message
                )
            await self._keep_failure(peer, error)
            return False
        if not peer.link.up:
            self._logger.info("peer_link_up", peer=peer.name)
        return True

    async def _look(self) -> None:
        # Whatever rang the bell is newer than what is remembered.
        self._book.forget()
        try:
            live = (await self._book.peers()).by_name.values()
        except Unavailable as error:
            self._logger.warning("check_ins_wait", message=error.message)
            return
        wanted = {
            (peer.record_id, PeerAddress(peer.name, peer.address, peer.insecure)): peer.name
            for peer in live
            if peer.address and not peer.paused
        }
        for place, task in list(self._running.items()):
            if task.done():
                task.result()  # it never ends but by a bug, which stops the service
            if place not in wanted:
                task.cancel()
                await asyncio.gather(self._running.pop(place), return_exceptions=True)
        for place, name in wanted.items():
            if place not in self._running:
                task = asyncio.create_task(self._repeat(name), name=f"check-in-{name}")
                self._running[place] = task

    async def _repeat(self, name: str) -> None:
        while True:
            reached = False
            try:
                peer = (await self._book.peers()).by_name.get(name)
                reached = peer is not None and await self.check_in(peer)
            except Unavailable as error:
                self._logger.warning("check_in_put_off", peer=name, message=error.message)
            if reached:
                await asyncio.sleep(self._seconds)
            else:
                await self._wait_for_sign(name, min(self._seconds, _DOWN_SECONDS))

    async def _wait_for_sign(self, name: str, seconds: float) -> None:
        sign = self._silent[name] = asyncio.Event()
        try:
            async with asyncio.timeout(seconds):
                await sign.wait()
        except TimeoutError:
            return
        finally:
            del self._silent[name]

    async def _keep(self, peer: Peer, answer: CheckInResponse, asked: float) -> None:
        """Raises SignatureInvalid for keys that are not the peer's."""
        now = self._clock.now()
        way = timedelta(seconds=(self._clock.monotonic() - asked) / 2)
        offset = answer.time.ToDatetime(UTC) + way - now
        async with self._database.transaction() as connection:
            rotated = new_keys(answer.keys[:_MAX_KEYS], peer.name, peer.session_keys(now))
            if rotated:
                await pin_rotated(connection, peer, rotated, now)
                await tell_gateways(connection, peer.peer_id)
            await queries.set_link(
                connection,
                peer.record_id,
                up=True,
                reason="",
                now=now,
                reached_time=now,
                clock_offset_ms=offset // timedelta(milliseconds=1),
                version=answer.version[:80],
            )
        if rotated:
            self._logger.info("peer_keys_pinned", peer=peer.name, keys=[key.key_id for key in rotated])

    async def _keep_failure(self, peer: Peer, error: LibrarianError) -> None:
        reason = error.message[:_REASON_CHARACTERS]
        async with self._database.transaction() as connection:
            await queries.set_link(connection, peer.record_id, up=False, reason=reason, now=self._clock.now())
