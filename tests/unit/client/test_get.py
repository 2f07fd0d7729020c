"""get and read, by each way, against a site in this process."""

from __future__ import annotations

import asyncio
import os
import random
from pathlib import Path

import pytest
from support.client_site import ClientSite

from librarian import Librarian, Progress
from librarian.api.catalog.v1 import catalog_pb2
from librarian.api.common.v1 import common_pb2
from librarian.errors import (
    AlreadyRunning,
    DestinationExists,
    KindMismatch,
    LinkOutside,
    MemberNotFound,
    PathNotFound,
    ReplicaCorrupt,
    ReplicaNotFound,
    Unavailable,
)
from librarian.fetch.parts import PartLock
from librarian.fetch.target import resolve_target
from librarian.hashing import hash_tree
from librarian.manifests import DatasetKind, Member

WAYS = ["file system", "data door", "gateway"]


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest, site: ClientSite) -> str:
    site.store.offer_path = request.param == "file system"
    site.state.offer_door = request.param == "data door"
    return str(request.param)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


@pytest.fixture
def book(site: ClientSite, tmp_path: Path, rng: random.Random) -> catalog_pb2.Dataset:
    path = tmp_path / "book"
    (path / "deep").mkdir(parents=True)
    (path / "empty").mkdir()
    (path / "big.bin").write_bytes(rng.randbytes(1_000_001))
    (path / "deep/small").write_bytes(b"small")
    (path / "deep/nothing").write_bytes(b"")
    (path / "link").symlink_to("deep/small")
    (path / "deep/small").chmod(0o750)
    os.utime(path / "big.bin", ns=(1, 1_600_000_000_123_456_789))
    return site.state.keep("obs/book", path)


@pytest.fixture
def single(site: ClientSite, tmp_path: Path, rng: random.Random) -> catalog_pb2.Dataset:
    (tmp_path / "single").write_bytes(rng.randbytes(700_000))
    return site.state.keep("obs/single.bin", tmp_path / "single")


def kept(site: ClientSite, dataset: catalog_pb2.Dataset) -> Path:
    return site.state.kept / dataset.uid


def listing(path: Path) -> list[str]:
    return sorted(found.name for found in path.iterdir())


def everything(path: Path) -> list[str]:
    return sorted(str(found.relative_to(path)) for found in path.rglob("*"))


def tree(path: Path) -> list[Member]:
    return [
        Member(member.path, member.kind, member.size_bytes, member.checksum, member.link_target)
        for member in hash_tree(path, "sha256")
    ]


async def test_into_a_directory_that_is_there(
    client: Librarian, site: ClientSite, book: catalog_pb2.Dataset, out: Path, way: str
) -> None:
    progress = Progress()
    result = await client.get("obs/book", out, progress=progress)
    assert result.path == out / "book"
    assert tree(result.path) == tree(kept(site, book))
    assert (result.path / "big.bin").stat().st_mtime_ns == 1_600_000_000_123_456_789
    assert (result.path / "deep/small").stat().st_mode & 0o111
    assert listing(out) == ["book"]
    assert progress.snapshot().done_bytes == progress.snapshot().total_bytes == book.size_bytes
    assert (site.state.calls["ReadDataset"] > 0) == (way != "file system")


async def test_as_a_new_path(
    client: Librarian, site: ClientSite, book: catalog_pb2.Dataset, out: Path, way: str
) -> None:
    result = await client.get("obs/book", out / "renamed")
    assert tree(result.path) == tree(kept(site, book))
    assert result.path == out / "renamed"


async def test_a_file(
    client: Librarian, site: ClientSite, single: catalog_pb2.Dataset, out: Path, way: str
) -> None:
    result = await client.get("obs/single.bin", out)
    assert (out / "single.bin").read_bytes() == kept(site, single).read_bytes()
    assert result.present_count == 0
    again = await client.get("obs/single.bin", out)
    assert again.present_count == 1
    assert listing(out) == ["single.bin"]


async def test_an_empty_directory(client: Librarian, site: ClientSite, tmp_path: Path, out: Path) -> None:
    (tmp_path / "void").mkdir()
    site.state.keep("void", tmp_path / "void")
    first = await client.get("void", out)
    assert (out / "void").is_dir()
    assert not first.already_there
    assert (await client.get("void", out)).already_there


async def test_members_by_glob(client: Librarian, book: catalog_pb2.Dataset, out: Path, way: str) -> None:
    await client.get("obs/book", out, members=["deep/*", "link"])
    assert everything(out) == [
        "book", "book/deep", "book/deep/nothing", "book/deep/small", "book/link",
    ]  # fmt: skip
    with pytest.raises(MemberNotFound, match=r"\*\.fits"):
        await client.get("obs/book", out, members="*.fits")


async def test_cp_has_the_same_complaints(
    client: Librarian, book: catalog_pb2.Dataset, single: catalog_pb2.Dataset, out: Path
) -> None:
    with pytest.raises(PathNotFound, match="no directory"):
        await client.get("obs/book", out / "not/there")
    with pytest.raises(PathNotFound, match="no directory"):
        await client.get("obs/single.bin", f"{out}/new/")
    (out / "file").write_bytes(b"")
    with pytest.raises(DestinationExists, match="not a directory"):
        await client.get("obs/book", out / "file", force=True)
    (out / "single.bin").mkdir()
    with pytest.raises(DestinationExists, match="is a directory"):
        await client.get("obs/single.bin", out, force=True)


async def test_nothing_is_overwritten_without_force(
    client: Librarian, site: ClientSite, book: catalog_pb2.Dataset, out: Path, way: str
) -> None:
    (out / "book/deep").mkdir(parents=True)
    (out / "book/deep/small").write_bytes(b"mine!")
    (out / "book/notes").write_bytes(b"keep me")
    with pytest.raises(DestinationExists, match="deep/small"):
        await client.get("obs/book", out)
    assert (out / "book/deep/small").read_bytes() == b"mine!"
    assert not (out / "book/big.bin").exists()
    await client.get("obs/book", out, force=True)
    assert (out / "book/deep/small").read_bytes() == b"small"
    assert (out / "book/notes").read_bytes() == b"keep me"
    (out / "book/notes").unlink()
    assert tree(out / "book") == tree(kept(site, book))
    assert listing(out) == ["book"]


async def test_what_is_there_with_the_same_content_is_left(
    client: Librarian, site: ClientSite, book: catalog_pb2.Dataset, out: Path
) -> None:
    await client.get("obs/book", out)
    (out / "book/deep/small").unlink()
    before = (out / "book/big.bin").stat().st_ino
    result = await client.get("obs/book", out)
    assert result.present_count == result.member_count - 1
    assert (out / "book/big.bin").stat().st_ino == before
    assert tree(out / "book") == tree(kept(site, book))


async def test_a_break_is_resumed_where_it_stopped(
    client: Librarian, site: ClientSite, book: catalog_pb2.Dataset, out: Path
) -> None:
    site.store.offer_path = False
    site.state.break_reads = [1, 0, 2, 1]
    await client.get("obs/book", out)
    assert tree(out / "book") == tree(kept(site, book))
    assert site.state.calls["ReadDataset"] == 5


async def test_an_interrupted_get_leaves_a_part_and_goes_on(
    client: Librarian, site: ClientSite, book: catalog_pb2.Dataset, out: Path
) -> None:
    site.store.offer_path = False
    client.channel.patience_seconds = 0.1
    site.state.break_reads = [2, *[0] * 1000]
    with pytest.raises(Unavailable):
        await client.get("obs/book", out)
    [name] = listing(out)
    assert name.endswith(".part")
    part = out / name
    arrived = (part / "big.bin").stat().st_size
    assert arrived > 0
    site.state.break_reads.clear()
    progress = Progress()
    site.state.calls.clear()
    await client.get("obs/book", out, progress=progress)
    assert tree(out / "book") == tree(kept(site, book))
    assert listing(out) == ["book"]
    assert progress.snapshot().done_bytes == book.size_bytes


async def test_a_part_that_went_bad_is_fetched_again(
    client: Librarian, site: ClientSite, single: catalog_pb2.Dataset, out: Path, way: str
) -> None:
    target = resolve_target(DatasetKind.FILE, single.name, single.uid, str(out))
    target.part.write_bytes(b"\0" * 700_000)
    await client.get("obs/single.bin", out)
    assert (out / "single.bin").read_bytes() == kept(site, single).read_bytes()


async def test_members_of_an_earlier_get_do_not_appear(
    client: Librarian, site: ClientSite, book: catalog_pb2.Dataset, out: Path
) -> None:
    target = resolve_target(DatasetKind.DIRECTORY, book.name, book.uid, str(out))
    (target.part / "deep").mkdir(parents=True)
    (target.part / "deep/small").write_bytes(b"half")
    await client.get("obs/book", out, members="big.bin")
    assert [path.name for path in (out / "book").rglob("*")] == ["big.bin"]


async def test_a_corrupt_member_never_appears_and_is_named(
    client: Librarian, site: ClientSite, book: catalog_pb2.Dataset, out: Path, way: str
) -> None:
    path = kept(site, book) / "deep/small"
    path.write_bytes(b"smalL")
    with pytest.raises(ReplicaCorrupt, match=r"'deep/small' of obs/book .* on store main"):
        await client.get("obs/book", out)
    assert not (out / "book").exists()
    result = await client.get("obs/book", out, members="big.bin")
    assert (result.path / "big.bin").exists()


async def test_a_corrupt_single_file(
    client: Librarian, site: ClientSite, single: catalog_pb2.Dataset, out: Path, way: str
) -> None:
    data = bytearray(kept(site, single).read_bytes())
    data[-1] ^= 1
    kept(site, single).write_bytes(data)
    with pytest.raises(ReplicaCorrupt, match=r"obs/single\.bin is not what it was"):
        await client.get("obs/single.bin", out)
    assert listing(out) == []


async def test_copies_that_cannot_be_read_are_named(
    client: Librarian, book: catalog_pb2.Dataset, out: Path
) -> None:
    book.replicas[0].state = common_pb2.REPLICA_STATE_MISSING
    with pytest.raises(ReplicaNotFound, match="main: missing"):
        await client.get("obs/book", out)


async def test_two_gets_at_once_do_not_mix(client: Librarian, book: catalog_pb2.Dataset, out: Path) -> None:
    target = resolve_target(DatasetKind.DIRECTORY, book.name, book.uid, str(out))
    lock = PartLock(target)
    with pytest.raises(AlreadyRunning):
        await client.get("obs/book", out)
    lock.release()
    await client.get("obs/book", out)


async def test_a_list_of_members_that_leads_outside_is_refused(
    client: Librarian, site: ClientSite, book: catalog_pb2.Dataset, out: Path
) -> None:
    for member in site.state.members[book.uid]:
        if member.path == "link":
            member.link_target = "../../../etc/passwd"
    with pytest.raises(LinkOutside):
        await client.get("obs/book", out)
    assert listing(out) == []


async def test_read_gives_bytes_in_path_order(
    client: Librarian, site: ClientSite, book: catalog_pb2.Dataset, single: catalog_pb2.Dataset, way: str
) -> None:
    whole = b"".join([chunk async for chunk in client.read("obs/single.bin")])
    assert whole == kept(site, single).read_bytes()
    members = b"".join([chunk async for chunk in client.read("obs/book", members=["**"])])
    assert members == (kept(site, book) / "big.bin").read_bytes() + b"small"
    with pytest.raises(KindMismatch):
        [chunk async for chunk in client.read("obs/book")]


async def test_read_goes_on_after_a_break_and_ends_badly_when_corrupt(
    client: Librarian, site: ClientSite, single: catalog_pb2.Dataset
) -> None:
    site.store.offer_path = False
    site.state.break_reads = [1, 1, 0]
    whole = b"".join([chunk async for chunk in client.read("obs/single.bin")])
    assert whole == kept(site, single).read_bytes()
    kept(site, single).write_bytes(b"\0" * len(whole))
    with pytest.raises(ReplicaCorrupt):
        [chunk async for chunk in client.read("obs/single.bin")]


async def test_a_cancelled_get_stops_and_can_go_on(
    client: Librarian, site: ClientSite, single: catalog_pb2.Dataset, out: Path
) -> None:
    site.store.offer_path = False
    reading = asyncio.Event()
    site.state.on["ReadDataset"] = reading.set
    task = asyncio.create_task(client.get("obs/single.bin", out))
    await asyncio.wait_for(reading.wait(), 5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await client.get("obs/single.bin", out)
    assert (out / "single.bin").read_bytes() == kept(site, single).read_bytes()
