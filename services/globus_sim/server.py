"""The HTTP side: one address for Auth, Transfer and the controls."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from globus_sim.auth import Auth
from globus_sim.carrying import Pace
from globus_sim.clock import SimClock
from globus_sim.control import Control
from globus_sim.engine import Engine
from globus_sim.errors import AuthError, TransferError
from globus_sim.ledger import Ledger
from globus_sim.transfer import Transfer
from globus_sim.world import Call, World

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_MOST_BODY = 256 << 20


@dataclass(frozen=True, slots=True)
class Options:
    """`control_token`: opens the controls. `latency`: seconds added to each answer. `bandwidth`: bytes/s, and
    `requests_per_second` of one client; 0: no limit. `retry_seconds`: between tries of what is at fault.
    """

    state: Path
    control_token: str
    host: str = "127.0.0.1"
    port: int = 0
    latency: float = 0.0
    bandwidth: float = 0.0
    requests_per_second: float = 20.0
    retry_seconds: float = 1.0


class Door:
    """Around every answer: faults of the wire, limits, errors as documents, and what was called."""

    def __init__(self, world: World, options: Options) -> None:
        self._world = world
        self._options = options
        self._allowances: dict[str, tuple[float, float]] = {}

    @web.middleware
    async def pass_through(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path.startswith("/control/"):
            shown = request.headers.get("Authorization", "").removeprefix("Control ")
            if not secrets.compare_digest(shown, self._options.control_token):
                return _document(401, "Unauthorized", "the controls want their token", request.path)
            return await self._spoken(request, handler)
        if self._options.latency:
            await asyncio.sleep(self._options.latency)
        response = await self._faulty(request, handler)
        client_id = self._client_of(request)
        self._world.calls.append(Call(time.time(), request.method, request.path, client_id, response.status))
        return response

    async def _faulty(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        where = f"{request.method} {request.path}"
        if request.path.startswith("/v2/") and await self._world.meets("auth_down"):
            return _document(503, "ServiceUnavailable", "Auth is out of service", request.path)
        if fault := await self._world.meets("http_error", path=where):
            response = _document(fault.status or 503, "ServiceUnavailable", "try again later", request.path)
            if fault.retry_after:
                response.headers["Retry-After"] = str(fault.retry_after)
            return response
        if self._is_too_much(self._client_of(request)):
            response = _document(429, "TooManyRequests", "too many requests", request.path)
            response.headers["Retry-After"] = "1"
            return response
        if slow := await self._world.meets("slow_answer", path=where):
            await asyncio.sleep(slow.seconds)
        response_or_not = await self._spoken(request, handler)
        if await self._world.meets("reply_lost", path=where):
            if request.transport is not None:
                request.transport.abort()
            raise ConnectionResetError("as it was told")
        return response_or_not

    async def _spoken(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except TransferError as error:
            return _document(error.status, error.code, error.message, request.path, error.more)
        except AuthError as error:
            told = (
                {"error": error.error, "error_description": error.description}
                if error.description
                else {"error": error.error}
            )
            return web.json_response(told, status=error.status)
        except web.HTTPNotFound:
            return _document(404, "ClientError.NotFound", "Invalid resource", request.path)

    def _client_of(self, request: web.Request) -> str:
        token = self._world.tokens.get(request.headers.get("Authorization", "").partition(" ")[2])
        return token.client_id if token is not None else ""

    def _is_too_much(self, client_id: str) -> bool:
        """A second's worth of requests may come at once."""
        rate = self._options.requests_per_second
        if not client_id or rate <= 0:
            return False
        now = time.monotonic()
        left, since = self._allowances.get(client_id, (rate, now))
        left = min(rate, left + (now - since) * rate)
        self._allowances[client_id] = (max(left - 1, 0.0), now)
        return left < 1


@asynccontextmanager
async def running(options: Options) -> AsyncIterator[web.Application]:
    """The application, with what was under way before going on."""
    world = World(Ledger(options.state), SimClock())
    await world.load()
    auth = Auth(world)
    engine = Engine(world, Pace(options.bandwidth, options.retry_seconds))
    app = web.Application(middlewares=[Door(world, options).pass_through], client_max_size=_MOST_BODY)
    app.add_routes(auth.routes())
    app.add_routes(Transfer(world, auth, engine).routes())
    app.add_routes(Control(world, engine).routes())
    working = asyncio.create_task(engine.run(), name="engine")
    try:
        yield app
    finally:
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
        await world.ledger.close()


def _document(
    status: int, code: str, message: str, resource: str, more: dict[str, object] | None = None
) -> web.Response:
    told = {"code": code, "message": message, "request_id": secrets.token_hex(5), "resource": resource}
    return web.json_response({**told, **(more or {})}, status=status)
