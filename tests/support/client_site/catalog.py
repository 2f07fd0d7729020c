"""Reading from CatalogService, and SiteService."""

from __future__ import annotations

from typing import Any

import grpc

from librarian.api.catalog.v1 import catalog_pb2, catalog_pb2_grpc
from librarian.api.gateway.v1 import gateway_pb2, gateway_pb2_grpc
from librarian.errors import DatasetNotFound
from librarian.globs import compile_glob
from support.client_site.state import State

Context = grpc.aio.ServicerContext[Any, Any]
PAGE = 2


class Catalog(catalog_pb2_grpc.CatalogServiceServicer):
    """Pages of two, so that paging is seen at work."""

    def __init__(self, state: State) -> None:
        self._state = state
        self.filters: list[catalog_pb2.DatasetFilter] = []

    async def GetDataset(  # noqa: N802
        self, request: catalog_pb2.GetDatasetRequest, context: Context
    ) -> catalog_pb2.GetDatasetResponse:
        await self._state.enter("GetDataset", context)
        for dataset in self._state.datasets.values():
            if request.name == dataset.name or request.uid == dataset.uid:
                return catalog_pb2.GetDatasetResponse(dataset=dataset)
        await self._state.abort(
            context, DatasetNotFound(f"there is no dataset {request.name or request.uid}")
        )
        raise AssertionError

    async def ListDatasets(  # noqa: N802
        self, request: catalog_pb2.ListDatasetsRequest, context: Context
    ) -> catalog_pb2.ListDatasetsResponse:
        await self._state.enter("ListDatasets", context)
        self.filters.append(request.filter)
        prefix = request.filter.name_prefix
        names = sorted(name for name in self._state.datasets if name.startswith(prefix))
        start = int(request.page_token or 0)
        more = start + PAGE < len(names)
        return catalog_pb2.ListDatasetsResponse(
            datasets=[self._state.datasets[name] for name in names[start : start + PAGE]],
            next_page_token=str(start + PAGE) if more else "",
        )

    async def ListMembers(  # noqa: N802
        self, request: catalog_pb2.ListMembersRequest, context: Context
    ) -> catalog_pb2.ListMembersResponse:
        await self._state.enter("ListMembers", context)
        glob = compile_glob(request.path_glob) if request.path_glob else None
        found = [
            member for member in self._state.members[request.uid] if glob is None or glob.matches(member.path)
        ]
        start = int(request.page_token or 0)
        more = start + PAGE < len(found)
        return catalog_pb2.ListMembersResponse(
            members=found[start : start + PAGE], next_page_token=str(start + PAGE) if more else ""
        )

    async def ListEvents(  # noqa: N802
        self, request: catalog_pb2.ListEventsRequest, context: Context
    ) -> catalog_pb2.ListEventsResponse:
        await self._state.enter("ListEvents", context)
        sequence = request.after.sequence + 1
        if sequence > 3:
            return catalog_pb2.ListEventsResponse(next=request.after)
        cursor = catalog_pb2.EventCursor(epoch=1, sequence=sequence)
        event = catalog_pb2.Event(
            cursor=cursor, type="REPLICA_VERIFIED", dataset_uid=request.dataset_uid, details_json='{"n": 1}'
        )
        event.time.GetCurrentTime()
        return catalog_pb2.ListEventsResponse(events=[event], next=cursor)

    async def GetSummary(  # noqa: N802
        self, request: catalog_pb2.GetSummaryRequest, context: Context
    ) -> catalog_pb2.GetSummaryResponse:
        await self._state.enter("GetSummary", context)
        return catalog_pb2.GetSummaryResponse(dataset_count=len(self._state.datasets))


class Gateway(gateway_pb2_grpc.SiteServiceServicer):
    def __init__(self, state: State) -> None:
        self._state = state

    async def GetSite(  # noqa: N802
        self, request: gateway_pb2.GetSiteRequest, context: Context
    ) -> gateway_pb2.GetSiteResponse:
        await self._state.enter("GetSite", context)
        site = gateway_pb2.GetSiteResponse(
            site="here",
            version="0.1.0",
            services=[gateway_pb2.ServiceHealth(service="catalog", serving=True)],
            caller=gateway_pb2.Token(token_id="t1", subject="tester", role=gateway_pb2.ROLE_ADMIN),
        )
        site.time.GetCurrentTime()
        return site
