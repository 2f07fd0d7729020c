"""What only tests may do: make clients and collections, script faults, move the clock, look behind."""

from __future__ import annotations

import asyncio
import secrets
import uuid
from dataclasses import fields
from typing import Any

from aiohttp import web

from globus_sim.engine import Engine
from globus_sim.errors import TransferError, bad_request
from globus_sim.model import FAILED, Client, Collection, FaultScript, plain
from globus_sim.world import World

KINDS = frozenset(
    {
        "file_not_found",
        "permission_denied",
        "no_space_left",
        "quota_exceeded",
        "checksum_mismatch",
        "byte_rot",
        "endpoint_down",
        "pause",
        "slow_listing",
        "cancel_late",
        "http_error",
        "reply_lost",
        "slow_answer",
        "auth_down",
    }
)


class Control:
    def __init__(self, world: World, engine: Engine) -> None:
        self._world = world
        self._engine = engine

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/control/clients", self.add_client),
            web.post("/control/collections", self.add_collection),
            web.post("/control/faults", self.add_fault),
            web.delete("/control/faults", self.drop_faults),
            web.delete("/control/faults/{fault}", self.drop_fault),
            web.post("/control/clock", self.advance),
            web.post("/control/consents", self.consent),
            web.post("/control/tokens/expire", self.expire_tokens),
            web.post("/control/tasks/{task}", self.change_task),
            web.get("/control/calls", self.calls),
        ]

    async def add_client(self, request: web.Request) -> web.Response:
        """`native`: without a secret."""
        body = await request.json()
        client_id = body.get("client_id") or str(uuid.uuid4())
        secret = "" if body.get("native") else body.get("client_secret") or secrets.token_urlsafe(24)
        client = Client(client_id, secret, body.get("name", "client"), client_id)
        await self._world.save(client)
        return web.json_response(plain(client))

    async def add_collection(self, request: web.Request) -> web.Response:
        """Also changes one that is there."""
        body = await request.json()
        body.setdefault("collection_id", str(uuid.uuid4()))
        old = self._world.collections.get(body["collection_id"])
        made = _made(Collection, {**(plain(old) if old else {}), **body})
        await self._world.save(made)
        return web.json_response(plain(made))

    async def add_fault(self, request: web.Request) -> web.Response:
        """`for_seconds`: how long it applies, by the simulator's clock."""
        body = await request.json()
        if body.get("kind") not in KINDS:
            raise bad_request(f"kind is one of {', '.join(sorted(KINDS))}", "BadRequest")
        seconds = body.pop("for_seconds", 0)
        until = self._world.clock.now() + seconds if seconds else 0.0
        fault = _made(FaultScript, {"fault_id": str(uuid.uuid4()), "until": until, **body})
        await self._world.save(fault)
        return web.json_response(plain(fault))

    async def drop_fault(self, request: web.Request) -> web.Response:
        await self._world.drop_fault(request.match_info["fault"])
        self._engine.wake()
        return web.json_response({})

    async def drop_faults(self, _request: web.Request) -> web.Response:
        for fault_id in list(self._world.faults):
            await self._world.drop_fault(fault_id)
        self._engine.wake()
        return web.json_response({})

    async def advance(self, request: web.Request) -> web.Response:
        await self._world.advance(float((await request.json())["seconds"]))
        self._engine.wake()
        return web.json_response({"now": self._world.clock.now()})

    async def consent(self, request: web.Request) -> web.Response:
        body = await request.json()
        await self._world.set_consent(str(body["collection_id"]), given=bool(body.get("given", True)))
        return web.json_response({})

    async def expire_tokens(self, request: web.Request) -> web.Response:
        """`kinds`: access unless told; all of them are past their time from now on."""
        kinds = (await request.json()).get("kinds", ["access"])
        for token in list(self._world.tokens.values()):
            if token.kind in kinds:
                token.expires = self._world.clock.now()
                await self._world.save(token)
        return web.json_response({})

    async def change_task(self, request: web.Request) -> web.Response:
        """`cancel`: by an administrator; `expire`: its deadline is now; `forget`: its history is deleted."""
        task = self._world.tasks.get(request.match_info["task"])
        if task is None:
            raise TransferError(404, "ClientError.NotFound", "no such task")
        match (await request.json()).get("what"):
            case "cancel":
                task.canceled_by_admin = "DESTINATION"
                await self._engine.cancel(task)
            case "expire":
                task.deadline, task.explicit_deadline = self._world.clock.now(), True
            case "forget":
                if not task.is_over:
                    task.status, task.completion_time = FAILED, self._world.clock.now()
                task.history_deleted = True
            case other:
                raise bad_request(f"what is cancel, expire or forget, not {other!r}", "BadRequest")
        await self._world.save(task)
        self._engine.wake()
        for _ in range(100):
            if task.is_over:
                break
            await asyncio.sleep(0.02)
        return web.json_response({"status": task.status})

    async def calls(self, _request: web.Request) -> web.Response:
        return web.json_response(self._world.counted())


def _made(kind: type[Any], values: dict[str, Any]) -> Any:
    """Raises TransferError for a field that is not known."""
    known = {each.name for each in fields(kind)}
    if unknown := set(values) - known:
        raise bad_request(f"unknown: {', '.join(sorted(unknown))}", "BadRequest")
    try:
        return kind(**values)
    except TypeError as error:
        raise bad_request(str(error), "BadRequest") from error
