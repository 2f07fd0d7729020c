"""What this site's own people do with peers. One transaction each."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

from google.protobuf.message import Message
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway import peer_queries as queries
from gateway.invitations import REPLAY_KEPT, SALT_BYTES, Invited, code_of, expiry, secret_of
from gateway.peer_queries import NOT_CALLED
from gateway.peermessages import peer_to_proto
from gateway.peers import Peer, check_site_name, checked_address
from gateway.pinning import live
from gateway.queries import add_ticket_revocation, tell_gateways
from gateway.tables import idempotency
from librarian.api.federation.v1.federation_pb2 import Invitation, SiteAddress
from librarian.api.gateway.v1.gateway_pb2 import (
    InvitePeerRequest,
    InvitePeerResponse,
    RemovePeerRequest,
    RemovePeerResponse,
    UpdatePeerRequest,
    UpdatePeerResponse,
)
from librarian.errors import InvalidInput, PeerNotFound, Refused, UnknownField
from librarian.messages import timestamp
from svckit.auth import Caller
from svckit.clock import Clock, Ids
from svckit.database import Database
from svckit.idempotency import once
from svckit.sitekeys import SiteKeys

SETTABLE = ("paused", "address", "insecure")

M = TypeVar("M", bound=Message)


class PeerDesk:
    """`own`: this site's address as it is told to others. `store_services`: those that are told when the
    tickets of a peer end.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        ids: Ids,
        *,
        keys: SiteKeys,
        own: SiteAddress,
        invitation_key: bytes,
        store_services: Iterable[str],
    ) -> None:
        self._database = database
        self._clock = clock
        self._ids = ids
        self._keys = keys
        self._own = own
        self._invitation_key = invitation_key
        self._store_services = tuple(store_services)

    async def invite(self, request: InvitePeerRequest, caller: Caller) -> InvitePeerResponse:
        """A code, the same one again for the same request. Raises InvalidInput, RequestIdReused."""
        if not self._own.address:
            raise InvalidInput(
                "this site has no address that others can reach, so nobody could use its invitation",
                remedy="set gateway.public_address; or be invited by the other site, and call it",
            )
        name = check_site_name(request.name, own_site=self._keys.site)
        now = self._clock.now()
        expire_time = expiry(now, request.lifetime_seconds)

        async def make(connection: AsyncConnection) -> InvitePeerResponse:
            salt = secrets.token_bytes(SALT_BYTES)
            invited = Invited(self._ids.new_uid(), name, salt, expire_time)
            await queries.add_invitation(connection, invited)
            # In place of the code, which is kept nowhere.
            return InvitePeerResponse(code=invited.invite_id, expire_time=timestamp(expire_time))

        async with self._database.transaction() as connection:
            response = await self._once(connection, "InvitePeer", request, InvitePeerResponse, caller, make)
            kept = await queries.invitation(connection, response.code)
        if kept is None:
            raise Refused(
                "this request made an invitation that has expired since",
                remedy="invite it again, with a new request_id",
            )
        response.code = self._code(kept)
        return response

    async def peers(self, *, with_removed: bool) -> list[Peer]:
        """By name, then age."""
        async with self._database.transaction() as connection:
            found = await queries.all_peers(connection)
        shown = [peer for peer in found if with_removed or peer.remove_time is None]
        return sorted(shown, key=lambda peer: (peer.name, peer.record_id))

    async def update(self, request: UpdatePeerRequest, caller: Caller) -> tuple[UpdatePeerResponse, str]:
        """The peer, and the id whose calls have ended with a pause; "" for none. Raises PeerNotFound,
        UnknownField, InvalidInput, RequestIdReused.
        """
        fields = list(request.update_mask.paths)
        unknown = sorted(set(fields) - set(SETTABLE))
        if unknown or not fields:
            raise UnknownField(
                f"a peer's {unknown[0]} cannot be set" if unknown else "the update_mask is empty",
                remedy=f"name some of {', '.join(SETTABLE)}",
                field="update_mask",
            )
        ended: list[str] = []

        async def change(connection: AsyncConnection) -> UpdatePeerResponse:
            await queries.count_change(connection, self._clock.now())
            peer = _found(await queries.peer_named(connection, request.peer.name), request.peer.name)
            changes = {name: getattr(request.peer, name) for name in fields}
            insecure = changes.get("insecure", peer.insecure)
            if "address" in changes:
                changes["address"] = checked_address(changes["address"], insecure=insecure)
                changes |= NOT_CALLED
            if changes.get("paused") and not peer.paused:
                await self._end(connection, peer)
                ended.append(peer.peer_id)
            elif "paused" in changes and not changes["paused"] and peer.paused:
                # Calls and tickets of the former id have ended for good.
                changes["peer_id"] = self._ids.new_uid()
            await queries.set_peer(connection, peer.record_id, changes)
            await tell_gateways(connection, peer.peer_id)
            return UpdatePeerResponse(peer=peer_to_proto(await live(connection, peer.name)))

        async with self._database.transaction() as connection:
            response = await self._once(connection, "UpdatePeer", request, UpdatePeerResponse, caller, change)
        return response, next(iter(ended), "")

    async def remove(self, request: RemovePeerRequest, caller: Caller) -> RemovePeerResponse:
        """Its keys open nothing any more; what is known of it stays. Raises PeerNotFound, RequestIdReused."""

        async def end(connection: AsyncConnection) -> RemovePeerResponse:
            now = self._clock.now()
            await queries.count_change(connection, now)
            peer = _found(await queries.peer_named(connection, request.name), request.name)
            await self._end(connection, peer)
            await queries.set_peer(connection, peer.record_id, {"remove_time": now})
            await tell_gateways(connection, peer.peer_id)
            (removed,) = [
                one for one in await queries.all_peers(connection) if one.record_id == peer.record_id
            ]
            return RemovePeerResponse(peer=peer_to_proto(removed))

        async with self._database.transaction() as connection:
            return await self._once(connection, "RemovePeer", request, RemovePeerResponse, caller, end)

    async def sweep(self) -> None:
        """Forgets invitations that nobody can use any more."""
        async with self._database.transaction() as connection:
            await queries.forget_invitations(connection, self._clock.now() - REPLAY_KEPT)

    async def _end(self, connection: AsyncConnection, peer: Peer) -> None:
        """Puts down what the store services must be told: no ticket of this id is good any more."""
        now = self._clock.now()
        for store_service in self._store_services:
            await add_ticket_revocation(
                connection, peer.peer_id, store_service, request_id=self._ids.new_uid(), now=now
            )

    def _code(self, invited: Invited) -> str:
        return code_of(
            Invitation(
                invite_id=invited.invite_id,
                site=self._keys.site,
                address=self._own.address,
                insecure=self._own.insecure,
                public_key=self._keys.key.public_key().public_bytes_raw(),
                secret=secret_of(self._invitation_key, invited.invite_id, invited.salt),
                expire_time=timestamp(invited.expire_time),
                expected_site=invited.name,
            )
        )

    async def _once(
        self,
        connection: AsyncConnection,
        method: str,
        request: Message,
        response_type: type[M],
        caller: Caller,
        action: Callable[[AsyncConnection], Awaitable[M]],
    ) -> M:
        return await once(
            connection,
            idempotency,
            request_id=request.request_id,  # type: ignore[attr-defined] # every mutation has one
            caller=caller.token_id,
            method=method,
            request=request,
            response_type=response_type,
            now=self._clock.now(),
            action=lambda: action(connection),
        )


def _found(peer: Peer | None, name: str) -> Peer:
    if peer is None:
        raise PeerNotFound(f"this site has no peer called {name[:80]}", peer=name[:80])
    return peer
