"""The site itself: health, open work, and who may use it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from uuid import uuid4

from librarian.api.gateway.v1 import gateway_pb2
from librarian.api.transfer.v1 import transfer_pb2
from librarian.client.base import ClientBase, paged
from librarian.errors import InvalidInput

PAGE_SIZE = 200


class SiteClient(ClientBase):
    async def status(self) -> gateway_pb2.GetSiteResponse:
        """Who this site is, how its services are, its clock, and who it takes us for."""
        return await self._site.unary(self._site.site.GetSite, gateway_pb2.GetSiteRequest())

    async def ingests(
        self,
        states: Sequence[transfer_pb2.IngestState.ValueType] = (),
        *,
        limit: int | None = None,
    ) -> AsyncGenerator[transfer_pb2.Ingest, None]:
        """Newest first; in these states, or in all."""

        async def ask(page_token: str) -> transfer_pb2.ListIngestsResponse:
            request = transfer_pb2.ListIngestsRequest(
                page_size=PAGE_SIZE, page_token=page_token, states=states
            )
            return await self._site.unary(self._site.transfer.ListIngests, request)

        async for ingest in paged(ask, lambda page: page.ingests, limit):
            yield ingest

    async def issue_token(
        self, subject: str, role: str = "reader", *, name_prefix: str = "", lifetime_seconds: int = 0
    ) -> gateway_pb2.IssueTokenResponse:
        """The secret is in the answer and can be had nowhere else. `role`: reader, ingester, operator or
        admin. `name_prefix`: a glob such as "satp3/**". `lifetime_seconds`: 0 for no end.
        """
        request = gateway_pb2.IssueTokenRequest(
            request_id=str(uuid4()),
            subject=subject,
            role=_role(role),
            name_prefix=name_prefix,
            lifetime_seconds=lifetime_seconds,
        )
        return await self._site.unary(self._site.site.IssueToken, request)

    async def tokens(self) -> AsyncGenerator[gateway_pb2.Token, None]:
        """All that were ever issued, without their secrets."""

        async def ask(page_token: str) -> gateway_pb2.ListTokensResponse:
            request = gateway_pb2.ListTokensRequest(page_size=PAGE_SIZE, page_token=page_token)
            return await self._site.unary(self._site.site.ListTokens, request)

        async for token in paged(ask, lambda page: page.tokens):
            yield token

    async def revoke_token(self, token_id: str) -> gateway_pb2.Token:
        """Within a second, also on open streams."""
        request = gateway_pb2.RevokeTokenRequest(request_id=str(uuid4()), token_id=token_id)
        return (await self._site.unary(self._site.site.RevokeToken, request)).token


def _role(name: str) -> gateway_pb2.Role.ValueType:
    try:
        return gateway_pb2.Role.Value(f"ROLE_{name.upper()}")
    except ValueError:
        raise InvalidInput(
            f"{name!r} is not a role", remedy="roles are reader, ingester, operator and admin"
        ) from None
