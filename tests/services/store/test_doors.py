"""The service over gRPC: streams, tickets, roles."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
from store_lab.served import Served, chunks, request_id
from support.eventually import eventually

from librarian.api.common.v1 import common_pb2 as common
from librarian.api.store.v1 import store_pb2 as pb
from librarian.errors import (
    BatchTooLarge,
    ChunkCorrupt,
    InvalidInput,
    LinkOutside,
    MemberNotFound,
    OffsetMismatch,
    OutOfRange,
    ReplicaNotFound,
    RequestIdReused,
    RoleMayNot,
    StoreDisabled,
    StoreExists,
    StoreFull,
    StoreNotFound,
    StoreRootTaken,
    TicketInvalid,
    TokenRevoked,
    UnknownField,
    UploadClosed,
    UploadNotFound,
    UploadTooLarge,
)
from librarian.rpc import error_from_rpc
from store_svc import writing
from svckit.auth import Role

BIG = bytes(range(256)) * 16_000


def a_spec(name: str, size: int, kind: int = common.DATASET_KIND_FILE) -> pb.UploadSpec:
    return pb.UploadSpec(
        upload_id=str(uuid.uuid4()),
        name=name,
        kind=common.DatasetKind.ValueType(kind),
        size_bytes=size,
        inode_count=20,
        algorithm="sha256",
    )


def an_item(spec: pb.UploadSpec, data: bytes) -> pb.CommitUploadItem:
    digest = common.Checksum(algorithm="sha256", value=hashlib.sha256(data).digest())
    return pb.CommitUploadItem(
        upload_id=spec.upload_id, digest=digest, size_bytes=len(data), member_count=1, facts_json="{}"
    )


async def a_dataset(site: Served, name: str = "d/one", data: bytes = BIG) -> str:
    spec = a_spec(name, len(data))
    grant = (await site.begin(spec)).grant
    await site.write(grant.ticket, list(chunks(spec.upload_id, data)))
    (status,) = await site.commit(an_item(spec, data))
    assert status.state == pb.UPLOAD_STATE_COMMITTED, status
    return spec.upload_id


async def test_stream_commit_read(site: Served) -> None:
    uid = await a_dataset(site)
    file = site.root / "d/one"
    assert file.read_bytes() == BIG
    assert file.stat().st_mtime_ns == 1_700_000_000_000_000_001
    reader = site.client(Role.READER)
    grant = (await reader.BeginRead(pb.BeginReadRequest(store="main", uid=uid))).grant
    assert grant.data_address == site.door_address
    pieces = await site.read(grant.ticket, uid, pb.ReadRange(), pb.ReadRange(offset=5, length=10))
    assert b"".join(p.data for p in pieces if p.range == 0) == BIG
    assert [(p.offset, p.data, p.last) for p in pieces if p.range == 1] == [(5, BIG[5:15], True)]


async def test_stream_is_resumed(site: Served) -> None:
    spec = a_spec("resumed", len(BIG))
    ticket = (await site.begin(spec)).grant.ticket
    first = list(chunks(spec.upload_id, BIG))[:2]
    await site.write(ticket, first)
    (file,) = (await site.get_upload(ticket, spec.upload_id)).files
    assert (file.persisted_bytes, file.complete) == (2 << 20, False)
    with pytest.raises(OffsetMismatch):
        await site.write(ticket, list(chunks(spec.upload_id, BIG, start=3 << 20)))
    await site.write(ticket, list(chunks(spec.upload_id, BIG, start=2 << 20)))
    (file,) = (await site.get_upload(ticket, spec.upload_id)).files
    assert (file.persisted_bytes, file.complete) == (len(BIG), True)
    (status,) = await site.commit(an_item(spec, BIG))
    assert status.state == pb.UPLOAD_STATE_COMMITTED
    with pytest.raises(UploadClosed):
        await site.write(ticket, first)


async def test_commit_while_a_stream_is_open(site: Served) -> None:
    """Our own descriptor must not stand in the way, and bytes that come later are refused."""
    spec = a_spec("open", 2 << 20)
    ticket = (await site.begin(spec)).grant.ticket
    data = BIG[: 1 << 20]
    sent, go_on = asyncio.Event(), asyncio.Event()

    async def messages() -> AsyncIterator[pb.WriteUploadRequest]:
        (whole,) = chunks(spec.upload_id, data)
        whole.last = False
        yield whole
        sent.set()
        await go_on.wait()
        (late,) = chunks(spec.upload_id, b"late")
        late.offset = len(data)
        yield late

    call = site.door.WriteUpload(messages(), metadata=(("librarian-ticket", ticket),))
    await sent.wait()
    await eventually(lambda: site.files(ticket, spec.upload_id))
    (status,) = await site.commit(an_item(spec, data))
    assert status.state == pb.UPLOAD_STATE_COMMITTED, status
    go_on.set()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    assert isinstance(error_from_rpc(caught.value), UploadClosed)


async def test_tree_by_stream(site: Served) -> None:
    spec = a_spec("book", 1000, common.DATASET_KIND_DIRECTORY)
    ticket = (await site.begin(spec)).grant.ticket
    uid = spec.upload_id
    messages = [
        *chunks(uid, b"one", "a/1"),
        *chunks(uid, b"", "a/empty"),
        pb.WriteUploadRequest(upload_id=uid, path="none", kind=common.MEMBER_KIND_DIRECTORY),
        pb.WriteUploadRequest(
            upload_id=uid, path="link", kind=common.MEMBER_KIND_SYMLINK, link_target="a/1", last=True
        ),
        *chunks(uid, b"two", "b"),
    ]
    answer = await site.write(ticket, messages)
    assert (answer.written_bytes, answer.member_count) == (6, 5)
    page = await site.get_upload(ticket, uid, page_size=2)
    rest = await site.get_upload(ticket, uid, page_size=10, page_token=page.next_page_token)
    assert [f.path for f in [*page.files, *rest.files]] == ["a/1", "a/empty", "b", "link", "none"]
    assert rest.next_page_token == ""


@pytest.mark.parametrize(
    ("message", "error"),
    [
        ({"path": "../x"}, InvalidInput),
        ({"path": "/etc/passwd"}, InvalidInput),
        ({"path": ""}, InvalidInput),
        ({"crc32c": 1}, ChunkCorrupt),
        ({"kind": common.MEMBER_KIND_SYMLINK, "link_target": "../../etc", "data": b""}, LinkOutside),
        ({"upload_id": "00000000-0000-7000-8000-000000000000"}, UploadNotFound),
        ({"data": b"x" * 200, "crc32c": 0}, ChunkCorrupt),
        ({"offset": 7}, OffsetMismatch),
    ],
)
async def test_bad_chunks(site: Served, message: dict[str, object], error: type[Exception]) -> None:
    spec = a_spec("bad", 100, common.DATASET_KIND_DIRECTORY)
    ticket = (await site.begin(spec)).grant.ticket
    (good,) = chunks(spec.upload_id, b"data", "p")
    for key, value in message.items():
        setattr(good, key, value)
    with pytest.raises(error):
        await site.write(ticket, [good])


async def test_more_than_declared(site: Served) -> None:
    spec = a_spec("more", 10)
    ticket = (await site.begin(spec)).grant.ticket
    with pytest.raises(UploadTooLarge):
        await site.write(ticket, list(chunks(spec.upload_id, b"x" * 11)))


async def test_tickets(site: Served) -> None:
    spec = a_spec("t", 10)
    ticket = (await site.begin(spec)).grant.ticket
    message = list(chunks(spec.upload_id, b"x"))
    for wrong in ("", "nonsense", ticket[:-2], f"A{ticket}"):
        with pytest.raises(TicketInvalid):
            await site.write(wrong, message)
    uid = await a_dataset(site)
    with pytest.raises(TicketInvalid):
        await site.read(ticket, uid)
    ingester = site.client(Role.INGESTER, token_id="another")
    with pytest.raises(TicketInvalid):
        await ingester.GetUpload(
            pb.GetUploadRequest(upload_id=spec.upload_id), metadata=(("librarian-ticket", ticket),)
        )
    own = site.client(Role.INGESTER)
    await own.GetUpload(
        pb.GetUploadRequest(upload_id=spec.upload_id), metadata=(("librarian-ticket", ticket),)
    )


async def test_revoking_cuts_a_stream_and_refuses_its_ticket(site: Served) -> None:
    spec = a_spec("cut", 100)
    ticket = (await site.begin(spec)).grant.ticket
    never = asyncio.Event()

    async def messages() -> AsyncIterator[pb.WriteUploadRequest]:
        (first,) = chunks(spec.upload_id, b"x")
        first.last = False
        yield first
        await never.wait()

    call = site.door.WriteUpload(messages(), metadata=(("librarian-ticket", ticket),))
    await eventually(lambda: site.files(ticket, spec.upload_id))
    await site.store.RevokeTickets(pb.RevokeTicketsRequest(request_id=request_id(), token_ids=["t1"]))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        async with asyncio.timeout(1):
            await call
    assert isinstance(error_from_rpc(caught.value), TokenRevoked)
    with pytest.raises(TokenRevoked):
        await site.get_upload(ticket, spec.upload_id)


async def test_only_bytes_pass_the_door(site: Served) -> None:
    for call in (
        site.door.ListStores(pb.ListStoresRequest()),
        site.door.CommitUploads(pb.CommitUploadsRequest()),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call
        assert caught.value.code() in {grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.UNIMPLEMENTED}


async def test_roles(site: Served) -> None:
    ingester = site.client(Role.INGESTER)
    with pytest.raises(RoleMayNot):
        await ingester.CommitUploads(pb.CommitUploadsRequest(store="main"))
    with pytest.raises(RoleMayNot):
        await ingester.AddStore(pb.AddStoreRequest(request_id=request_id()))
    assert len((await ingester.ListStores(pb.ListStoresRequest())).stores) == 1


async def test_reading_what_is_not_there(site: Served) -> None:
    uid = await a_dataset(site)
    reader = site.client(Role.READER)
    ticket = (await reader.BeginRead(pb.BeginReadRequest(store="main", uid=uid))).grant.ticket
    with pytest.raises(MemberNotFound):
        await site.read(ticket, uid, pb.ReadRange(path="member"))
    with pytest.raises(OutOfRange):
        await site.read(ticket, uid, pb.ReadRange(offset=len(BIG) + 1))
    with pytest.raises(ReplicaNotFound):
        await reader.BeginRead(pb.BeginReadRequest(store="main", uid=str(uuid.uuid4())))
    elsewhere = site.client(Role.READER, prefix="other/**")
    with pytest.raises(ReplicaNotFound):
        await elsewhere.BeginRead(pb.BeginReadRequest(store="main", uid=uid))


async def test_stores_by_grpc(site: Served) -> None:
    same = request_id()
    request = pb.AddStoreRequest(
        request_id=same,
        store=pb.Store(name="two", root=str(site.directory / "two"), enabled=True, priority=-1),
    )
    (site.directory / "two").mkdir()
    first = await site.store.AddStore(request)
    again = await site.store.AddStore(request)
    assert first.store.store_uid == again.store.store_uid
    assert first.store.capabilities.file_system
    request.store.priority = 7
    with pytest.raises(RequestIdReused):
        await site.store.AddStore(request)
    found = (await site.store.ListStores(pb.ListStoresRequest())).stores
    assert [store.name for store in found] == ["two", "main"]
    assert [store.trouble for store in found] == ["", ""]
    with pytest.raises(StoreExists):
        await site.add_store()
    inside = pb.Store(name="inside", root=str(site.root / "sub"))
    (site.root / "sub").mkdir()
    with pytest.raises(StoreRootTaken):
        await site.store.AddStore(pb.AddStoreRequest(request_id=request_id(), store=inside))


async def test_update_store(site: Served) -> None:
    def request(*paths: str, **fields: object) -> pb.UpdateStoreRequest:
        message = pb.UpdateStoreRequest(request_id=request_id(), store=pb.Store(name="main", **fields))  # type: ignore[arg-type]
        message.update_mask.paths.extend(paths)
        return message

    changed = (await site.store.UpdateStore(request("ingestible"))).store
    assert (changed.ingestible, changed.enabled) == (False, True)
    assert changed.usage.grantable_bytes == 0
    refused = (await site.begin(a_spec("x", 1))).errors
    assert [e.error.reason for e in refused] == ["STORE_DISABLED"]
    for path in ("root", "store_uid", "nonsense"):
        with pytest.raises(UnknownField):
            await site.store.UpdateStore(request(path))
    with pytest.raises(InvalidInput):
        await site.store.UpdateStore(request("fill_fraction", fill_fraction=2.0))
    with pytest.raises(InvalidInput):
        await site.store.UpdateStore(request())


async def test_batches_are_bounded(site: Served) -> None:
    with pytest.raises(BatchTooLarge):
        await site.begin(*(a_spec(f"n{n}", 1) for n in range(501)))
    with pytest.raises(InvalidInput):
        await site.store.ConfirmUploads(pb.ConfirmUploadsRequest(store="main"))


async def test_planted_links_lead_nowhere(site: Served) -> None:
    """A client that may write to staging itself cannot make the service write elsewhere."""
    spec = a_spec("planted", 100, common.DATASET_KIND_DIRECTORY)
    grant = (await site.begin(spec)).grant
    outside = site.directory / "outside"
    outside.mkdir()
    victim = outside / "victim"
    victim.write_bytes(b"victim")
    place = Path(grant.staging_path) / spec.upload_id
    place.mkdir()
    (place / "folder").symlink_to(outside)
    (place / "file").symlink_to(victim)
    (place / "hard").hardlink_to(victim)
    with pytest.raises(InvalidInput):
        await site.write(grant.ticket, list(chunks(spec.upload_id, b"data", "folder/new")))
    (late,) = chunks(spec.upload_id, b"data", "hard")
    late.offset = 6
    with pytest.raises(OffsetMismatch):
        await site.write(grant.ticket, [late])
    await site.write(
        grant.ticket, [*chunks(spec.upload_id, b"data", "file"), *chunks(spec.upload_id, b"data", "hard")]
    )
    assert sorted(path.name for path in outside.iterdir()) == ["victim"]
    assert victim.read_bytes() == b"victim"


async def test_full_in_the_middle_of_a_stream(site: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = a_spec("full", len(BIG))
    ticket = (await site.begin(spec)).grant.ticket
    whole = writing.write_all

    def full(fd: int, data: bytes, offset: int) -> int:
        if offset >= 1 << 20:
            raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))
        return whole(fd, data, offset)

    with monkeypatch.context() as patched:
        patched.setattr(writing, "write_all", full)
        with pytest.raises(StoreFull):
            await site.write(ticket, list(chunks(spec.upload_id, BIG)))
    (file,) = await site.files(ticket, spec.upload_id)
    assert file.persisted_bytes == 1 << 20
    await site.write(ticket, list(chunks(spec.upload_id, BIG, start=1 << 20)))
    (status,) = await site.commit(an_item(spec, BIG))
    assert status.state == pb.UPLOAD_STATE_COMMITTED


async def test_turned_off_in_the_middle_of_a_stream(site: Served) -> None:
    spec = a_spec("off", 100)
    ticket = (await site.begin(spec)).grant.ticket
    (first,) = chunks(spec.upload_id, b"x")
    first.last = False
    await site.write(ticket, [first])
    request = pb.UpdateStoreRequest(request_id=request_id(), store=pb.Store(name="main"))
    request.update_mask.paths.append("enabled")
    await site.store.UpdateStore(request)
    with pytest.raises(StoreDisabled):
        await site.write(ticket, list(chunks(spec.upload_id, b"x")))


async def test_what_is_held_is_listed_by_pages_or_by_uid(site: Served) -> None:
    uids = {name: await a_dataset(site, name, name.encode()) for name in ("b", "a/one", "c")}
    confirmed = pb.ConfirmUploadsRequest(
        request_id=str(uuid.uuid4()), store="main", upload_ids=[uids["a/one"], uids["b"]]
    )
    await site.store.ConfirmUploads(confirmed)
    found: list[pb.HeldDataset] = []
    token = ""
    while True:
        request = pb.ListHeldRequest(store="main", page_size=1, page_token=token)
        page = await site.store.ListHeld(request)
        assert len(page.held) == 1
        found += page.held
        token = page.next_page_token
        if not token:
            break
    assert [(each.name, each.uid, each.unconfirmed) for each in found] == [
        ("a/one", uids["a/one"], False),
        ("b", uids["b"], False),
        ("c", uids["c"], True),
    ]
    assert (found[0].size_bytes, found[0].member_count) == (5, 1)
    assert found[0].digest.value == hashlib.sha256(b"a/one").digest()
    some = pb.ListHeldRequest(store="main", uids=[uids["c"], uids["b"], str(uuid.uuid4())])
    assert [each.name for each in (await site.store.ListHeld(some)).held] == ["b", "c"]
    with pytest.raises(StoreNotFound):
        await site.store.ListHeld(pb.ListHeldRequest(store="nowhere"))
    with pytest.raises(BatchTooLarge):
        await site.store.ListHeld(pb.ListHeldRequest(store="main", uids=["x"] * 1001))
    with pytest.raises(RoleMayNot):
        await site.client(Role.OPERATOR).ListHeld(pb.ListHeldRequest(store="main"))
