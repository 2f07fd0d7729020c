"""Telling transfer_svc which peers there are, until it has acknowledged the last change, and now and then
again: it may have been restored from a backup.
"""

from __future__ import annotations

from contextlib import suppress

import grpc
import grpc.aio

from gateway import peer_queries as queries
from gateway.backends import Backend
from gateway.peermessages import known_peer
from gateway.peers import latest_by_name
from gateway.revocations import pause_after
from librarian.api.transfer.v1.transfer_pb2 import PutPeersRequest
from librarian.api.transfer.v1.transfer_pb2_grpc import TransferServiceStub
from librarian.errors import LibrarianError
from svckit.auth import Signer
from svckit.channels import call_metadata
from svckit.clock import Clock
from svckit.database import Database
from svckit.notifications import Bell
from svckit.telemetry import Logger

POLL_SECONDS = 20.0
AGAIN_SECONDS = 60.0
_CALL_SECONDS = 5.0


class Announcing:
    def __init__(
        self, backend: Backend, *, database: Database, clock: Clock, signer: Signer, logger: Logger
    ) -> None:
        self._backend = backend
        self._database = database
        self._clock = clock
        self._signer = signer
        self._logger = logger
        self._acknowledged = -1
        self._acknowledged_at = 0.0
        self._failures = 0

    async def follow(self, bell: Bell) -> None:
        """Tells whenever something changed. Never returns."""
        while True:
            mark = bell.mark()
            pause = POLL_SECONDS
            try:
                await self.tell()
                self._failures = 0
            except LibrarianError as error:
                pause = pause_after(self._failures).total_seconds()
                if not self._failures:
                    self._logger.warning("peers_not_told", reason=error.reason, message=error.message)
                self._failures += 1
            await bell.wait(mark, pause)

    async def try_now(self) -> None:
        """So that who has just changed a peer finds it changed; where that fails, `follow` goes on."""
        with suppress(LibrarianError):
            await self.tell()

    async def tell(self) -> None:
        """Where there is something new to tell, or it is long ago. Raises LibrarianError."""
        async with self._database.transaction() as connection:
            # Read before the peers: what is told may be newer than its number, never older.
            revision = await queries.revision(connection)
            if revision == self._acknowledged and not self._is_long_ago():
                return
            peers = latest_by_name(await queries.all_peers(connection))
        request = PutPeersRequest(revision=revision, peers=map(known_peer, peers))
        try:
            await TransferServiceStub(self._backend.channel).PutPeers(
                request,
                timeout=_CALL_SECONDS,
                metadata=call_metadata(self._signer.mint_own(self._backend.audience)),
            )
        except grpc.aio.AioRpcError as error:
            raise self._backend.error_of(error) from error
        if revision != self._acknowledged:
            self._logger.info("peers_told", revision=revision, peers=len(peers))
        self._acknowledged, self._acknowledged_at = revision, self._clock.monotonic()

    def _is_long_ago(self) -> bool:
        return self._clock.monotonic() - self._acknowledged_at > AGAIN_SECONDS
