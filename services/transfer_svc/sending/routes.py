"""Routes: added, listed, changed, removed. One transaction each."""

from __future__ import annotations

from dataclasses import replace

from librarian.api.transfer.v1 import transfer_pb2 as pb
from librarian.errors import RouteExists, RouteNotFound, Unavailable, UnknownField
from svckit.auth import Caller
from svckit.idempotency import once
from svckit.notifications import notify
from transfer_svc.context import Context
from transfer_svc.rules import tags_json
from transfer_svc.sending import link_queries, route_queries, rules
from transfer_svc.sending.lifecycle import TransferState
from transfer_svc.sending.means import SendingChannels
from transfer_svc.sending.messages import route_to_proto
from transfer_svc.sending.route_queries import Selection
from transfer_svc.sending.values import MAX_ACTIVE, RELAY, BackfillState, Route
from transfer_svc.tables import requests

_S = TransferState


async def add_route(
    context: Context, channels: SendingChannels, caller: Caller, request: pb.AddRouteRequest
) -> pb.AddRouteResponse:
    """Raises InvalidInput, InvalidGlob, RouteExists, NameOutsidePrefix."""
    now = context.clock.now()
    asked = request.route
    async with context.database.hot() as hot:
        peers = {name for name, peer in (await link_queries.all_peers(hot)).items() if not peer.removed}
    listing = await context.stores.listing()
    stores = {store.name for store in listing.stores}
    if listing.silent and asked.destination not in peers | stores and asked.via != RELAY:
        raise Unavailable("not all store services answer, and it may be one of theirs")
    kind = rules.destination_kind(asked.destination, peers, stores, via=asked.via)
    rules.check_route(
        kind=kind,
        destination=asked.destination,
        name_glob=asked.name_glob,
        tags=dict(asked.tags),
        via=asked.via,
        landing=asked.landing,
        through=asked.through,
        peers=peers,
    )
    rules.check_limits(asked.priority, asked.max_active, asked.max_bytes_per_second)
    route = Route(
        route_id=context.ids.new_uid(),
        destination=asked.destination,
        destination_kind=kind,
        name_glob=asked.name_glob,
        tags_json=tags_json(asked.tags),
        via=asked.via,
        priority=asked.priority,
        max_active=asked.max_active or MAX_ACTIVE,
        max_bytes_per_second=asked.max_bytes_per_second,
        landing=asked.landing,
        through=asked.through,
        paused=asked.paused,
        create_time=now,
        backfill_state=BackfillState.RUNNING if request.backfill else BackfillState.NONE,
        backfill_token="",
        backfilled_count=0,
    )

    async def add() -> pb.AddRouteResponse:
        if not await route_queries.insert_route(connection, route):
            raise RouteExists(f"a route like this to {route.destination} is there already")
        await notify(connection, channels.queue)
        return pb.AddRouteResponse(route=route_to_proto(route))

    async with context.database.transaction() as connection:
        return await once(
            connection,
            requests,
            request_id=request.request_id,
            caller=caller.subject,
            method="AddRoute",
            request=request,
            response_type=pb.AddRouteResponse,
            now=now,
            action=add,
        )


async def list_routes(context: Context) -> list[Route]:
    async with context.database.transaction() as connection:
        return await route_queries.list_routes(connection)


async def update_route(
    context: Context, channels: SendingChannels, caller: Caller, request: pb.UpdateRouteRequest
) -> pb.UpdateRouteResponse:
    """Raises RouteNotFound, UnknownField, InvalidInput."""
    paths = list(request.update_mask.paths)
    if not paths or not set(paths) <= rules.SETTABLE:
        raise UnknownField(
            f"{', '.join(paths) or 'nothing'} cannot be set on a route",
            remedy=f"settable: {', '.join(sorted(rules.SETTABLE))}",
        )
    values = {path: getattr(request.route, path) for path in paths}

    async def change() -> pb.UpdateRouteResponse:
        route = _found(await route_queries.get_route(connection, request.route.route_id), request.route)
        if "max_active" in values:
            values["max_active"] = values["max_active"] or MAX_ACTIVE
        changed = replace(route, **values)
        rules.check_limits(changed.priority, changed.max_active, changed.max_bytes_per_second)
        rules.check_landing(route.to.kind, changed.via, changed.landing)
        await route_queries.update_route(connection, route.route_id, values)
        await notify(connection, channels.queue)
        return pb.UpdateRouteResponse(route=route_to_proto(changed))

    async with context.database.transaction() as connection:
        return await once(
            connection,
            requests,
            request_id=request.request_id,
            caller=caller.subject,
            method="UpdateRoute",
            request=request,
            response_type=pb.UpdateRouteResponse,
            now=context.clock.now(),
            action=change,
        )


async def remove_route(
    context: Context, channels: SendingChannels, caller: Caller, request: pb.RemoveRouteRequest
) -> pb.RemoveRouteResponse:
    """What has not begun is cancelled. Raises RouteNotFound."""
    now = context.clock.now()

    async def remove() -> pb.RemoveRouteResponse:
        asked = pb.Route(route_id=request.route_id)
        route = _found(await route_queries.get_route(connection, request.route_id), asked)
        await route_queries.update_route(connection, route.route_id, {"removed": True})
        count, _ = await route_queries.cancel(
            connection,
            Selection(route_id=route.route_id),
            f"{caller.subject} removed its route",
            now=now,
            channel=channels.moved,
            states=(_S.PLANNED, _S.QUEUED, _S.HELD),
        )
        await notify(connection, channels.queue)
        return pb.RemoveRouteResponse(cancelled_count=count)

    async with context.database.transaction() as connection:
        return await once(
            connection,
            requests,
            request_id=request.request_id,
            caller=caller.subject,
            method="RemoveRoute",
            request=request,
            response_type=pb.RemoveRouteResponse,
            now=now,
            action=remove,
        )


def _found(route: Route | None, asked: pb.Route) -> Route:
    if route is None:
        shown = asked.route_id[:80]
        raise RouteNotFound(f"there is no route {shown!r}", route_id=shown)
    return route
