"""Transfer, version 0.10, as far as those need it who submit tasks and watch them."""

from __future__ import annotations

import asyncio
import secrets
import uuid
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import Any

from aiohttp import web

from globus_sim import documents, places, scopes
from globus_sim.auth import Auth
from globus_sim.clock import heard
from globus_sim.engine import Engine
from globus_sim.errors import Fault, TransferError, bad_request
from globus_sim.model import Collection, Task, Token
from globus_sim.places import place_of, refusal
from globus_sim.submission import judged, same_paths
from globus_sim.world import World

MOST_PENDING = 100
_SESSION_SECONDS = 1800.0
_PAGE = 1000


class Transfer:
    def __init__(self, world: World, auth: Auth, engine: Engine) -> None:
        self._world = world
        self._auth = auth
        self._engine = engine
        # Two of one submission id at the same time: the second finds the first's task.
        self._submitting = asyncio.Lock()

    def routes(self) -> list[web.RouteDef]:
        at = "/v0.10"
        return [
            web.get(f"{at}/submission_id", self.submission_id),
            web.post(f"{at}/transfer", partial(self.submit, "TRANSFER")),
            web.post(f"{at}/delete", partial(self.submit, "DELETE")),
            web.get(f"{at}/task_list", self.task_list),
            web.get(f"{at}/task/{{task}}", self.task),
            web.put(f"{at}/task/{{task}}", self.update),
            web.post(f"{at}/task/{{task}}/cancel", self.cancel),
            web.get(f"{at}/task/{{task}}/event_list", self.events),
            web.get(f"{at}/task/{{task}}/successful_transfers", self.successful),
            web.get(f"{at}/task/{{task}}/skipped_errors", self.skipped),
            web.get(f"{at}/task/{{task}}/pause_info", self.pause_info),
            web.get(f"{at}/endpoint/{{endpoint}}", self.endpoint),
            web.get(f"{at}/operation/endpoint/{{endpoint}}/ls", self.ls),
            web.get(f"{at}/operation/endpoint/{{endpoint}}/stat", self.stat),
            web.post(f"{at}/operation/endpoint/{{endpoint}}/mkdir", self.mkdir),
            web.post(f"{at}/operation/endpoint/{{endpoint}}/rename", self.rename),
        ]

    async def submission_id(self, request: web.Request) -> web.Response:
        self._auth.bearer(request)
        return web.json_response({"DATA_TYPE": "submission_id", "value": await self._world.new_submission()})

    async def submit(self, kind: str, request: web.Request) -> web.Response:
        token = self._auth.bearer(request)
        now = self._world.clock.now()
        task = judged(kind, await _body(request), task_id=str(uuid.uuid4()), owner=token.identity, now=now)
        if task.submission_id not in self._world.submissions:
            raise bad_request(f"submission_id {task.submission_id!r} was not given out here", "BadRequest")
        async with self._submitting:
            for old in self._world.tasks.values():
                if old.submission_id == task.submission_id:
                    return _result(request, documents.accepted(kind, old, duplicate=True))
            for collection_id in filter(None, (task.source, task.destination)):
                self._may_use(token, self._world.collection(collection_id))
            pending = [old for old in self._world.tasks_of(token.identity) if not old.is_over]
            if any(same_paths(old, task) for old in pending):
                raise TransferError(409, "Conflict", "A transfer with identical paths has not yet completed")
            if len(pending) >= MOST_PENDING:
                code = "ClientError.Conflict.TooManyPendingJobs"
                raise TransferError(409, code, f"There are {MOST_PENDING} tasks pending already")
            await self._world.save(task)
        self._engine.wake()
        return _result(request, documents.accepted(kind, task, duplicate=False), status=202)

    async def task_list(self, request: web.Request) -> web.Response:
        token = self._auth.bearer(request)
        found = _filtered(self._world.tasks_of(token.identity), request.query)
        limit, offset = _number(request, "limit", 10, _PAGE), _number(request, "offset", 0, 1 << 30)
        page = [self._told(task) for task in found[offset : offset + limit]]
        return web.json_response(documents.task_list(page, len(found), limit, offset))

    async def task(self, request: web.Request) -> web.Response:
        return web.json_response(self._told(self._of(request)))

    async def update(self, request: web.Request) -> web.Response:
        task, body = self._of(request), await _body(request)
        if task.is_over:
            raise TransferError(409, "Conflict", "the task is over")
        if body.get("label") is not None:
            task.label = str(body["label"])
        if body.get("deadline") is not None:
            task.deadline, task.explicit_deadline = heard(str(body["deadline"])), True
        await self._world.save(task)
        return _result(request, {"DATA_TYPE": "result", "code": "Updated", "message": "Updated successfully"})

    async def cancel(self, request: web.Request) -> web.Response:
        task = self._of(request)
        if task.is_over:
            code, message = "TaskComplete", "The task completed before the cancel request was processed."
        elif await self._world.meets("cancel_late", collection_id=task.destination):
            code, message = "CancelAccepted", "The cancel request was accepted; the task may complete first."
        else:
            await self._engine.cancel(task)
            await self._until_over(task)
            code, message = "Canceled", "The task has been cancelled successfully."
            if not task.is_over:
                code, message = "CancelAccepted", "The cancel request was accepted."
        return _result(request, {"DATA_TYPE": "result", "code": code, "message": message})

    async def events(self, request: web.Request) -> web.Response:
        events = list(reversed(self._of(request).events))
        if request.query.get("filter_is_error") or request.query.get("filter") == "is_error:1":
            events = [event for event in events if event.is_error]
        limit, offset = _number(request, "limit", 10, _PAGE), _number(request, "offset", 0, 1 << 30)
        page = [documents.event_document(event) for event in events[offset : offset + limit]]
        answer = {
            "DATA_TYPE": "event_list",
            "DATA": page,
            "limit": limit,
            "offset": offset,
            "total": len(events),
        }
        return web.json_response(answer)

    async def successful(self, request: web.Request) -> web.Response:
        task = self._of(request)
        if not task.is_over:
            raise TransferError(409, "Conflict", "successful transfers are told of completed tasks only")
        done = [documents.successful_document(file) for file in task.files if file.state == "done"]
        return web.json_response(_marked("successful_transfers", done, request))

    async def skipped(self, request: web.Request) -> web.Response:
        task = self._of(request)
        left = [documents.skipped_document(file) for file in task.files if file.state == "skipped"]
        return web.json_response(_marked("skipped_errors", left, request))

    async def pause_info(self, request: web.Request) -> web.Response:
        task = self._of(request)
        rules = [{"DATA_TYPE": "pause_rule_limited", "message": task.paused}] if task.paused else []
        answer = {"DATA_TYPE": "pause_info_limited", "source_pause_message": None, "pause_rules": rules}
        return web.json_response({**answer, "destination_pause_message": task.paused or None})

    async def endpoint(self, request: web.Request) -> web.Response:
        token = self._auth.bearer(request)
        found = self._world.collection(request.match_info["endpoint"])
        return web.json_response(documents.endpoint_document(found, token.identity))

    async def ls(self, request: web.Request) -> web.Response:
        collection, path = await self._operation(request), request.query.get("path") or "/"
        if slow := await self._world.meets("slow_listing", collection_id=collection.collection_id):
            await asyncio.sleep(slow.seconds)
        found = await _asked(collection, "list", lambda: _listed(place_of(collection, path), path))
        limit, offset = _number(request, "limit", 100_000, 100_000), _number(request, "offset", 0, 1 << 30)
        page = found[offset : offset + limit]
        answer = {
            "DATA_TYPE": "file_list",
            "DATA": page,
            "path": path,
            "absolute_path": path,
            "length": len(page),
        }
        more = {"limit": limit, "offset": offset, "total": len(found), "endpoint": collection.collection_id}
        return web.json_response({**answer, **more, "rename_supported": True})

    async def stat(self, request: web.Request) -> web.Response:
        collection, path = await self._operation(request), request.query.get("path") or "/"
        found = await _asked(collection, "list", lambda: places.file_document(place_of(collection, path)))
        return web.json_response(found)

    async def mkdir(self, request: web.Request) -> web.Response:
        collection, path = await self._operation(request), str((await _body(request)).get("path", ""))
        self._check_writable(collection, path)
        try:
            await _asked(collection, "mkdir", lambda: place_of(collection, path).mkdir())
        except FileExistsError as error:
            code = "ExternalError.MkdirFailed.Exists"
            raise TransferError(502, code, f"Path already exists, {path}") from error
        answer = {"DATA_TYPE": "mkdir_result", "code": "DirectoryCreated"}
        return _result(request, {**answer, "message": "The directory was created successfully"}, status=202)

    async def rename(self, request: web.Request) -> web.Response:
        collection, body = await self._operation(request), await _body(request)
        old, new = str(body.get("old_path", "")), str(body.get("new_path", ""))
        self._check_writable(collection, new)
        await _asked(
            collection, "rename", lambda: place_of(collection, old).rename(place_of(collection, new))
        )
        answer = {"DATA_TYPE": "result", "code": "FileRenamed"}
        return _result(request, {**answer, "message": "File or directory renamed successfully"})

    def _of(self, request: web.Request) -> Task:
        token = self._auth.bearer(request)
        return self._world.task(request.match_info["task"], token.identity)

    def _told(self, task: Task) -> dict[str, Any]:
        return documents.task_document(task, self._world.collections, self._world.clock.now())

    async def _operation(self, request: web.Request) -> Collection:
        token = self._auth.bearer(request)
        collection = self._world.collection(request.match_info["endpoint"])
        self._may_use(token, collection)
        if await self._world.meets("endpoint_down", collection_id=collection.collection_id):
            code = "ExternalError.DirListingFailed.GCDisconnected"
            raise TransferError(502, code, f"The endpoint {collection.name} is not connected")
        return collection

    def _check_writable(self, collection: Collection, path: str) -> None:
        if not collection.writable:
            raise refusal(Fault("PERMISSION_DENIED", f"Path not allowed: {path}"), collection, "mkdir")

    def _may_use(self, token: Token, collection: Collection) -> None:
        """Raises TransferError: a consent is missing, or the session is not of a person, or too old."""
        if collection.mapped:
            wanted = f"{scopes.TRANSFER}[*{scopes.data_access(collection.collection_id)}]"
            given = {
                scopes.collection_of(inner.name)
                for text in token.scopes
                for scope in scopes.parse(text)
                for inner in scope.depends
            }
            if collection.collection_id not in given or collection.collection_id in self._world.withdrawn:
                message = "Missing required data_access consent"
                raise TransferError(403, "ConsentRequired", message, required_scopes=[wanted])
        if collection.high_assurance and self._world.clock.now() - token.session > _SESSION_SECONDS:
            message = "A recent authentication is required to access this collection"
            asked = {"session_message": message, "session_required_identities": [token.identity]}
            raise TransferError(403, "PermissionDenied", message, authorization_parameters=asked)

    async def _until_over(self, task: Task) -> None:
        for _ in range(100):
            if task.is_over:
                return
            await asyncio.sleep(0.02)


def _result(request: web.Request, document: dict[str, Any], status: int = 200) -> web.Response:
    told = {"request_id": secrets.token_hex(5), "resource": request.path}
    return web.json_response({**document, **told}, status=status)


async def _body(request: web.Request) -> Any:
    try:
        return await request.json()
    except ValueError as error:
        raise bad_request(f"the body is no JSON: {error}") from error


async def _asked(collection: Collection, command: str, work: Any) -> Any:
    """In a thread; what goes wrong there as an operation tells it."""
    try:
        return await asyncio.to_thread(work)
    except FileExistsError:
        raise
    except Fault as fault:
        raise refusal(fault, collection, command) from fault
    except OSError as error:
        raise refusal(places.fault_of(error, command), collection, command) from error


def _listed(place: Path, path: str) -> list[dict[str, Any]]:
    if not place.is_dir():
        raise Fault("FILE_NOT_FOUND", f"{path} is not a directory")
    return [places.file_document(each) for each in sorted(place.iterdir())]


def _number(request: web.Request, name: str, default: int, most: int) -> int:
    text = request.query.get(name, str(default))
    if not text.isdigit():
        raise bad_request(f"{name} is to be a number", "BadRequest")
    return min(int(text), most)


def _marked(kind: str, found: list[dict[str, Any]], request: web.Request) -> dict[str, Any]:
    """A page by marker: the number of the next."""
    start = _number(request, "marker", 0, 1 << 30)
    end = start + _number(request, "limit", 100, _PAGE)
    following = str(end) if end < len(found) else None
    return {"DATA_TYPE": kind, "DATA": found[start:end], "marker": start, "next_marker": following}


def _filtered(tasks: list[Task], query: Any) -> list[Task]:
    """`filter=status:ACTIVE,INACTIVE/task_id:a,b/label:~x*`, and `filter_…` the same by parts."""
    parts = [part.partition(":") for part in query.get("filter", "").split("/") if part]
    parts += [
        (name.removeprefix("filter_"), ":", value)
        for name, value in query.items()
        if name.startswith("filter_")
    ]
    for name, _, value in parts:
        wanted = value.split(",")
        match name:
            case "status":
                tasks = [task for task in tasks if task.status in wanted]
            case "task_id":
                tasks = [task for task in tasks if task.task_id in wanted]
            case "type":
                tasks = [task for task in tasks if task.kind in wanted]
            case "label":
                tasks = [task for task in tasks if _labelled(task.label or "", wanted)]
            case "request_time":
                since, _, until = value.partition(",")
                tasks = [
                    task
                    for task in tasks
                    if (not since or task.request_time >= heard(since))
                    and (not until or task.request_time < heard(until))
                ]
            case _:
                raise bad_request(f"tasks cannot be filtered by {name!r}", "BadRequest")
    return tasks


def _labelled(label: str, wanted: list[str]) -> bool:
    return any(fnmatchcase(label, each[1:]) if each.startswith("~") else label == each for each in wanted)
