"""Redeeming another site's code: calling it, and keeping what it answers."""

from __future__ import annotations

from gateway import peer_queries as queries
from gateway.invitations import JOIN_TYPE, mac_of, read_code
from gateway.peermessages import peer_to_proto
from gateway.peers import checked_address, told_to
from gateway.pinning import check_same, live, pin
from gateway.queries import tell_gateways
from gateway.tables import idempotency
from librarian.api.common.v1.common_pb2 import SiteKey
from librarian.api.federation.v1.federation_pb2 import (
    Invitation,
    JoinRequest,
    JoinStatement,
    SiteAddress,
)
from librarian.api.gateway.v1.gateway_pb2 import JoinPeerRequest, JoinPeerResponse
from svckit.auth import Caller
from svckit.clock import Clock, Ids
from svckit.database import Database
from svckit.idempotency import once
from svckit.peerlink import PeerAddress, PeerLinks
from svckit.signing import sign
from svckit.sitekeys import SiteKeys, verify_key
from svckit.statements import public_key_of, site_key


class Joining:
    """`own`: this site's address as it is told to others."""

    def __init__(
        self, database: Database, clock: Clock, ids: Ids, *, keys: SiteKeys, own: SiteAddress
    ) -> None:
        self._database = database
        self._clock = clock
        self._ids = ids
        self._keys = keys
        self._own = own

    async def join(self, request: JoinPeerRequest, caller: Caller) -> JoinPeerResponse:
        """Both sites know one another when this returns. Saying it again is harmless: the other side takes
        the same key again. Raises InviteInvalid, InvalidInput, PeerExists, Unavailable, WrongSite.
        """
        invitation = read_code(request.code, own_site=self._keys.site)
        address = checked_address(invitation.address, insecure=request.insecure)
        invited_by = self._key_of(invitation)
        async with self._database.transaction() as connection:
            known = await queries.peer_named(connection, invitation.site)
        check_same(known, invited_by, self._clock.now())
        key = await self._redeem(invitation, PeerAddress(invitation.site, address, request.insecure))
        now = self._clock.now()

        async def keep() -> JoinPeerResponse:
            peer = await pin(
                connection,
                invited_by,
                address=address,
                insecure=request.insecure,
                told_address=address,
                now=now,
                ids=self._ids,
            )
            await queries.add_keys(connection, peer.record_id, [key], now)
            await queries.set_link(connection, peer.record_id, up=True, reason="", now=now, reached_time=now)
            await tell_gateways(connection, peer.peer_id)
            return JoinPeerResponse(peer=peer_to_proto(await live(connection, peer.name)))

        async with self._database.transaction() as connection:
            return await once(
                connection,
                idempotency,
                request_id=request.request_id,
                caller=caller.token_id,
                method="JoinPeer",
                request=request,
                response_type=JoinPeerResponse,
                now=now,
                action=keep,
            )

    async def _redeem(self, invitation: Invitation, peer: PeerAddress) -> SiteKey:
        """The inviter's present key: the one its code told, or one signed by that."""
        async with PeerLinks(
            site=self._keys.site, key=self._keys.key, former=self._keys.former, clock=self._clock
        ) as links:
            link = links.to(peer)
            session = await link.live_session()
            statement = JoinStatement(
                invite_id=invitation.invite_id,
                audience=invitation.site,
                address=address_for(self._own, peer.address),
                key=site_key(
                    self._keys.site,
                    self._keys.key.public_key(),
                    int(self._clock.now().timestamp() * 1_000_000),
                ),
                nonce=session.nonce,
            )
            signed = sign(JOIN_TYPE, statement.SerializeToString(deterministic=True), self._keys.key)
            answer = await link.pairing.Join(
                JoinRequest(
                    request_id=self._ids.new_uid(),
                    statement=signed,
                    mac=mac_of(invitation.secret, signed.payload),
                )
            )
        return verify_key(answer.key, invitation.site, public_key_of(invitation.public_key))

    def _key_of(self, invitation: Invitation) -> SiteKey:
        return site_key(invitation.site, public_key_of(invitation.public_key), 0)


def address_for(own: SiteAddress, other_address: str) -> SiteAddress:
    """Where the site at `other_address` reaches this one; empty where it cannot."""
    told = told_to(own.address, other_address)
    return SiteAddress(address=told, insecure=own.insecure) if told else SiteAddress()
