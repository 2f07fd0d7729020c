"""The checks of `librarian doctor`: each a line with a verdict, and a remedy where it is not good."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import uuid4

from librarian.api.common.v1 import common_pb2
from librarian.api.gateway.v1 import gateway_pb2
from librarian.api.store.v1 import store_pb2
from librarian.api.transfer.v1 import transfer_pb2
from librarian.cli.output import Verdict
from librarian.cli.store_ls import state_of
from librarian.cli.texts import duration_text, label, size_text, time_text
from librarian.client import Librarian
from librarian.connection.doors import opened_doors
from librarian.connection.settings import find_connection
from librarian.errors import LibrarianError
from librarian.globs import compile_glob
from librarian.ingest.local import prove_staging
from librarian.journal import journal_directory
from librarian.messages import datetime_of, error_of

CLOCK_SECONDS = 5.0
EXPIRES_SOON = timedelta(days=7)
MAY_INGEST = (gateway_pb2.ROLE_INGESTER, gateway_pb2.ROLE_OPERATOR, gateway_pb2.ROLE_ADMIN)


@dataclass(frozen=True, slots=True)
class Check:
    name: str
    verdict: Verdict
    message: str
    remedy: str = ""


Checks = AsyncGenerator[Check, None]


async def run_checks(site: str) -> Checks:
    """In order; what cannot be checked because of an earlier one is left out."""
    try:
        settings = find_connection(site=site)
    except LibrarianError as error:
        yield _bad("settings", error)
        return
    yield _good("settings", f"{settings.address.text}, from {settings.source}")
    async with Librarian(settings) as client:
        sent, began = datetime.now(UTC), time.monotonic()
        try:
            status = await client.status()
        except LibrarianError as error:
            yield _bad("connection", error)
            return
        took = time.monotonic() - began
        yield _good(
            "connection", f"{status.site}, librarian {status.version}, answers in {took * 1000:.0f} ms"
        )
        yield _token(status.caller, sent)
        yield _clock(datetime_of(status.time), sent, took)
        for check in _services(status):
            yield check
        async for check in _stores(client, status.caller):
            yield check
    yield await asyncio.to_thread(_journal)


def _token(token: gateway_pb2.Token, now: datetime) -> Check:
    role = label(gateway_pb2.Role.Name(token.role), "ROLE_")
    names = f", names {token.name_prefix}" if token.name_prefix else ""
    text = f"{token.subject}, {role}{names}"
    if not token.HasField("expire_time"):
        return _good("token", text)
    end = datetime_of(token.expire_time)
    if end - now > EXPIRES_SOON:
        return _good("token", f"{text}, until {time_text(end)}")
    remedy = "ask the site's admin for a new one (`librarian token issue`)"
    return Check("token", Verdict.DOUBTFUL, f"{text}, expires {time_text(end)}", remedy)


def _clock(theirs: datetime, sent: datetime, took: float) -> Check:
    off = (theirs - sent).total_seconds() - took / 2
    if abs(off) <= CLOCK_SECONDS:
        return _good("clock", "agrees with the site's")
    direction = "ahead of" if off > 0 else "behind"
    return Check(
        "clock",
        Verdict.DOUBTFUL,
        f"the site's clock is {duration_text(abs(off))} {direction} this machine's",
        "set both by NTP; tokens and tickets expire by the site's clock",
    )


def _services(status: gateway_pb2.GetSiteResponse) -> Sequence[Check]:
    down = [service for service in status.services if not service.serving]
    if not down:
        return [_good("services", ", ".join(service.service for service in status.services) + " serve")]
    remedy = "its log says why; `librarian up` starts what has died again by itself"
    return [
        Check("services", Verdict.BAD, f"{service.service} does not serve: {service.detail}", remedy)
        for service in down
    ]


async def _stores(client: Librarian, caller: gateway_pb2.Token) -> Checks:
    try:
        stores = await client.stores()
    except LibrarianError as error:
        yield _bad("stores", error)
        return
    for store in stores:
        yield _store(store)
    usable = [store for store in stores if state_of(store) == "open"]
    if not usable:
        remedy = "`librarian store add NAME --root DIR`, or `librarian store set NAME --ingestible`"
        yield Check("stores", Verdict.BAD, "no store takes new data", remedy)
    if caller.role not in MAY_INGEST:
        yield _good("bytes", "not checked: this token may not bring data")
        return
    for store in usable:
        yield await _way(client, store, caller)


def _store(store: store_pb2.Store) -> Check:
    room = f"{store.name}: {size_text(store.usage.grantable_bytes)} of room"
    if store.trouble:
        remedy = "mount what belongs there; `librarian store ls` shows when it is well again"
        return Check("stores", Verdict.BAD, f"{store.name}: {store.trouble}", remedy)
    state = state_of(store)
    if state == "open":
        return _good("stores", room)
    remedy = {
        "off": f"`librarian store set {store.name} --enabled`",
        "drained": f"`librarian store drain {store.name} --undo`",
        "full": "free space, raise --fill-fraction, or add a store",
    }[state]
    return Check("stores", Verdict.DOUBTFUL, f"{room}; {state}", remedy)


async def _way(client: Librarian, store: store_pb2.Store, caller: gateway_pb2.Token) -> Check:
    """Begins an ingest of one byte, sees which way its bytes could go, and gives it up."""
    prefix = compile_glob(caller.name_prefix).literal_prefix if caller.name_prefix else ""
    site = client.channel
    spec = transfer_pb2.IngestSpec(
        name=f"{prefix}doctor-{uuid4()}", kind=common_pb2.DATASET_KIND_FILE, size_bytes=1
    )
    request = transfer_pb2.BeginIngestsRequest(request_id=str(uuid4()), store=store.name, items=[spec])
    try:
        answer = await site.unary(site.transfer.BeginIngests, request)
        verdict = answer.verdicts[0]
        if not verdict.HasField("open"):
            return _bad("bytes", error_of(verdict.error))
        way = await _best_way(client, answer.grants[verdict.open.grant])
        abort = transfer_pb2.AbortIngestsRequest(request_id=str(uuid4()), ingest_ids=[verdict.open.ingest_id])
        await site.unary(site.transfer.AbortIngests, abort)
    except LibrarianError as error:
        return _bad("bytes", error)
    return way


async def _best_way(client: Librarian, grant: store_pb2.UploadGrant) -> Check:
    store = grant.store
    if await asyncio.to_thread(prove_staging, grant) is not None:
        return _good("bytes", f"{store}: by the file system ({grant.staging_path} is in sight)")
    async with opened_doors(client.channel, store, grant.data_address, grant.ticket) as doors:
        door = await doors.open()
    if door.way == "data door":
        return _good("bytes", f"{store}: by stream, straight to the store ({grant.data_address})")
    return Check(
        "bytes",
        Verdict.DOUBTFUL,
        f"{store}: by stream through the gateway, the slowest way",
        "let this host reach the store's data door"
        + (f" ({grant.data_address})" if grant.data_address else " (open one: store.data_listen)")
        + ", or mount the store here and set its --client-root",
    )


def _journal() -> Check:
    directory = journal_directory()
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        remedy = "make it writable, or point XDG_STATE_HOME to a place that is"
        return Check("journal", Verdict.DOUBTFUL, f"{directory}: {error.strerror}", remedy)
    if not os.access(directory, os.W_OK):
        remedy = "make it writable, or point XDG_STATE_HOME to a place that is"
        return Check("journal", Verdict.DOUBTFUL, f"{directory} cannot be written to", remedy)
    return _good("journal", f"interrupted puts are remembered in {directory}")


def _good(name: str, message: str) -> Check:
    return Check(name, Verdict.GOOD, message)


def _bad(name: str, error: LibrarianError) -> Check:
    return Check(name, Verdict.BAD, error.message, error.remedy)
