"""With the real catalog and the real store, on a real directory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from support.eventually import eventually
from transfer_lab.rig import new_id
from transfer_lab.site import Site, open_site
from transfer_lab.store import Content, file_content, tree_content

from librarian.api.catalog.v1 import catalog_pb2
from librarian.api.store.v1 import store_pb2
from librarian.api.transfer.v1 import transfer_pb2 as pb
from librarian.errors import AlgorithmNotAllowed

PUBLISHED, FAILED = pb.INGEST_STATE_PUBLISHED, pb.INGEST_STATE_FAILED


@pytest.fixture
async def site(directory: Path, database_dsn: str) -> AsyncIterator[Site]:
    async with open_site(directory, database_dsn, workers=2) as opened:
        yield opened


def stage(grant: store_pb2.UploadGrant, uid: str, data: bytes | dict[str, bytes]) -> None:
    area = Path(grant.staging_path)
    assert (area / grant.proof_name).read_bytes() == grant.proof
    if isinstance(data, bytes):
        (area / uid).write_bytes(data)
        return
    for path, content in data.items():
        (area / uid / path).parent.mkdir(parents=True, exist_ok=True)
        (area / uid / path).write_bytes(content)


async def put(site: Site, wanted: dict[str, bytes | dict[str, bytes]]) -> list[pb.Ingest]:
    contents = {
        name: file_content(data) if isinstance(data, bytes) else tree_content(data)
        for name, data in wanted.items()
    }
    uids, grants = await site.begin(contents)
    for uid, data in zip(uids, wanted.values(), strict=True):
        await asyncio.to_thread(stage, grants[0], uid, data)
    await site.commit(dict(zip(uids, contents.values(), strict=True)))
    return await site.wait(uids)


async def nothing_reserved(site: Site) -> None:
    async def settled() -> bool:
        return await site.reserved_bytes() == 0

    await eventually(settled)


async def test_files_and_books(site: Site) -> None:
    ended = await put(site, {"obs/file": b"hello", "obs/book": {"a": b"1", "b/c": b"22"}})
    assert [each.state for each in ended] == [PUBLISHED, PUBLISHED]
    assert (site.root / "obs/file").read_bytes() == b"hello"
    assert (site.root / "obs/book/b/c").read_bytes() == b"22"
    book = await site.dataset("obs/book")
    members = await site.channels.catalog.ListMembers(catalog_pb2.ListMembersRequest(uid=book.uid))
    assert [member.path for member in members.members] == ["a", "b/c"]
    assert book.uploader == "olga"
    assert book.origin.type == "librarian.origin"
    await nothing_reserved(site)


async def test_the_same_name_twice_at_once(site: Site) -> None:
    same = await asyncio.gather(*(put(site, {"n": b"same"}) for _ in range(3)))
    states = [each.state for (each,) in same]
    assert states == [PUBLISHED] * 3
    assert len({each.dataset_uid for (each,) in same}) == 1
    await nothing_reserved(site)


async def test_other_bytes_are_refused_and_leave_nothing(site: Site) -> None:
    first, second = await asyncio.gather(put(site, {"n": b"one"}), put(site, {"n": b"two"}))
    ended = [*first, *second]
    assert sorted(each.state for each in ended) == [PUBLISHED, FAILED]
    (lost,) = [each for each in ended if each.state == FAILED]
    assert lost.error.reason == "NAME_TAKEN"
    await nothing_reserved(site)
    assert [path.name for path in site.root.iterdir() if path.name != ".librarian"] == ["n"]


async def test_wrong_claim(site: Site) -> None:
    content: dict[str, Content] = {"n": file_content(b"claimed")}
    uids, grants = await site.begin(content)
    await asyncio.to_thread(stage, grants[0], uids[0], b"brought")
    await site.commit({uids[0]: content["n"]})
    (ended,) = await site.wait(uids)
    assert (ended.state, ended.error.reason) == (FAILED, "CHECKSUM_MISMATCH")
    assert not (site.root / "n").exists()
    await nothing_reserved(site)


async def test_register_then_verify_then_scan(site: Site) -> None:
    for number in range(3):
        book = site.root / f"old/book{number}"
        book.mkdir(parents=True)
        (book / "data").write_bytes(bytes([number]) * 100)
    request = pb.RegisterTreesRequest(request_id=new_id(), store="fast", glob="old/*")
    last = [told async for told in site.channels.transfer.RegisterTrees(request)][-1]
    assert (last.done, last.found_count, last.registered_count, last.refused_count) == (True, 3, 3, 0)
    again = pb.RegisterTreesRequest(request_id=new_id(), store="fast", glob="old/*")
    last = [told async for told in site.channels.transfer.RegisterTrees(again)][-1]
    assert (last.registered_count, last.already_count, last.hashed_bytes) == (0, 3, 0)

    verify = pb.VerifyReplicasRequest(request_id=new_id(), store="fast")
    answers = [told async for told in site.channels.transfer.VerifyReplicas(verify)]
    assert [told.name for told in answers if told.HasField("report")] == [f"old/book{i}" for i in range(3)]
    assert await site.replica_state("old/book1") == "AVAILABLE"

    (site.root / "old/book1/data").write_bytes(b"\xff" * 100)
    verify = pb.VerifyReplicasRequest(request_id=new_id(), dataset_uid=(await site.dataset("old/book1")).uid)
    answers = [told async for told in site.channels.transfer.VerifyReplicas(verify)]
    assert await site.replica_state("old/book1") == "CORRUPT"
    (replica,) = (await site.dataset("old/book1")).replicas
    assert "data at " in replica.state_reason

    (site.root / "old/book2/data").unlink()
    (site.root / "dark").write_bytes(b"?")
    scan = pb.ScanStoreRequest(store="fast")
    found = {
        (finding.reason, finding.path)
        async for told in site.channels.transfer.ScanStore(scan)
        for finding in told.findings
    }
    assert ("DARK", "dark") in found
    assert any(path.startswith("old/book2") for _, path in found)
    assert await site.replica_state("old/book2") == "AVAILABLE"


async def test_put_over_what_was_registered(site: Site) -> None:
    (site.root / "old").mkdir()
    (site.root / "old/file").write_bytes(b"there")
    request = pb.RegisterTreesRequest(request_id=new_id(), store="fast", path="old/file")
    last = [told async for told in site.channels.transfer.RegisterTrees(request)][-1]
    assert last.registered_count == 1
    response = await site.channels.transfer.BeginIngests(
        pb.BeginIngestsRequest(
            request_id=new_id(), items=[pb.IngestSpec(name="old/file", kind=1, size_bytes=5)]
        )
    )
    assert response.verdicts[0].existing.digest.value == file_content(b"there").digest.value


async def test_bad_algorithms_are_refused_before_anything(site: Site) -> None:
    with pytest.raises(AlgorithmNotAllowed):
        await (
            site.channels.transfer.RegisterTrees(
                pb.RegisterTreesRequest(request_id=new_id(), store="fast", path="x", algorithm="md5")
            )
            .__aiter__()
            .__anext__()
        )
