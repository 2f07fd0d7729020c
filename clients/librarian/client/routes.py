"""Where datasets go by themselves."""

from __future__ import annotations

from uuid import uuid4

from google.protobuf.field_mask_pb2 import FieldMask

from librarian.api.transfer.v1 import transfer_pb2
from librarian.client.base import ClientBase
from librarian.errors import InvalidInput, RouteNotFound


class RoutesClient(ClientBase):
    async def routes(self) -> list[transfer_pb2.Route]:
        """By destination, then age."""
        answer = await self._site.unary(self._site.transfer.ListRoutes, transfer_pb2.ListRoutesRequest())
        return list(answer.routes)

    async def find_route(self, which: str) -> transfer_pb2.Route:
        """The route of that id, or whose id alone begins so, or the only one to that destination. Raises
        RouteNotFound; InvalidInput where several are meant.
        """
        routes = await self.routes()
        for found in (
            [route for route in routes if route.route_id == which],
            [route for route in routes if route.destination == which],
            [route for route in routes if which and route.route_id.startswith(which)],
        ):
            if len(found) == 1:
                return found[0]
            if found:
                raise InvalidInput(
                    f"{which!r} means {len(found)} routes: {', '.join(route.route_id for route in found)}",
                    remedy="give the id of one of them; `librarian route ls` tells them apart",
                )
        raise RouteNotFound(f"there is no route {which!r}")

    async def add_route(self, route: transfer_pb2.Route, *, backfill: bool = False) -> transfer_pb2.Route:
        """New datasets that match go that way from now on; with `backfill` the older ones too."""
        request = transfer_pb2.AddRouteRequest(request_id=str(uuid4()), route=route, backfill=backfill)
        return (await self._site.unary(self._site.transfer.AddRoute, request)).route

    async def update_route(self, route: transfer_pb2.Route, fields: list[str]) -> transfer_pb2.Route:
        """Sets those fields of the route with `route.route_id` to what they are there: paused, priority,
        max_active, max_bytes_per_second, landing.
        """
        request = transfer_pb2.UpdateRouteRequest(
            request_id=str(uuid4()), route=route, update_mask=FieldMask(paths=fields)
        )
        return (await self._site.unary(self._site.transfer.UpdateRoute, request)).route

    async def pause_route(self, route_id: str, *, pause: bool = True) -> transfer_pb2.Route:
        """Nothing more is started on a paused route; what is under way ends. `pause=False` ends that."""
        return await self.update_route(transfer_pb2.Route(route_id=route_id, paused=pause), ["paused"])

    async def remove_route(self, route_id: str) -> int:
        """How many transfers, not started yet, were cancelled with it; those under way end."""
        request = transfer_pb2.RemoveRouteRequest(request_id=str(uuid4()), route_id=route_id)
        return (await self._site.unary(self._site.transfer.RemoveRoute, request)).cancelled_count
