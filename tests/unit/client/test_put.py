"""put, by each way, against a site in this process."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from support.client_site import ClientSite

from librarian import Librarian, Progress, PutItem, PutOutcome
from librarian.api.store.v1 import store_pb2
from librarian.api.transfer.v1 import transfer_pb2
from librarian.checksums import checksum_of
from librarian.errors import (
    IngestClosed,
    InvalidName,
    LinkOutside,
    NameTaken,
    PathNotFound,
    RoleMayNot,
    SourceChanged,
    SpecialFile,
    Unavailable,
    Unreadable,
)
from librarian.hashing import hash_tree
from librarian.ingest import local, reading
from librarian.manifests import tree_digest

WAYS = ["file system", "data door", "gateway"]


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest, site: ClientSite) -> str:
    site.state.offer_staging = request.param == "file system"
    site.state.offer_door = request.param == "data door"
    return str(request.param)


def make_book(path: Path, rng: random.Random) -> Path:
    """A tree with all that a tree may have."""
    (path / "deep/er").mkdir(parents=True)
    (path / "empty").mkdir()
    (path / "big.bin").write_bytes(rng.randbytes(3_000_001))
    (path / "deep/er/small").write_bytes(b"small")
    (path / "deep/nothing").write_bytes(b"")
    (path / "link").symlink_to("deep/er/small")
    (path / "deep/er/small").chmod(0o750)
    (path / "empty").chmod(0o711)
    os.utime(path / "big.bin", ns=(1, 1_600_000_000_123_456_789))
    return path


async def test_a_directory_by_each_way(
    client: Librarian, site: ClientSite, tmp_path: Path, rng: random.Random, way: str
) -> None:
    book = make_book(tmp_path / "book", rng)
    progress = Progress()
    result = await client.put(book, "obs/book", progress=progress)
    members = hash_tree(book, "sha256")
    assert result.outcome is PutOutcome.PUBLISHED
    assert result.digest == tree_digest("sha256", members)
    assert result.member_count == len(members) == 5
    kept = site.state.kept / result.uid
    if way == "file system":
        assert (kept / "deep/er/small").stat().st_mode & 0o777 == 0o750
        assert (kept / "empty").stat().st_mode & 0o777 == 0o711
    assert (kept / "big.bin").stat().st_mtime_ns == 1_600_000_000_123_456_789
    assert (kept / "link").readlink() == Path("deep/er/small")
    assert (kept / "empty").is_dir()
    streamed = site.state.calls["WriteUpload"]
    assert (streamed > 0) == (way != "file system")
    if way == "data door":
        assert "authorization" not in site.state.metadata["WriteUpload"]
    assert progress.snapshot().phase == "verifying"


@pytest.mark.parametrize("algorithm", ["sha256", "blake3"])
@pytest.mark.parametrize("size", [0, 1, 1 << 20, (1 << 20) + 1])
async def test_a_file_by_each_way(
    client: Librarian,
    site: ClientSite,
    tmp_path: Path,
    rng: random.Random,
    way: str,
    size: int,
    algorithm: str,
) -> None:
    data = rng.randbytes(size)
    (tmp_path / "file").write_bytes(data)
    result = await client.put(tmp_path / "file", "one/file", algorithm=algorithm)
    assert result.digest == checksum_of(algorithm, data)
    assert (site.state.kept / result.uid).read_bytes() == data


async def test_an_empty_directory_by_each_way(client: Librarian, tmp_path: Path, way: str) -> None:
    (tmp_path / "void").mkdir()
    result = await client.put(tmp_path / "void", "void")
    assert result.digest == tree_digest("sha256", [])
    assert result.member_count == 0


async def test_staging_of_another_user_is_opened_to_the_group(
    client: Librarian, site: ClientSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rng: random.Random
) -> None:
    proven = local.prove_staging

    def foreign(grant: store_pb2.UploadGrant) -> local.StagingArea | None:
        area = proven(grant)
        return area and local.StagingArea(area.directory, area.made_mode, open_to_group=True)

    monkeypatch.setattr("librarian.ingest.batch.prove_staging", foreign)
    book = make_book(tmp_path / "book", rng)
    result = await client.put(book, "book")
    for path in (site.state.kept / result.uid).rglob("*"):
        if not path.is_symlink():
            wanted = 0o2070 if path.is_dir() else 0o060
            assert path.stat().st_mode & wanted == wanted, path


async def test_staging_that_is_not_the_stores_is_not_used(
    client: Librarian, site: ClientSite, tmp_path: Path
) -> None:
    (site.state.staging / "proof").write_bytes(b"another store's")
    (tmp_path / "file").write_bytes(b"x")
    await client.put(tmp_path / "file", "file")
    assert site.state.calls["WriteUpload"] == 1


async def test_a_closed_data_door_is_passed_by(
    client: Librarian, site: ClientSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("librarian.connection.doors.DOOR_SECONDS", 0.2)
    site.state.offer_staging, site.state.offer_door = False, True
    site.state.door_address = "127.0.0.1:1"
    (tmp_path / "file").write_bytes(b"x")
    await client.put(tmp_path / "file", "file")
    assert site.state.metadata["WriteUpload"]["authorization"] == "Bearer lib_secret"
    assert site.state.metadata["WriteUpload"]["librarian-store"] == "main"


async def test_the_same_again_is_there_already(client: Librarian, site: ClientSite, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    first = await client.put(tmp_path / "file", "file")
    again = await client.put(tmp_path / "file", "file")
    assert again.outcome is PutOutcome.ALREADY_THERE
    assert (again.uid, again.digest) == (first.uid, first.digest)
    assert len(site.state.uploads) == 1


@pytest.mark.parametrize("content", [b"another", b"contenT"])
async def test_other_content_under_the_name_is_refused(
    client: Librarian, tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "file").write_bytes(b"content")
    (tmp_path / "other").write_bytes(content)
    first = await client.put(tmp_path / "file", "file")
    with pytest.raises(NameTaken, match="file is there already") as caught:
        await client.put(tmp_path / "other", "file")
    assert caught.value.metadata["uid"] == first.uid
    (tmp_path / "dir").mkdir()
    with pytest.raises(NameTaken, match="it is a file, and this is a directory"):
        await client.put(tmp_path / "dir", "file")


async def test_a_break_is_resumed_where_it_stopped(
    client: Librarian, site: ClientSite, tmp_path: Path, rng: random.Random
) -> None:
    site.state.offer_staging = False
    book = make_book(tmp_path / "book", rng)
    site.state.break_after = [2, 1, 0, 3]
    progress = Progress()
    result = await client.put(book, "book", progress=progress)
    assert result.digest == tree_digest("sha256", hash_tree(book, "sha256"))
    assert site.state.calls["WriteUpload"] == 5
    # Seven messages are the whole (three of them for the large file): nothing that arrived went twice.
    assert site.state.written_messages <= 7 + 1


async def test_patience_ends_when_nothing_moves(client: Librarian, site: ClientSite, tmp_path: Path) -> None:
    site.state.offer_staging = False
    client.channel.patience_seconds = 0.1
    (tmp_path / "file").write_bytes(b"x")
    site.state.break_after = [0] * 1000
    with pytest.raises(Unavailable):
        await client.put(tmp_path / "file", "file")
    site.state.break_after = []
    result = await client.put(tmp_path / "file", "file")
    # The journal knew the ingest.
    assert [result.uid] == list(site.state.uploads)


async def test_a_damaged_chunk_is_sent_again(
    client: Librarian, site: ClientSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.state.offer_staging = False
    (tmp_path / "file").write_bytes(b"precious")
    good, damaged = reading.frame, [True]

    def frame(header: object, data: bytes) -> bytes:
        found = good(header, data)  # type: ignore[arg-type]
        if damaged:
            damaged.pop()
            return found.replace(b"precious", b"preciouS")
        return found

    monkeypatch.setattr(reading, "frame", frame)
    result = await client.put(tmp_path / "file", "file")
    assert (site.state.kept / result.uid).read_bytes() == b"precious"
    assert site.state.calls["WriteUpload"] == 2


async def test_unary_calls_outlive_a_restart(client: Librarian, site: ClientSite, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    await client.status()
    for method in ("BeginIngests", "CommitIngests", "WaitIngests"):
        # More than the channel itself repeats.
        site.state.fail[method] = [Unavailable("restarting")] * 6
    result = await client.put(tmp_path / "file", "file")
    assert result.outcome is PutOutcome.PUBLISHED


async def test_a_site_that_never_answered_is_told_of_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    async with Librarian.connect(address="grpc://127.0.0.1:1", token="t") as client:
        with pytest.raises(Unavailable, match=r"grpc://127.0.0.1:1 does not answer"):
            await client.put(tmp_path / "file", "file")


async def test_a_refusal_of_everything_is_raised(client: Librarian, site: ClientSite, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    site.state.fail["BeginIngests"] = [RoleMayNot("a reader may not")]
    with pytest.raises(RoleMayNot, match="a reader may not"):
        await client.put(tmp_path / "file", "file")


@pytest.mark.parametrize("name", ["", "/a", "a/", "a//b", "../a", "a/./b", ".librarian/x", "a\0b", "a\udcff"])
async def test_bad_names_are_refused_before_anything_is_sent(
    client: Librarian, site: ClientSite, tmp_path: Path, name: str
) -> None:
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(InvalidName):
        await client.put(tmp_path / "file", name)
    assert not site.state.calls


async def test_bad_sources_are_refused_by_name(client: Librarian, site: ClientSite, tmp_path: Path) -> None:
    with pytest.raises(PathNotFound, match="nowhere"):
        await client.put(tmp_path / "nowhere", "a")
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(SpecialFile, match="fifo"):
        await client.put(tmp_path / "fifo", "a")
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "out").symlink_to("../../etc")
    with pytest.raises(LinkOutside, match="out"):
        await client.put(tree, "a")
    assert not site.state.calls


@pytest.mark.parametrize("change", ["grows", "shrinks", "is touched", "vanishes"])
async def test_a_source_that_changes_is_given_up_and_named(
    client: Librarian, site: ClientSite, tmp_path: Path, way: str, change: str
) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"before")
    changes: dict[str, Callable[[], object]] = {
        "grows": lambda: file.write_bytes(b"afterwards"),
        "shrinks": lambda: file.write_bytes(b"a"),
        "is touched": lambda: os.utime(file, ns=(1, 1)),
        "vanishes": file.unlink,
    }
    site.state.on["BeginIngests"] = changes[change]
    with pytest.raises((SourceChanged, PathNotFound), match="file"):
        await client.put(file, "file")
    [upload] = site.state.uploads.values()
    assert upload.ingest.state == transfer_pb2.INGEST_STATE_ABORTED


async def test_one_bad_item_never_stops_the_others(
    client: Librarian, site: ClientSite, tmp_path: Path, way: str
) -> None:
    if os.geteuid() == 0:
        bad = tmp_path / "each" / "bad"
        bad.parent.mkdir()
        os.mkfifo(bad)
        expected: type[Exception] = SpecialFile
    else:
        bad = tmp_path / "each" / "bad"
        bad.parent.mkdir()
        bad.write_bytes(b"secret")
        bad.chmod(0)
        expected = Unreadable
    (tmp_path / "each" / "good").write_bytes(b"good")
    (tmp_path / "each" / "link").symlink_to("good")
    (tmp_path / "each" / "zbook").mkdir()
    (tmp_path / "each" / "zbook" / "page").write_bytes(b"page")
    results = [result async for result in client.put_each(tmp_path / "each", "p")]
    assert [(result.item.name, result.outcome) for result in results] == [
        ("p/bad", PutOutcome.FAILED),
        ("p/good", PutOutcome.PUBLISHED),
        ("p/link", PutOutcome.FAILED),
        ("p/zbook", PutOutcome.PUBLISHED),
    ]
    assert isinstance(results[0].error, expected)
    assert isinstance(results[2].error, SpecialFile)


async def test_many_go_in_batches(
    client: Librarian, site: ClientSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for index in range(23):
        (tmp_path / f"f{index:02}").write_bytes(b"%d" % index)
    from librarian.ingest import pipeline, planning

    def in_fives(found: object) -> object:
        return planning.batches(found, max_items=5)  # type: ignore[arg-type]

    monkeypatch.setattr(pipeline, "batches", in_fives)
    progress = Progress()
    items = (PutItem(tmp_path / f"f{index:02}", f"n/{index:02}", {"k": "v"}) for index in range(23))
    results = [result async for result in client.put_many(items, progress=progress)]
    assert [result.item.name for result in results] == [f"n/{index:02}" for index in range(23)]
    assert all(result.outcome is PutOutcome.PUBLISHED for result in results)
    assert site.state.calls["BeginIngests"] == 5
    assert site.transfer.requests[0].items[0].tags == {"k": "v"}
    assert progress.snapshot().done_count == progress.snapshot().total_count == 23


async def test_an_ingest_that_the_site_finishes_by_itself(
    client: Librarian, site: ClientSite, tmp_path: Path
) -> None:
    """Interrupted after the commit: typed again, the put waits for that ingest and finds its own bytes."""
    (tmp_path / "file").write_bytes(b"x")
    client.channel.patience_seconds = 0.05
    site.state.fail["WaitIngests"] = [Unavailable("gone")] * 1000
    await client.status()
    with pytest.raises(Unavailable):
        await client.put(tmp_path / "file", "file")
    site.state.fail.clear()
    result = await client.put(tmp_path / "file", "file")
    assert result.outcome is PutOutcome.ALREADY_THERE
    assert [result.uid] == list(site.state.uploads)


async def test_an_ingest_that_was_given_up_begins_anew(
    client: Librarian, site: ClientSite, tmp_path: Path
) -> None:
    (tmp_path / "file").write_bytes(b"x")
    client.channel.patience_seconds = 0.05
    site.state.fail["CommitIngests"] = [Unavailable("gone")] * 1000
    await client.status()
    with pytest.raises(Unavailable):
        await client.put(tmp_path / "file", "file")
    site.state.fail.clear()
    [old] = site.state.uploads.values()
    old.ingest.state = transfer_pb2.INGEST_STATE_EXPIRED
    result = await client.put(tmp_path / "file", "file")
    assert result.outcome is PutOutcome.PUBLISHED
    assert result.uid != old.ingest.ingest_id


async def test_a_failed_ingest_raises_its_reason(client: Librarian, site: ClientSite, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")

    def lose() -> None:
        [upload] = site.state.uploads.values()
        upload.ingest.state = transfer_pb2.INGEST_STATE_EXPIRED

    site.state.on["WaitIngests"] = lose
    with pytest.raises(IngestClosed, match="expired"):
        await client.put(tmp_path / "file", "file")
