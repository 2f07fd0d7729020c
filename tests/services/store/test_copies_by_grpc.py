"""Over gRPC: copies that peers bring and fetch, and what is told of those that are not as they should be."""

from __future__ import annotations

import errno
import hashlib
import os
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
from store_lab.served import Served, request_id

from librarian.api.common.v1 import common_pb2 as common
from librarian.api.store.v1 import store_pb2 as pb
from librarian.errors import (
    InvalidInput,
    InvalidStore,
    LibrarianError,
    MemberNotFound,
    OutOfRange,
    ReadFailed,
    ReplicaNotFound,
    SourceChanged,
    SourceVanished,
    Unreadable,
)
from store_svc import rangereading
from store_svc.layout import is_rsync_root
from svckit.auth import Role

DATA = b"0123456789" * 100
# Long enough for its manifest to be bisected.
PATHS = [f"folder-{n % 7}/file {n:04} ünd ein langer Name, der etwas Platz braucht" for n in range(400)]
WHOLE = pb.ReadRange(length=len(DATA))


async def adopt(site: Served, names: list[str], **fields: object) -> dict[str, pb.AdoptedTree]:
    request = pb.AdoptTreesRequest(store="main", names=names, algorithm="sha256", **fields)  # type: ignore[arg-type]
    return {tree.name: tree async for told in site.store.AdoptTrees(request) for tree in told.trees}


async def ticket_for(site: Served, uid: str, store: str = "main") -> str:
    reader = site.client(Role.READER)
    return str((await reader.BeginRead(pb.BeginReadRequest(store=store, uid=uid))).grant.ticket)


async def test_a_second_copy_is_adopted_and_read_from_its_own_store(site: Served) -> None:
    await site.add_store("other")
    for root, content in ((site.root, DATA), (site.directory / "other", DATA)):
        (root / "f").write_bytes(content)
    (site.root / "g").write_bytes(DATA)
    (first,) = (await adopt(site, ["f"], facts_json='{"all": 1}')).values()
    wrong = common.Checksum(algorithm="sha256", value=bytes(32))
    right = common.Checksum(algorithm="sha256", value=hashlib.sha256(DATA).digest())
    request = pb.AdoptTreesRequest(
        store="other",
        names=["f"],
        algorithm="sha256",
        uids=[first.uid],
        each_facts_json=['{"own": 1}'],
        digests=[right],
    )
    (second,) = [tree async for told in site.store.AdoptTrees(request) for tree in told.trees]
    assert (second.uid, second.digest, second.already) == (first.uid, right, False)
    (refused,) = (await adopt(site, ["g"], uids=[str(uuid.uuid4())], digests=[wrong])).values()
    assert (refused.error.reason, refused.digest, refused.uid) == ("CHECKSUM_MISMATCH", right, "")
    for fields in ({"uids": ["a", "b"]}, {"each_facts_json": ["{}", "{}"]}, {"digests": [right, right]}):
        with pytest.raises(InvalidInput):
            await adopt(site, ["g"], **fields)
    with pytest.raises(InvalidInput):
        await adopt(site, ["f", "g"], uids=[first.uid, first.uid])
    # Each ticket reads the copy it was given for.
    (site.directory / "other/f").write_bytes(DATA[::-1])
    tickets = {store: await ticket_for(site, first.uid, store) for store in ("main", "other")}
    read = {
        store: b"".join(p.data for p in await site.read(tickets[store], first.uid, WHOLE))
        for store in tickets
    }
    assert read == {"main": DATA, "other": DATA[::-1]}
    members = [
        m
        async for told in site.store.ReadManifest(pb.ReadManifestRequest(store="other", uid=first.uid))
        for m in told.members
    ]
    assert [member.checksum for member in members] == [right]


async def test_rsync_is_offered_where_a_root_is_set(site: Served) -> None:
    async def begun() -> pb.UploadGrant:
        spec = pb.UploadSpec(
            upload_id=str(uuid.uuid4()),
            dataset_uid=str(uuid.uuid4()),
            name=f"n/{uuid.uuid4()}",
            kind=common.DATASET_KIND_FILE,
            algorithm="sha256",
        )
        response = await site.begin(spec)
        assert not response.errors
        return response.grant

    async def set_root(root: str) -> pb.Store:
        request = pb.UpdateStoreRequest(request_id=request_id(), store=pb.Store(name="main", rsync_root=root))
        request.update_mask.paths.append("rsync_root")
        return (await site.store.UpdateStore(request)).store

    assert (await begun()).rsync_address == ""
    assert (await set_root("dtn.nersc.gov:/cfs/so/")).rsync_root == "dtn.nersc.gov:/cfs/so/"
    grant = await begun()
    area = Path(grant.staging_path).name
    assert grant.rsync_address == f"dtn.nersc.gov:/cfs/so/.librarian/staging/{area}"
    for wrong in ("-e sh:/x", "host:relative", "rsync://host", "host:/a b", "host:/$(x)", "host:/a/../b"):
        with pytest.raises(InvalidStore):
            await set_root(wrong)
    added = await site.add_store("two", rsync_root="rsync://[::1]:8730/module/below")
    assert added.rsync_root == "rsync://[::1]:8730/module/below"
    found = (await site.store.ListStores(pb.ListStoresRequest())).stores
    assert {store.name: store.rsync_root for store in found} == {
        "main": "dtn.nersc.gov:/cfs/so/",
        "two": "rsync://[::1]:8730/module/below",
    }
    await set_root("")
    assert (await begun()).rsync_address == ""


def test_rsync_roots() -> None:
    good = ["h:/", "user@host-1.example:/data/x_y", "rsync://h/m", "rsync://u@10.0.0.1:873/m.x/", "h:/a//b"]
    bad = [
        "",
        "/x",
        "h",
        "h:",
        "h:x",
        "rsync://h/",
        "rsync:///m",
        "rsync://h:port/m",
        "-h:/x",
        "h:/x\n",
        "h:/x;y",
    ]
    assert [root for root in good if not is_rsync_root(root)] == []
    assert [root for root in bad if is_rsync_root(root)] == []


async def test_troubles_of_a_file(site: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    file = site.root / "f"
    file.write_bytes(DATA)
    (tree,) = (await adopt(site, ["f"])).values()
    ticket = await ticket_for(site, tree.uid)

    async def trouble(*ranges: pb.ReadRange) -> LibrarianError:
        with pytest.raises(LibrarianError) as caught:
            await site.read(ticket, tree.uid, *ranges)
        return caught.value

    assert isinstance(await trouble(pb.ReadRange(path="member")), MemberNotFound)
    assert isinstance(await trouble(pb.ReadRange(offset=1, length=len(DATA))), OutOfRange)
    for number, kind in ((errno.EIO, ReadFailed), (errno.EACCES, Unreadable)):

        def failing(*_: object, number: int = number) -> bytes:
            raise OSError(number, os.strerror(number))

        with monkeypatch.context() as patched:
            patched.setattr(rangereading.os, "pread", failing)
            assert type(await trouble(WHOLE)) is kind
    file.write_bytes(DATA[:-1])
    assert isinstance(await trouble(WHOLE), SourceChanged)
    # Asked for as it is, it is given as it is.
    (piece,) = await site.read(ticket, tree.uid, pb.ReadRange(offset=990))
    assert (piece.data, piece.last) == (DATA[990:-1], True)
    file.write_bytes(DATA + b"more")
    assert isinstance(await trouble(WHOLE), SourceChanged)
    file.unlink()
    vanished = await trouble(WHOLE)
    assert isinstance(vanished, SourceVanished)
    assert vanished.metadata["path"] == "f"
    with pytest.raises(SourceVanished):
        await ticket_for(site, tree.uid)
    file.symlink_to("elsewhere")
    assert isinstance(await trouble(WHOLE), SourceChanged)
    file.unlink()
    file.mkdir()
    assert isinstance(await trouble(WHOLE), SourceChanged)
    with pytest.raises(SourceChanged):
        await ticket_for(site, tree.uid)
    with pytest.raises(ReplicaNotFound):
        await ticket_for(site, str(uuid.uuid4()))


async def test_troubles_of_members(site: Served) -> None:
    """Told apart by the store's own record, whose lines are found without reading all of it."""
    book = site.root / "book"
    for path in PATHS:
        (book / path).parent.mkdir(parents=True, exist_ok=True)
        (book / path).write_bytes(path.encode())
    (book / "link").symlink_to(PATHS[0])
    (book / "empty").mkdir()
    (tree,) = (await adopt(site, ["book"])).values()
    ticket = await ticket_for(site, tree.uid)

    async def trouble(path: str, length: int = 0) -> type[LibrarianError]:
        with pytest.raises(LibrarianError) as caught:
            await site.read(ticket, tree.uid, pb.ReadRange(path=path, length=length))
        return type(caught.value)

    ranges = [pb.ReadRange(path=path, length=len(path.encode())) for path in PATHS]
    pieces = await site.read(ticket, tree.uid, *ranges)
    assert [piece.data for piece in pieces] == [path.encode() for path in PATHS]
    assert issubclass(await trouble(""), InvalidInput)
    for path in ("nothing", "folder-3", "folder-3/file", "zz", "link", "empty", f"{PATHS[5]}/below"):
        assert await trouble(path) is MemberNotFound
    vanished, shrunk, grown, replaced = PATHS[13], PATHS[200], PATHS[201], PATHS[399]
    (book / vanished).unlink()
    (book / shrunk).write_bytes(b"less")
    (book / grown).write_bytes(grown.encode() + b"more")
    (book / replaced).unlink()
    (book / replaced).symlink_to("../link")
    size: Callable[[str], int] = lambda path: len(path.encode())  # noqa: E731
    found = {path: await trouble(path, size(path)) for path in (vanished, shrunk, grown, replaced)}
    assert found == {
        vanished: SourceVanished,
        shrunk: SourceChanged,
        grown: SourceChanged,
        replaced: SourceChanged,
    }
    assert await trouble(PATHS[7], 1000) is OutOfRange
    # Without a record the bytes can be had all the same.
    (site.root / ".librarian/manifests" / tree.uid[-2:] / f"{tree.uid}.jsonl").unlink()
    (piece,) = await site.read(ticket, tree.uid, pb.ReadRange(path=PATHS[7]))
    assert piece.data == PATHS[7].encode()
    assert await trouble(vanished) is SourceVanished
