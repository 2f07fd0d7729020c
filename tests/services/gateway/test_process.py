"""A gateway as it is run: its start, its first token, what it logs, its stop."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest
from support.eventually import eventually
from support.gateway_site import CATALOG, STORE, Context, GatewaySite, bearer, gateway_site, short_folder

from librarian.api.gateway.v1 import gateway_pb2 as pb

MIB = 1 << 20


@pytest.fixture
async def folder() -> AsyncIterator[Path]:
    async with short_folder() as path:
        yield path


async def answer(_request: bytes, _context: Context) -> bytes:
    return b"in"


def scratch_files(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.name.startswith(".")]


async def is_admin(site: GatewaySite, secret: str) -> bool:
    call = site.site.ListTokens(pb.ListTokensRequest(), metadata=bearer(secret))
    try:
        await call
    except grpc.aio.AioRpcError:
        return False
    return True


async def test_it_starts_serves_and_stops(database_dsn: str, folder: Path) -> None:
    """Leaving the block sends SIGTERM, waits, and insists on exit code 0."""
    async with gateway_site(database_dsn, folder=folder, in_process=False) as site:
        site.catalog.on[CATALOG + "GetDataset"] = answer
        assert await site.unary(CATALOG + "GetDataset") == b"in"
        host, _, port = (folder / "address").read_text().strip().rpartition(":")
        assert host == "127.0.0.1"
        bound = {c.laddr.port for c in site.process.net_connections("tcp") if c.status == psutil.CONN_LISTEN}
        assert bound == {int(port)}


async def test_a_stop_ends_open_streams(database_dsn: str, folder: Path) -> None:
    async def drip(_request: bytes, context: Context) -> None:
        await context.write(b"first")
        await asyncio.Event().wait()

    async with gateway_site(database_dsn, folder=folder, in_process=False) as site:
        site.catalog.on[CATALOG + "WatchEvents"] = drip
        call = site.down(CATALOG + "WatchEvents")
        await call.read()
        site.process.terminate()
        with pytest.raises(grpc.aio.AioRpcError):
            await asyncio.wait_for(call.read(), 5)


async def test_the_first_start_makes_an_admin_token(database_dsn: str, folder: Path) -> None:
    file = folder / "admin.token"
    async with gateway_site(database_dsn, folder=folder) as site:
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        first = file.read_text()
        assert await is_admin(site, first.strip())
    async with gateway_site(database_dsn, folder=folder) as site:
        assert file.read_text() == first, "a good one stays"
        assert await is_admin(site, first.strip())
        tokens = (await site.site.ListTokens(pb.ListTokensRequest(), metadata=bearer(site.admin))).tokens
        assert len(tokens) == 1


@pytest.mark.parametrize("spoilt", ["gone", "empty", "garbled", "revoked", "a reader's"])
async def test_a_file_without_a_good_admin_token_gets_a_new_one(
    database_dsn: str, folder: Path, spoilt: str
) -> None:
    file = folder / "admin.token"
    async with gateway_site(database_dsn, folder=folder) as site:
        first = site.admin
        if spoilt == "gone":
            file.unlink()
        elif spoilt == "empty":
            file.write_text("")
        elif spoilt == "garbled":
            file.write_bytes(b"\xff\x00" * 4000)
        elif spoilt == "revoked":
            await site.revoke(
                (await site.site.GetSite(pb.GetSiteRequest(), metadata=bearer(first))).caller.token_id
            )
        else:
            file.write_text((await site.issue(pb.ROLE_READER)).secret)
    async with gateway_site(database_dsn, folder=folder) as site:
        assert site.admin != first
        assert await is_admin(site, site.admin)
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert scratch_files(folder) == []


async def test_an_admin_file_open_to_others_is_closed(database_dsn: str, folder: Path) -> None:
    file = folder / "admin.token"
    async with gateway_site(database_dsn, folder=folder):
        file.chmod(0o644)
    async with gateway_site(database_dsn, folder=folder):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


async def test_no_secret_is_ever_logged(database_dsn: str, folder: Path) -> None:
    async def bug(_request: bytes, _context: Context) -> bytes:
        raise ValueError("a bug of the service")

    secrets: list[str] = []
    async with gateway_site(
        database_dsn, folder=folder, in_process=False, metrics_listen=f"unix:{folder}/m"
    ) as site:
        site.catalog.on[CATALOG + "GetDataset"] = bug
        issued = await site.issue()
        secrets += [site.admin, issued.secret, "lib_" + "B" * 43, "hunter2hunter2"]
        for secret in secrets:
            for call in (
                site.unary(CATALOG + "GetDataset", secret=secret, extra=[("librarian-ticket", "tick-et")]),
                site.up(STORE + "WriteUpload", secret=secret),
                site.site.RevokeToken(pb.RevokeTokenRequest(token_id=secret), metadata=bearer(secret)),
            ):
                with pytest.raises(grpc.aio.AioRpcError):
                    await call
        await site.revoke(issued.token.token_id)
        secrets += [str(seen.metadata["authorization"]).split()[1] for seen in site.catalog.seen]
        reader, writer = await asyncio.open_unix_connection(str(folder / "m"))
        writer.write(b"GET /metrics HTTP/1.0\r\n\r\n")
        metrics = (await reader.read()).decode()
        writer.close()
        await writer.wait_closed()
    assert 'librarian_rpc_seconds_count{code="UNAUTHENTICATED"' in metrics
    log = (folder / "log").read_text()
    assert "admin_token_made" in log
    for secret in (*secrets, "tick-et"):
        assert secret not in log
        assert secret not in metrics


async def test_a_reader_that_does_not_read_holds_up_the_service_not_the_gateway(
    database_dsn: str, folder: Path
) -> None:
    sent = 0

    async def flood(request: bytes, context: Context) -> None:
        nonlocal sent
        for _ in range(int(request)):
            await context.write(bytes(MIB))
            sent += 1

    async def is_stuck() -> bool:
        before = sent
        await asyncio.sleep(0.3)
        return before > 0 and sent == before

    async with gateway_site(database_dsn, folder=folder, in_process=False) as site:
        site.stores["fast"].on[STORE + "ReadDataset"] = flood
        call = site.down(STORE + "ReadDataset", b"400")
        before = site.process.memory_info().rss
        await eventually(is_stuck)
        assert sent < 100, "MiB under way while nobody reads"
        got = 0
        async for message in call:
            got += len(message)
        assert got == 400 * MIB
        assert site.process.memory_info().rss - before < 100 * MIB


async def test_a_big_upload_passes_without_growing_the_gateway(database_dsn: str, folder: Path) -> None:
    async def count(requests: Any, _context: Context) -> bytes:
        return str(sum([len(message) async for message in requests])).encode()

    async with gateway_site(database_dsn, folder=folder, in_process=False) as site:
        site.stores["fast"].on[STORE + "WriteUpload"] = count
        chunk = bytes(MIB)
        highest = before = site.process.memory_info().rss
        call = site.up(STORE + "WriteUpload")
        for _ in range(400):
            await call.write(chunk)
            highest = max(highest, site.process.memory_info().rss)
        await call.done_writing()
        assert await call == str(400 * MIB).encode()
        assert highest - before < 100 * MIB
