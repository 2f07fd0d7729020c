"""SiteService: how the site is, and what admins do with tokens."""

from __future__ import annotations

import asyncio
import socket
import time
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2
from support.eventually import eventually
from support.gateway_site import STORE, Context, GatewaySite, bearer, gateway_site

from gateway.tokendesk import TokenDesk
from librarian.api.gateway.v1 import gateway_pb2 as pb
from librarian.api.store.v1.store_pb2 import RevokeTicketsRequest
from librarian.errors import LibrarianError
from librarian.rpc import error_from_rpc
from svckit.clock import SystemClock, SystemIds
from svckit.database import Database


async def refusal(call: Any) -> LibrarianError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return error_from_rpc(caught.value)


async def get_site(site: GatewaySite, secret: str = "") -> pb.GetSiteResponse:
    response: pb.GetSiteResponse = await site.site.GetSite(
        pb.GetSiteRequest(), metadata=bearer(secret or site.admin)
    )
    return response


def request_for(**fields: Any) -> pb.IssueTokenRequest:
    values = {"request_id": str(uuid.uuid4()), "subject": "shift", "role": pb.ROLE_READER, **fields}
    return pb.IssueTokenRequest(**values)


async def issue(site: GatewaySite, request: pb.IssueTokenRequest) -> pb.IssueTokenResponse:
    response: pb.IssueTokenResponse = await site.site.IssueToken(request, metadata=bearer(site.admin))
    return response


async def test_the_site_tells_who_it_is_and_who_is_asking(site: GatewaySite) -> None:
    issued = await site.issue(pb.ROLE_READER, prefix="satp3/**", lifetime=3600)
    answer = await get_site(site, issued.secret)
    assert answer.site == "chajnantor"
    assert answer.version
    assert abs(answer.time.ToDatetime(UTC) - datetime.now(UTC)) < timedelta(seconds=5)
    assert answer.caller == issued.token
    assert answer.caller.expire_time.seconds - answer.caller.create_time.seconds == 3600
    assert {health.service: health.serving for health in answer.services} == {
        "gateway": True,
        "catalog": True,
        "transfer": True,
        "store/fast": True,
    }


async def test_the_site_tells_which_services_are_not_well(two_stores: GatewaySite) -> None:
    site = two_stores
    await site.stores["slow"].stop()
    await site.catalog.health.set("", health_pb2.HealthCheckResponse.NOT_SERVING)

    await site.transfer.stop()
    path = site.transfer.address.removeprefix("unix:")
    with socket.socket(socket.AF_UNIX) as mute:
        mute.bind(path)
        mute.listen()
        began = time.monotonic()
        answer = await get_site(site)
        assert time.monotonic() - began < 2.5, "asked all at once, each for a short time"
    detail = {health.service: health.detail for health in answer.services if not health.serving}
    assert detail.keys() == {"catalog", "transfer", "store/slow"}
    assert "stopping" in detail["catalog"]
    assert "within 1.5 s" in detail["transfer"]
    assert "does not answer" in detail["store/slow"]


async def test_a_token_says_what_was_asked_and_never_its_secret_again(site: GatewaySite) -> None:
    issued = await issue(site, request_for(role=pb.ROLE_INGESTER, name_prefix="satp3/obs/**"))
    token = issued.token
    assert (token.subject, token.role, token.name_prefix) == ("shift", pb.ROLE_INGESTER, "satp3/obs/**")
    assert not token.HasField("expire_time")
    assert issued.secret.startswith("lib_")
    assert len(issued.secret) == len("lib_") + 43

    response = await site.site.ListTokens(pb.ListTokensRequest(), metadata=bearer(site.admin))
    assert token in response.tokens
    assert issued.secret not in str(response)


async def test_secrets_differ(site: GatewaySite) -> None:
    secrets = {(await issue(site, request_for())).secret for _ in range(5)}
    assert len(secrets) == 5


async def test_issuing_again_with_the_same_id_answers_the_same(site: GatewaySite) -> None:
    request = request_for()
    first = await issue(site, request)
    assert await issue(site, request) == first
    again = request_for(request_id=request.request_id, subject="another")
    assert (await refusal(issue(site, again))).reason == "REQUEST_ID_REUSED"
    tokens = (await site.site.ListTokens(pb.ListTokensRequest(), metadata=bearer(site.admin))).tokens
    assert [token.subject for token in tokens].count("shift") == 1


async def test_two_at_once_with_the_same_id_make_one_token(site: GatewaySite) -> None:
    request = request_for()
    one, other = await asyncio.gather(issue(site, request), issue(site, request))
    assert one == other
    assert (await get_site(site, one.secret)).caller == one.token


async def test_once_the_salt_is_gone_a_repeat_is_refused_clearly(
    site: GatewaySite, database_dsn: str
) -> None:
    request = request_for()
    first = await issue(site, request)
    async with (
        Database.open(database_dsn, schema="gateway", application_name="test") as database,
        database.hot() as connection,
    ):
        await connection.execute("UPDATE tokens SET replay_salt = NULL")
    error = await refusal(issue(site, request))
    assert error.code.name == "FAILED_PRECONDITION"
    assert first.token.token_id in error.message
    assert "issue another" in error.remedy


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"request_id": ""}, "INVALID_INPUT"),
        ({"request_id": "not a uuid"}, "INVALID_INPUT"),
        ({"subject": ""}, "INVALID_INPUT"),
        ({"subject": "two\nlines"}, "INVALID_INPUT"),
        ({"subject": "x" * 201}, "INVALID_INPUT"),
        ({"role": pb.ROLE_UNSPECIFIED}, "INVALID_INPUT"),
        ({"role": 77}, "INVALID_INPUT"),
        ({"lifetime_seconds": -1}, "INVALID_INPUT"),
        ({"lifetime_seconds": 2**62}, "INVALID_INPUT"),
        ({"name_prefix": "satp3"}, "INVALID_GLOB"),
        ({"name_prefix": "**"}, "INVALID_GLOB"),
        ({"name_prefix": "sat*/**"}, "INVALID_GLOB"),
        ({"name_prefix": "../x/**"}, "INVALID_NAME"),
        ({"role": pb.ROLE_ADMIN, "name_prefix": "satp3/**"}, "INVALID_INPUT"),
    ],
)
async def test_a_wrong_request_makes_no_token(site: GatewaySite, wrong: dict[str, Any], reason: str) -> None:
    error = await refusal(issue(site, request_for(**wrong)))
    assert (error.code.name, error.reason) == ("INVALID_ARGUMENT", reason)
    assert error.remedy
    tokens = (await site.site.ListTokens(pb.ListTokensRequest(), metadata=bearer(site.admin))).tokens
    assert len(tokens) == 1, "the admin's own"


async def test_tokens_are_listed_by_pages_in_the_order_of_their_making(site: GatewaySite) -> None:
    made = [(await site.issue()).token.token_id for _ in range(5)]
    found: list[str] = []
    page_token = ""
    while True:
        page = await site.site.ListTokens(
            pb.ListTokensRequest(page_size=2, page_token=page_token), metadata=bearer(site.admin)
        )
        assert len(page.tokens) <= 2
        found += [token.token_id for token in page.tokens]
        page_token = page.next_page_token
        if not page_token:
            break
    assert found[1:] == made
    garbled = site.site.ListTokens(pb.ListTokensRequest(page_token="eA"), metadata=bearer(site.admin))
    assert (await refusal(garbled)).reason == "INVALID_PAGE_TOKEN"


@pytest.mark.parametrize("token_id", ["", "x", "0192f0c1-0000-7000-8000-000000000000"])
async def test_revoking_what_is_not_there_is_not_found(site: GatewaySite, token_id: str) -> None:
    assert (await refusal(site.revoke(token_id))).reason == "TOKEN_NOT_FOUND"


async def test_revoking_twice_keeps_the_first_time(site: GatewaySite) -> None:
    issued = await site.issue()
    first = await site.revoke(issued.token.token_id)
    assert first.token.HasField("revoke_time")
    assert await site.revoke(issued.token.token_id) == first


class Store:
    """A store service that remembers whose tickets it was told to refuse."""

    def __init__(self, *, failures: int = 0) -> None:
        self.failures = failures
        self.requests: list[RevokeTicketsRequest] = []

    async def __call__(self, request: bytes, context: Context) -> bytes:
        self.requests.append(RevokeTicketsRequest.FromString(request))
        if len(self.requests) <= self.failures:
            await context.abort(grpc.StatusCode.INTERNAL, "not now")
        return b""


async def test_every_store_service_learns_of_a_revocation_at_once(two_stores: GatewaySite) -> None:
    site = two_stores
    told = {name: Store() for name in site.stores}
    for name, store in told.items():
        site.stores[name].on[STORE + "RevokeTickets"] = store
    issued = await site.issue()
    await site.revoke(issued.token.token_id)
    await eventually(lambda: all(store.requests for store in told.values()), timeout=1.0)
    for name, store in told.items():
        assert list(store.requests[0].token_ids) == [issued.token.token_id]
        assert site.stores[name].seen[0].caller.role == "service"


async def test_a_store_service_is_told_until_it_answers_and_then_no_more(two_stores: GatewaySite) -> None:
    site = two_stores
    stubborn, willing = Store(failures=2), Store()
    site.stores["fast"].on[STORE + "RevokeTickets"] = stubborn
    site.stores["slow"].on[STORE + "RevokeTickets"] = willing
    issued = await site.issue()
    await site.revoke(issued.token.token_id)
    await eventually(lambda: len(stubborn.requests) == 3)
    assert len(willing.requests) == 1, "a failing one delays nobody"
    assert len({request.request_id for request in stubborn.requests}) == 1, "the repetition is told as one"
    await eventually(lambda: told_all(site))


async def told_all(site: GatewaySite) -> bool:
    settings = site.runtime.settings.gateway
    async with (
        Database.open(settings.dsn, schema=settings.schema, application_name="test") as database,
        database.hot() as connection,
    ):
        return not await connection.fetchval("SELECT count(*) FROM ticket_revocations")


async def test_what_a_store_service_missed_is_told_after_a_restart_of_the_gateway(database_dsn: str) -> None:
    async with gateway_site(database_dsn) as site:
        await site.stores["fast"].stop()
        issued = await site.issue()
        await site.revoke(issued.token.token_id)
        assert not await told_all(site)
    async with gateway_site(database_dsn) as site:
        store = Store()
        site.stores["fast"].on[STORE + "RevokeTickets"] = store
        await eventually(lambda: store.requests)
        assert list(store.requests[0].token_ids) == [issued.token.token_id]


async def test_old_records_and_salts_are_swept(site: GatewaySite, database_dsn: str) -> None:
    request = request_for()
    first = await issue(site, request)
    async with (
        Database.open(database_dsn, schema="gateway", application_name="test") as database,
        database.hot() as connection,
    ):
        await connection.execute("UPDATE tokens SET create_time = create_time - interval '8 days'")
        await connection.execute("UPDATE idempotency SET create_time = create_time - interval '8 days'")
        desk = TokenDesk(database, SystemClock(), SystemIds(), key=b"", store_services=())
        await desk.sweep()
        assert await connection.fetchval("SELECT count(*) FROM tokens WHERE replay_salt IS NOT NULL") == 0
    second = await issue(site, request)
    assert second.token.token_id != first.token.token_id, "the record of the request is gone"
    assert (await get_site(site, first.secret)).caller.token_id == first.token.token_id, "still good"
