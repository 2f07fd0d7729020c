"""Who gets in, as whom, and how quickly one is put out again."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import grpc
import pytest
from support.eventually import eventually
from support.gateway_site import CATALOG, STORE, TRANSFER, Context, GatewaySite, bearer, gateway_site

from librarian.api.gateway.v1 import gateway_pb2 as pb
from librarian.errors import LibrarianError
from librarian.rpc import error_from_rpc
from svckit.auth import Role


async def refusal(call: Any) -> LibrarianError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    error = error_from_rpc(caught.value)
    assert error.remedy, "every refusal says what to do"
    return error


async def answer(_request: Any, _context: Context) -> bytes:
    return b"in"


async def drip(_request: Any, context: Context) -> None:
    """Says something at once, and then nothing for ever."""
    await context.write(b"first")
    await asyncio.Event().wait()


async def swallow(requests: Any, _context: Context) -> bytes:
    async for _ in requests:
        pass
    await asyncio.Event().wait()
    return b""


async def issue_expired(site: GatewaySite) -> str:
    issued = await site.issue(lifetime=1)
    site.catalog.on[CATALOG + "GetDataset"] = answer

    async def is_over() -> bool:
        return (await code_of(site, issued.secret)) is grpc.StatusCode.UNAUTHENTICATED

    await eventually(is_over, timeout=4)
    return issued.secret


async def code_of(site: GatewaySite, secret: str) -> grpc.StatusCode:
    call = site.unary(CATALOG + "GetDataset", secret=secret)
    await asyncio.wait([asyncio.ensure_future(call)])
    code: grpc.StatusCode = await call.code()
    return code


async def issue_revoked(site: GatewaySite) -> str:
    issued = await site.issue()
    await site.revoke(issued.token.token_id)
    return issued.secret


async def issue_none(_site: GatewaySite) -> str:
    return "lib_" + "A" * 43


@pytest.mark.parametrize(
    ("make", "reason"),
    [(issue_none, "TOKEN_INVALID"), (issue_expired, "TOKEN_EXPIRED"), (issue_revoked, "TOKEN_REVOKED")],
)
async def test_each_bad_token_is_refused_with_its_reason(
    site: GatewaySite, make: Callable[[GatewaySite], Awaitable[str]], reason: str
) -> None:
    secret = await make(site)
    site.catalog.seen.clear()
    site.catalog.on[CATALOG + "GetDataset"] = answer
    site.catalog.on[CATALOG + "WatchEvents"] = drip
    for call in (
        site.unary(CATALOG + "GetDataset", secret=secret),
        site.down(CATALOG + "WatchEvents", secret=secret).read(),
        site.up(STORE + "WriteUpload", secret=secret),
        site.site.GetSite(pb.GetSiteRequest(), metadata=bearer(secret)),
    ):
        error = await refusal(call)
        assert (error.code.name, error.reason) == ("UNAUTHENTICATED", reason)
        assert secret not in error.message + error.remedy
    assert site.catalog.seen == []


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        ([], "TOKEN_MISSING"),
        ([("authorization", "")], "TOKEN_MISSING"),
        ([("authorization", "Basic YWRtaW46cGFzc3dvcmQ=")], "TOKEN_INVALID"),
        ([("authorization", "Bearer ")], "TOKEN_INVALID"),
        ([("authorization", "Bearer admin")], "TOKEN_INVALID"),
    ],
)
async def test_what_is_no_token_is_refused_with_its_reason(
    site: GatewaySite, metadata: list[tuple[str, str]], reason: str
) -> None:
    error = await refusal(site.channel.unary_unary(CATALOG + "GetDataset")(b"", metadata=metadata))
    assert (error.code.name, error.reason) == ("UNAUTHENTICATED", reason)


async def test_a_service_token_does_not_open_the_gateway(site: GatewaySite) -> None:
    site.catalog.on[CATALOG + "GetDataset"] = answer
    await site.unary(CATALOG + "GetDataset")
    internal = str(site.catalog.seen[0].metadata["authorization"]).removeprefix("Bearer ")
    error = await refusal(site.unary(CATALOG + "GetDataset", secret=internal))
    assert error.reason == "PEER_TOKEN_INVALID", "taken for another site's, which names its key"


@pytest.mark.parametrize(
    ("role", "kind", "path"),
    [
        (pb.ROLE_READER, "up", STORE + "WriteUpload"),
        (pb.ROLE_READER, "unary", TRANSFER + "BeginIngests"),
        (pb.ROLE_INGESTER, "unary", STORE + "AddStore"),
        (pb.ROLE_INGESTER, "down", TRANSFER + "RegisterTrees"),
        (pb.ROLE_OPERATOR, "unary", "/librarian.api.gateway.v1.SiteService/IssueToken"),
        (pb.ROLE_OPERATOR, "unary", "/librarian.api.gateway.v1.SiteService/RevokeToken"),
        (pb.ROLE_ADMIN, "unary", CATALOG + "PublishDatasets"),
        (pb.ROLE_ADMIN, "unary", CATALOG + "ReserveNames"),
        (pb.ROLE_ADMIN, "unary", STORE + "RevokeTickets"),
        (pb.ROLE_ADMIN, "up", CATALOG + "AddMembers"),
    ],
)
async def test_a_role_that_may_not_is_refused_before_the_service_sees_it(
    site: GatewaySite, role: pb.Role.ValueType, kind: str, path: str
) -> None:
    issued = await site.issue(role)
    call = getattr(site, kind)(path, secret=issued.secret)
    error = await refusal(call.read() if kind == "down" else call)
    assert (error.code.name, error.reason) == ("PERMISSION_DENIED", "ROLE_MAY_NOT")
    assert all(fake.seen == [] for fake in (site.catalog, site.transfer, *site.stores.values()))


async def test_a_method_nobody_knows_is_unimplemented(site: GatewaySite) -> None:
    for path in ("/librarian.api.catalog.v1.CatalogService/DropEverything", "/somewhere.Else/Do"):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await site.unary(path)
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_the_service_learns_subject_role_prefix_and_token(site: GatewaySite) -> None:
    site.catalog.on[CATALOG + "GetDataset"] = answer
    issued = await site.issue(pb.ROLE_INGESTER, prefix="satp3/obs/**")
    await site.unary(CATALOG + "GetDataset", secret=issued.secret)

    caller = site.catalog.seen[0].caller
    assert (caller.subject, caller.role, caller.name_prefix) == ("someone", Role.INGESTER, "satp3/obs/**")
    assert caller.token_id == issued.token.token_id
    assert caller.may_see("satp3/obs/1")
    assert not caller.may_see("satp1/obs/1")


async def test_one_service_token_serves_many_calls(site: GatewaySite) -> None:
    site.catalog.on[CATALOG + "GetDataset"] = answer
    for _ in range(3):
        await site.unary(CATALOG + "GetDataset")
    assert len({seen.metadata["authorization"] for seen in site.catalog.seen}) == 1


@pytest.mark.parametrize("way", ["here", "another gateway", "unheard"])
@pytest.mark.parametrize("kind", ["down", "up", "unary"])
async def test_a_revocation_ends_open_calls_within_a_second(database_dsn: str, way: str, kind: str) -> None:
    """Through this gateway, through another one on the same database, and where no notification comes."""
    async with gateway_site(database_dsn) as site, gateway_site(database_dsn) as other:
        issued = await site.issue()
        bystander = await site.issue()
        site.catalog.on[CATALOG + "WatchEvents"] = drip
        site.stores["fast"].on[STORE + "WriteUpload"] = swallow
        site.transfer.on[TRANSFER + "WaitIngests"] = swallow_one
        kept = site.down(CATALOG + "WatchEvents", secret=bystander.secret)
        assert await kept.read() == b"first"
        end = await begin(site, kind, issued.secret)

        began = time.monotonic()
        if way == "here":
            await site.revoke(issued.token.token_id)
        elif way == "another gateway":
            await other.revoke(issued.token.token_id)
        else:
            await execute(
                database_dsn,
                "UPDATE gateway.tokens SET revoke_time = now() WHERE token_id = $1",
                issued.token.token_id,
            )
        error = await refusal(end)
        assert (error.code.name, error.reason) == ("UNAUTHENTICATED", "TOKEN_REVOKED")
        assert time.monotonic() - began < 1.0

        async def is_refused() -> bool:
            return (await code_of(site, issued.secret)) is grpc.StatusCode.UNAUTHENTICATED

        await eventually(is_refused, timeout=1.0 - (time.monotonic() - began))
        assert not kept.done(), "other tokens' calls go on"


async def swallow_one(_request: bytes, _context: Context) -> bytes:
    await asyncio.Event().wait()
    return b""


async def begin(site: GatewaySite, kind: str, secret: str) -> Any:
    """A call in flight, and what waits for its end."""
    if kind == "down":
        down = site.down(CATALOG + "WatchEvents", secret=secret)
        assert await down.read() == b"first"
        return down.read()
    if kind == "up":
        up = site.up(STORE + "WriteUpload", secret=secret)
        await up.write(b"some")
        await eventually(lambda: site.stores["fast"].seen)
        return up
    unary = site.unary(TRANSFER + "WaitIngests", secret=secret)
    await eventually(lambda: site.transfer.seen)
    return unary


async def execute(dsn: str, statement: str, *values: Any) -> Any:
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetch(statement, *values)
    finally:
        await connection.close()


async def test_the_service_is_told_when_a_token_ends_under_its_stream(site: GatewaySite) -> None:
    ended = asyncio.Event()

    async def until_cancelled(_request: bytes, context: Context) -> None:
        await context.write(b"first")
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    site.catalog.on[CATALOG + "WatchEvents"] = until_cancelled
    issued = await site.issue()
    call = site.down(CATALOG + "WatchEvents", secret=issued.secret)
    await call.read()
    await site.revoke(issued.token.token_id)
    await asyncio.wait_for(ended.wait(), 2)


async def test_a_client_that_does_not_read_is_cut_too(site: GatewaySite) -> None:
    """The gateway is then stuck in handing on a message, not in waiting for one."""
    stuck = asyncio.Event()
    ended = asyncio.Event()

    async def flood(_request: bytes, context: Context) -> None:
        try:
            while True:
                await asyncio.wait_for(
                    asyncio.shield(sent := asyncio.ensure_future(context.write(bytes(1 << 20)))), 1
                )
        except TimeoutError:
            stuck.set()
            await sent
        finally:
            ended.set()

    site.stores["fast"].on[STORE + "ReadDataset"] = flood
    issued = await site.issue()
    call = site.down(STORE + "ReadDataset", secret=issued.secret)
    await call.read()
    await asyncio.wait_for(stuck.wait(), 20)
    began = time.monotonic()
    await site.revoke(issued.token.token_id)
    await asyncio.wait_for(ended.wait(), 2)
    assert time.monotonic() - began < 1.0
    call.cancel()


async def test_an_open_stream_ends_when_its_token_expires(site: GatewaySite) -> None:
    site.catalog.on[CATALOG + "WatchEvents"] = drip
    issued = await site.issue(lifetime=1)
    call = site.down(CATALOG + "WatchEvents", secret=issued.secret)
    assert await call.read() == b"first"
    error = await refusal(asyncio.wait_for(call.read(), 4))
    assert error.reason == "TOKEN_EXPIRED"


async def test_only_the_sha256_of_a_secret_is_kept(site: GatewaySite, database_dsn: str) -> None:
    issued = await site.issue()
    rows = await execute(database_dsn, "SELECT * FROM gateway.tokens")
    records = await execute(database_dsn, "SELECT * FROM gateway.idempotency")
    everything = repr([tuple(row) for row in (*rows, *records)])
    for secret in (issued.secret, site.admin):
        assert secret.removeprefix("lib_") not in everything
        assert hashlib.sha256(secret.encode()).digest() in [row["secret_sha256"] for row in rows]
