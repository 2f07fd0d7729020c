"""SiteService: messages to values, one call, values to messages."""

from __future__ import annotations

from typing import Any

import grpc.aio

from gateway.backends import Backends
from gateway.health import health_of
from gateway.messages import token_to_proto
from gateway.release import site_version
from gateway.tokendesk import TokenDesk
from gateway.watch import CallWatch
from librarian.api.gateway.v1 import gateway_pb2 as pb
from librarian.api.gateway.v1.gateway_pb2_grpc import SiteServiceServicer
from librarian.errors import TokenRevoked
from librarian.messages import timestamp
from svckit.auth import current_caller
from svckit.clock import Clock
from svckit.notifications import Bell
from svckit.paging import decode_page_token, encode_page_token, page_size

Context = grpc.aio.ServicerContext[Any, Any]

_BINDING = b"ListTokens"


class SiteServicer(SiteServiceServicer):
    """`bell` wakes those who tell the store services of revocations."""

    def __init__(
        self, site: str, clock: Clock, desk: TokenDesk, watch: CallWatch, bell: Bell, backends: Backends
    ) -> None:
        self._site = site
        self._clock = clock
        self._desk = desk
        self._watch = watch
        self._bell = bell
        self._backends = backends

    async def GetSite(self, request: pb.GetSiteRequest, context: Context) -> pb.GetSiteResponse:  # noqa: ARG002, N802
        caller = current_caller()
        return pb.GetSiteResponse(
            site=self._site,
            version=site_version(),
            time=timestamp(self._clock.now()),
            services=[
                pb.ServiceHealth(service="gateway", serving=True),
                *await health_of(
                    [
                        ("catalog", self._backends.catalog),
                        ("transfer", self._backends.transfer),
                        *((f"store/{name}", backend) for name, backend in self._backends.stores.items()),
                    ]
                ),
            ],
            caller=token_to_proto(await self._desk.get(caller.token_id)),
        )

    async def IssueToken(self, request: pb.IssueTokenRequest, context: Context) -> pb.IssueTokenResponse:  # noqa: ARG002, N802
        return await self._desk.issue(request, current_caller())

    async def ListTokens(self, request: pb.ListTokensRequest, context: Context) -> pb.ListTokensResponse:  # noqa: ARG002, N802
        size = page_size(request.page_size)
        token = request.page_token
        after = str(decode_page_token(token, binding=_BINDING)[0]) if token else None
        found = await self._desk.page(after, size + 1)
        shown = found[:size]
        more = encode_page_token([shown[-1].token_id], binding=_BINDING) if len(found) > size else ""
        return pb.ListTokensResponse(tokens=map(token_to_proto, shown), next_page_token=more)

    async def RevokeToken(self, request: pb.RevokeTokenRequest, context: Context) -> pb.RevokeTokenResponse:  # noqa: ARG002, N802
        response = await self._desk.revoke(request, current_caller())
        token = response.token
        self._watch.end(token.token_id, TokenRevoked(f"the token of {token.subject} was revoked"))
        self._bell.ring()
        return response
