"""/metrics for Prometheus and /healthz for probes, on an address of their own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from librarian.errors import InvalidConfig
from svckit.addresses import prepare_socket, split_host_port, unix_path

if TYPE_CHECKING:
    from aiohttp import web


@asynccontextmanager
async def exposing(
    listen: str, registry: CollectorRegistry, is_serving: Callable[[], bool]
) -> AsyncIterator[str]:
    """Serves on `listen` inside; yields the address it is bound to. "" for `listen`: serves nothing."""
    if not listen:
        yield ""
        return
    from aiohttp import web  # costs memory that a service without metrics need not pay

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        if request.path == "/metrics":
            return web.Response(body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})
        if request.path == "/healthz":
            return (
                web.Response(text="serving\n")
                if is_serving()
                else web.Response(status=503, text="stopping\n")
            )
        return web.Response(status=404)

    runner = web.ServerRunner(web.Server(answer))
    await runner.setup()
    path = unix_path(listen)
    site: web.BaseSite
    if path is not None:
        prepare_socket(path)
        site = web.UnixSite(runner, str(path))
    else:
        site = web.TCPSite(runner, *split_host_port(listen))
    try:
        try:
            await site.start()
        except OSError as error:
            raise InvalidConfig(
                f"config: metrics cannot be served on {listen}: {error.strerror}", address=listen
            ) from error
        yield _address(runner, listen)
    finally:
        await runner.cleanup()


def _address(runner: web.ServerRunner, listen: str) -> str:
    bound = runner.addresses[0]
    return listen if isinstance(bound, str) else f"{bound[0]}:{bound[1]}"
