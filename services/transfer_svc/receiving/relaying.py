"""ListReceipts: the word of sites beyond this one about what a peer brought here."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from librarian.api.catalog.v1 import catalog_pb2
from librarian.api.common.v1.common_pb2 import Receipt, Signed
from librarian.api.federation.v1 import federation_pb2 as pb
from librarian.errors import KeyNotIntroduced
from svckit.auth import Caller
from svckit.paging import page_size
from svckit.sitekeys import SiteKeys
from svckit.statements import KeyRing, make_introduction, site_key
from transfer_svc.context import Context
from transfer_svc.receiving import queries
from transfer_svc.receiving.bringers import bringer_of
from transfer_svc.receiving.peers import known_keys


async def list_receipts(
    context: Context, site_keys: SiteKeys, caller: Caller, request: pb.ListReceiptsRequest
) -> pb.ListReceiptsResponse:
    """A page of the catalogue's receipts: those of the peer's own datasets among them, so it may be empty
    although there is more. Raises InvalidInput, CursorOfAnotherEpoch.
    """
    page = await context.catalog.ListReceipts(
        catalog_pb2.ListReceiptsRequest(
            page_size=page_size(request.page_size),
            after=request.after if request.HasField("after") else None,
        )
    )
    signed = [record.receipt for record in page.receipts]
    receipts = [Receipt.FromString(each.payload) for each in signed]
    if not receipts:
        return pb.ListReceiptsResponse(next=page.next)
    peer = bringer_of(caller).peer
    async with context.database.hot() as connection:
        brought = await queries.brought_by(connection, peer, {receipt.uid for receipt in receipts})
    theirs = [
        (each, receipt.site)
        for each, receipt in zip(signed, receipts, strict=True)
        # What a site says of itself it tells the peer in person.
        if receipt.uid in brought and receipt.site != peer
    ]
    keys = {(site, each.key_id) for each, site in theirs if site != context.site}
    ring = await known_keys(context, site_keys)
    introductions = await asyncio.to_thread(_introductions, site_keys, ring, sorted(keys))
    return pb.ListReceiptsResponse(
        receipts=[each for each, _ in theirs], introductions=introductions, next=page.next
    )


def _introductions(site_keys: SiteKeys, ring: KeyRing, keys: Sequence[tuple[str, str]]) -> list[Signed]:
    """Of those this site knows; a receipt of another key is for the peer to judge."""
    made = []
    for site, key_id in keys:
        try:
            key = ring.key_of(site, key_id)
        except KeyNotIntroduced:
            continue
        # When the key was made is not known here: 0.
        made.append(make_introduction(site_key(site, key, 0), site_keys.key))
    return made
