"""What the gateway tells of peers, and whose signatures count."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from librarian.api.common.v1.common_pb2 import Signed, SiteKey
from librarian.api.transfer.v1 import transfer_pb2 as pb
from librarian.errors import InvalidInput, LibrarianError
from svckit.keys import key_id
from svckit.sitekeys import SiteKeys
from svckit.statements import KeyRing, public_key_of, verify_introduction
from transfer_svc.context import Context
from transfer_svc.receiving import peer_queries as queries
from transfer_svc.receiving.peer_queries import KeyRow


async def put_peers(context: Context, request: pb.PutPeersRequest) -> pb.PutPeersResponse:
    """Raises InvalidInput: a peer without a name, or a key that is none."""
    for peer in request.peers:
        if not peer.name or peer.name == context.site:
            raise InvalidInput(f"a peer cannot be called {peer.name!r} here", field="name")
        for key in peer.keys:
            if key_id(public_key_of(key.public_key)) != key.key_id:
                raise InvalidInput(f"{peer.name}: a key comes under another id", field="keys")
    async with context.database.transaction() as connection:
        taken = await queries.replace_peers(connection, request.revision, request.peers)
    context.logger.info("peers_told", revision=request.revision, count=len(request.peers), taken=taken)
    return pb.PutPeersResponse()


async def known_keys(context: Context, site_keys: SiteKeys) -> KeyRing:
    """Whose word counts here: this site's own keys, those of peers, and those that peers introduced."""
    async with context.database.hot() as connection:
        rows = await queries.fetch_keys(connection)
    return ring_of(rows, site_keys)


def ring_of(rows: Iterable[KeyRow], site_keys: SiteKeys) -> KeyRing:
    """A key that a peer introduced counts for no site that is known better: this one, or a peer."""
    rows = list(rows)
    better = {row.site for row in rows if row.pinned} | {site_keys.site}
    ring = KeyRing(
        (row.site, public_key_of(row.public_key)) for row in rows if row.pinned or row.site not in better
    )
    for own in (site_keys.key, site_keys.former):
        if own is not None:
            ring.add(site_keys.site, own.public_key())
    return ring


async def learn_introductions(
    context: Context, ring: KeyRing, introductions: Sequence[Signed], introducer: str
) -> None:
    """Adds what the peer introduces to the ring, and keeps it. An introduction that proves nothing is passed
    over: the origins that need it are refused one by one.
    """
    fresh: dict[tuple[str, str], tuple[SiteKey, bytes]] = {}
    for signed in introductions:
        try:
            key = verify_introduction(signed, introducer, ring)
        except LibrarianError as error:
            context.logger.warning("introduction_refused", peer=introducer, reason=error.reason)
            continue
        if not ring.has(key.site, key.key_id):
            fresh[key.site, key.key_id] = (key, signed.SerializeToString())
    if not fresh:
        return
    async with context.database.hot() as connection:
        await queries.keep_introduced(
            connection, list(fresh.values()), via_peer=introducer, now=context.clock.now()
        )
        rows = await queries.fetch_keys(connection)
    pinned = {row.site for row in rows if row.pinned} | {context.site}
    for key, _ in fresh.values():
        if key.site not in pinned:
            ring.add(key.site, public_key_of(key.public_key))
