"""What this site holds, as the catalogue says, and its signed word for it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from librarian.api.catalog.v1 import catalog_pb2
from librarian.api.common.v1 import common_pb2
from librarian.messages import microseconds
from svckit.clock import Clock
from svckit.sitekeys import SiteKeys
from svckit.statements import make_receipt
from transfer_svc.context import Context
from transfer_svc.planning import StoreView
from transfer_svc.receiving.judging import Content, Copy, Held, Here

_AVAILABLE = common_pb2.REPLICA_STATE_AVAILABLE


@dataclass(frozen=True, slots=True)
class Known:
    """What is live here, by uid and by name."""

    by_uid: Mapping[str, Held]
    by_name: Mapping[str, Held]


async def look_up(context: Context, uids: Sequence[str], names: Sequence[str], *, store: str = "") -> Known:
    """Up to 1000 of each. `store`: one that there is, so if nothing was heard of it yet it is new. Raises
    Unavailable where the catalogue does not answer.
    """
    by_uid, by_name, listing = await asyncio.gather(
        _get(context, catalog_pb2.BatchGetDatasetsRequest(uids=uids)),
        _get(context, catalog_pb2.BatchGetDatasetsRequest(names=names)),
        context.stores.listing(),
    )
    if store and all(each.name != store for each in listing.stores):
        listing = await context.stores.listing(fresh=True)
    stores = {each.name: each for each in listing.stores}
    return Known(
        {dataset.uid: _held(dataset, stores) for dataset in by_uid},
        {dataset.name: _held(dataset, stores) for dataset in by_name},
    )


async def _get(
    context: Context, request: catalog_pb2.BatchGetDatasetsRequest
) -> Sequence[catalog_pb2.Dataset]:
    if not request.uids and not request.names:
        return ()
    return (await context.catalog.BatchGetDatasets(request)).datasets


def _held(dataset: catalog_pb2.Dataset, stores: Mapping[str, StoreView]) -> Held:
    good = [replica for replica in dataset.replicas if replica.state == _AVAILABLE]
    return Held(
        dataset.uid,
        Content(
            dataset.name,
            dataset.kind,
            dataset.digest.algorithm,
            dataset.digest.value,
            dataset.size_bytes,
            dataset.member_count,
        ),
        [
            Copy(
                replica.store,
                stores[replica.store].store_class,
                stores[replica.store].failure_domain,
                replica.verify_time.ToMicroseconds(),
            )
            for replica in good
            # Of a store that does not answer it is not known what it dies with.
            if replica.store in stores
        ],
        [replica.store for replica in good if replica.store not in stores],
    )


def sign_receipts(
    site_keys: SiteKeys, clock: Clock, held: Sequence[tuple[str, Content, Here]]
) -> list[bytes]:
    """Serialised Signed, one for each dataset: its uid and content as offered, and where it is held.

    Signs up to a thousand: not on the event loop.
    """
    now_us = microseconds(clock.now())
    return [
        make_receipt(
            common_pb2.Receipt(
                site=site_keys.site,
                uid=uid,
                name=content.name,
                kind=common_pb2.DatasetKind.ValueType(content.kind),
                digest=common_pb2.Checksum(algorithm=content.algorithm, value=content.digest),
                size_bytes=content.size_bytes,
                member_count=content.member_count,
                store=here.copy.store,
                store_class=here.copy.store_class.name.lower(),
                failure_domain=here.copy.failure_domain,
                verify_time_us=here.copy.verify_time_us,
                sign_time_us=now_us,
                held_uid=here.held_uid,
            ),
            site_keys.key,
        ).SerializeToString(deterministic=True)
        for uid, content, here in held
    ]
