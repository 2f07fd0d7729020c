"""What other sites say to this one to come to know it: Hello, Join, CheckIn. One transaction each."""

from __future__ import annotations

import secrets
import uuid
from typing import Any

from gateway import peer_queries as queries
from gateway.invitations import check_mac, joining_of, secret_of, unknown_invitation
from gateway.peer_queries import NOT_CALLED
from gateway.peers import Peer, checked_address
from gateway.pinning import pin, pin_rotated
from gateway.queries import tell_gateways
from gateway.release import site_version
from gateway.sessions import RANDOM_BYTES, SESSION, check_nonce, make_nonce
from librarian.api.federation.v1.federation_pb2 import (
    CheckInRequest,
    CheckInResponse,
    HelloResponse,
    JoinRequest,
    JoinResponse,
    JoinStatement,
    SiteAddress,
)
from librarian.errors import LibrarianError, PeerUnknown
from librarian.messages import timestamp
from svckit.auth import Caller
from svckit.clock import Clock, Ids
from svckit.database import Database
from svckit.sitekeys import SiteKeys, new_keys
from svckit.telemetry import Logger

_MAX_KEYS = 16


class Pairing:
    """`session_key`, `invitation_key`: made of the gateway's own key, in no database. `own`: this site's
    address as it is told to others.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        ids: Ids,
        logger: Logger,
        *,
        keys: SiteKeys,
        session_key: bytes,
        invitation_key: bytes,
        own: SiteAddress,
    ) -> None:
        self._database = database
        self._clock = clock
        self._ids = ids
        self._logger = logger
        self._keys = keys
        self._session_key = session_key
        self._invitation_key = invitation_key
        self._own = own

    def hello(self) -> HelloResponse:
        """A session; nothing is kept of it."""
        now = self._clock.now()
        return HelloResponse(
            site=self._keys.site,
            version=site_version(),
            time=timestamp(now),
            nonce=make_nonce(self._session_key, secrets.token_bytes(RANDOM_BYTES), now),
            session_seconds=int(SESSION.total_seconds()),
        )

    async def join(self, request: JoinRequest) -> JoinResponse:
        """Raises InviteInvalid, PeerSessionEnded, SignatureInvalid, PeerExists, InvalidInput."""
        try:
            peer = await self._redeem(request)
        except LibrarianError as error:
            self._logger.warning("join_refused", reason=error.reason, message=error.message)
            raise
        self._logger.info("peer_joined", peer=peer.name, address=peer.address, keys=list(peer.keys))
        return JoinResponse(key=self._keys.statement(self._clock.now()), site=self._keys.site)

    async def check_in(self, request: CheckInRequest, caller: Caller) -> CheckInResponse:
        """Raises PeerUnknown, SignatureInvalid, InvalidInput."""
        now = self._clock.now()
        async with self._database.transaction() as connection:
            peer = await queries.peer_named(connection, caller.subject)
            if peer is None:
                raise PeerUnknown(f"{self._keys.site} does not know {caller.subject} any more")
            rotated = new_keys(request.keys[:_MAX_KEYS], peer.name, peer.session_keys(now))
            moved = self._place(peer, request.address)
            if rotated:
                await pin_rotated(connection, peer, rotated, now)
            if moved:
                await queries.count_change(connection, now)
            changes = {"heard_time": now, "version": request.version[:80], **moved}
            await queries.set_peer(connection, peer.record_id, changes)
            if rotated or moved:
                await tell_gateways(connection, peer.peer_id)
        if rotated:
            self._logger.info("peer_keys_pinned", peer=peer.name, keys=[key.key_id for key in rotated])
        return CheckInResponse(keys=[self._keys.statement(now)], time=timestamp(now), version=site_version())

    async def _redeem(self, request: JoinRequest) -> Peer:
        now = self._clock.now()
        joining = joining_of(request, own_site=self._keys.site)
        check_nonce(self._session_key, joining.nonce, now)
        invite_id = _checked(joining)
        told = checked_address(joining.address.address, insecure=True)
        async with self._database.transaction() as connection:
            invited = await queries.invitation(connection, invite_id)
            if invited is None:
                raise unknown_invitation()
            check_mac(request, secret_of(self._invitation_key, invited.invite_id, invited.salt))
            invited.check(joining, now)
            peer = await pin(
                connection,
                joining.key,
                address=told,
                insecure=self._may_be_plain(joining.address),
                told_address=told,
                now=now,
                ids=self._ids,
            )
            await queries.use_invitation(connection, invited.invite_id, joining.key.key_id)
            await queries.set_peer(connection, peer.record_id, {"heard_time": now})
            await tell_gateways(connection, peer.peer_id)
        return peer

    def _place(self, peer: Peer, told: SiteAddress) -> dict[str, Any]:
        """What changes where the peer says that it has moved. One that was set here stays till then."""
        address = checked_address(told.address, insecure=True)
        if address == peer.told_address:
            return {}
        insecure = told.insecure and (peer.insecure or self._own.insecure)
        return {"address": address, "told_address": address, "insecure": insecure, **NOT_CALLED}

    def _may_be_plain(self, told: SiteAddress) -> bool:
        """The other site's word alone opens no plain connection: ours must be a plain network too."""
        return told.insecure and self._own.insecure


def _checked(joining: JoinStatement) -> str:
    try:
        return str(uuid.UUID(joining.invite_id))
    except ValueError:
        raise unknown_invitation() from None
