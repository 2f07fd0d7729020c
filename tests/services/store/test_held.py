"""What the store holds: verified, adopted, scanned, found, and kept house for."""

from __future__ import annotations

import asyncio
import os
import uuid
from datetime import timedelta
from pathlib import Path

import pytest
from store_lab import Lab, a_file, a_lab, claims_of, stage

from librarian.errors import InvalidInput, PathHeldByUpload, PathNotFound, ReplicaNotFound
from librarian.hashing import hash_file
from store_svc.adoptable import Adopted, ToAdopt
from store_svc.adopting import adopt_trees
from store_svc.finding import find_trees
from store_svc.lifecycle import UploadState
from store_svc.reading import held
from store_svc.recovery import STRAY_AGE, Recovery
from store_svc.replicas import Report, Verdict, verify_replica
from store_svc.scanning import ScanFinding, scan_store
from svckit.clock import ManualClock, SystemClock

BOOK = {"a/x": b"x" * 300_000, "a/y": b"y", "empty/": b"", "z": b"z"}


async def verified(lab: Lab, uid: str) -> Report:
    async for progress in verify_replica(lab.kit, "main", uid):
        report = progress.report
    assert report is not None
    return report


async def adopted(lab: Lab, *names: str, algorithm: str = "sha256") -> dict[str, Adopted]:
    found = {}
    wanted = [ToAdopt(name, facts_json='{"uploader": "x"}') for name in names]
    async for progress in adopt_trees(lab.kit, "main", wanted, algorithm):
        found |= {tree.name: tree for tree in progress.trees}
    return found


async def scanned(lab: Lab) -> list[ScanFinding]:
    found = []
    async for progress in scan_store(lab.kit, "main"):
        found += progress.findings
    return found


async def test_good_replica(lab: Lab) -> None:
    book, file = await lab.put("b", BOOK), await lab.put("f", b"abc")
    report = await verified(lab, book.upload_id)
    assert (report.verdict, report.read_bytes, report.findings) == (Verdict.AVAILABLE, 300_002, [])
    assert (await verified(lab, file.upload_id)).verdict is Verdict.AVAILABLE
    with pytest.raises(ReplicaNotFound):
        await verified(lab, str(uuid.uuid4()))


async def test_each_kind_of_damage_is_named(lab: Lab) -> None:
    uid = (await lab.put("b", BOOK)).upload_id
    book = lab.root / "b"
    flipped = bytearray(BOOK["a/x"])
    flipped[1234] ^= 1
    times = (book / "a/x").stat()
    (book / "a/x").write_bytes(flipped)
    os.utime(book / "a/x", ns=(times.st_atime_ns, times.st_mtime_ns))
    (book / "a/y").unlink()
    (book / "z").unlink()
    (book / "z").mkdir()
    (book / "extra").write_text("?")
    report = await verified(lab, uid)
    assert report.verdict is Verdict.CORRUPT
    assert {f.path: f.reason.value for f in report.findings} == {
        "a/x": "CHANGED",
        "a/y": "MISSING",
        "z": "KIND_CHANGED",
        "extra": "EXTRA",
    }
    (bad,) = [f for f in report.findings if f.path == "a/x"]
    assert bad.location == f"{lab.root}/b/a/x"
    assert bad.found == hash_file(book / "a/x", "sha256")


async def test_missing_replica_and_damaged_record(lab: Lab) -> None:
    gone, book = await lab.put("d/gone", b"abc"), await lab.put("b", BOOK)
    (lab.root / "d/gone").unlink()
    (lab.root / "d").rmdir()
    assert (await verified(lab, gone.upload_id)).verdict is Verdict.MISSING
    manifest = lab.own / "manifests" / book.upload_id[-2:] / f"{book.upload_id}.jsonl"
    manifest.write_text(manifest.read_text().replace('"path":"z"', '"path":"zz"'))
    assert (await verified(lab, book.upload_id)).verdict is Verdict.CORRUPT
    manifest.unlink()
    report = await verified(lab, book.upload_id)
    assert report.verdict is Verdict.CORRUPT
    assert manifest.name in report.findings[0].path


async def test_adopt_is_repeatable_and_touches_nothing(lab: Lab) -> None:
    stage(lab.root / "book", BOOK)
    (lab.root / "file").write_bytes(b"abc")
    before = {
        p: (p.stat().st_mtime_ns, p.stat().st_ino, p.stat().st_mode) for p in (lab.root / "book").rglob("*")
    }
    first = await adopted(lab, "book", "file", algorithm="blake3")
    assert {a.error for a in first.values()} == {None}
    holding = first["book"].holding
    assert holding is not None
    assert holding.member_count == 4
    again = await adopted(lab, "book", "file", algorithm="blake3")
    assert [(a.already, a.holding and a.holding.uid) for a in again.values()] == [
        (True, a.holding and a.holding.uid) for a in first.values()
    ]
    assert before == {
        p: (p.stat().st_mtime_ns, p.stat().st_ino, p.stat().st_mode) for p in (lab.root / "book").rglob("*")
    }
    assert (await verified(lab, holding.uid)).verdict is Verdict.AVAILABLE
    (lab.root / "file").touch()
    assert (await adopted(lab, "file"))["file"].already
    (lab.root / "file").write_bytes(b"other")
    changed = (await adopted(lab, "file"))["file"]
    assert changed.error is not None
    assert changed.error.reason == "CHECKSUM_MISMATCH"


async def test_adopt_refuses_by_name(lab: Lab, tmp_path: Path) -> None:
    stage(lab.root / "ok", BOOK)
    (lab.root / "fifo").mkdir()
    os.mkfifo(lab.root / "fifo/p")
    (lab.root / "link").symlink_to(tmp_path)
    (tmp_path / "secret").write_text("s")
    (lab.root / "out").mkdir()
    (lab.root / "out/l").symlink_to("../../secret")
    await adopted(lab, "ok")
    found = await adopted(
        lab, "nothing", "fifo", "link", "link/secret", "out", "ok/a", "../x", ".librarian/store.json"
    )
    reasons = {name: tree.error.reason for name, tree in found.items() if tree.error}
    assert reasons == {
        "nothing": "PATH_NOT_FOUND",
        "fifo": "SPECIAL_FILE",
        "link": "SPECIAL_FILE",
        "link/secret": "PATH_NOT_FOUND",
        "out": "LINK_OUTSIDE",
        "ok/a": "NAME_IS_PREFIX",
        "../x": "INVALID_NAME",
        ".librarian/store.json": "INVALID_NAME",
    }
    with pytest.raises(InvalidInput):
        async for _ in adopt_trees(lab.kit, "main", [ToAdopt("x", facts_json="no json")], "sha256"):
            pass


async def test_an_upload_in_its_place_is_not_adopted(lab: Lab) -> None:
    """Its fate is open: it may be taken away again, and the adopted dataset with it."""
    uid = (await lab.put("one", b"abc")).upload_id
    tree = (await adopted(lab, "one"))["one"]
    assert isinstance(tree.error, PathHeldByUpload)
    await lab.house.committer.confirm("main", [uid])
    assert (await adopted(lab, "one"))["one"].already


async def test_abort_leaves_what_another_put_in_its_place(lab: Lab) -> None:
    uid = (await lab.put("one", b"abc")).upload_id
    inode = (lab.root / "one").stat().st_ino
    (lab.root / "one").write_bytes(b"mine")
    assert (lab.root / "one").stat().st_ino == inode
    await lab.house.committer.abort("main", [uid], idle_seconds=0)
    assert (lab.root / "one").read_bytes() == b"mine"


async def test_find_trees(lab: Lab) -> None:
    for name in ("obs/a/1", "obs/a/2", "obs/b/1", "other/x"):
        (lab.root / name).parent.mkdir(parents=True, exist_ok=True)
        (lab.root / name).write_bytes(b"abc")

    async def found(path: str, glob: str) -> list[tuple[str, int]]:
        return [one async for page in find_trees(lab.kit, "main", path, glob) for one in page]

    assert await found("", "obs/*/*") == [("obs/a/1", 3), ("obs/a/2", 3), ("obs/b/1", 3)]
    assert await found("", "obs/*") == [("obs/a", 6), ("obs/b", 3)]
    assert await found("other", "**") == [("other/x", 3)]
    assert await found("obs/a", "") == [("obs/a", 6)]
    assert await found("", ".librarian/**") == []
    with pytest.raises(PathNotFound):
        await found("nowhere", "")


async def test_scan(lab: Lab) -> None:
    names = ("keep/one", "keep/two", "gone", "changed", "replaced")
    uids = {name: (await lab.put(name, BOOK if name == "changed" else b"abc")).upload_id for name in names}
    await lab.house.committer.confirm("main", list(uids.values()))
    (lab.root / "gone").unlink()
    (lab.root / "changed/a/y").write_bytes(b"!!")
    (lab.root / "replaced").unlink()
    (lab.root / "replaced").mkdir()
    (lab.root / "keep/dark").write_text("?")
    (lab.root / "dark-folder/sub").mkdir(parents=True)
    (lab.root / os.fsdecode(b"\xff")).touch()
    (lab.own / "sealed/rubbish").touch()
    found = await scanned(lab)
    assert {(f.reason.value, f.path) for f in found} == {
        ("MISSING", "gone"),
        ("CHANGED", "changed"),
        ("CHANGED", "replaced"),
        ("DARK", "keep/dark"),
        ("DARK", "dark-folder"),
        ("DARK", "\\udcff"),
        ("STRAY", ".librarian/sealed/rubbish"),
    }
    assert {f.uid for f in found if f.path == "gone"} == {uids["gone"]}


async def test_books_of_a_store(lab: Lab) -> None:
    uid = (await lab.put("b", BOOK)).upload_id
    (lab.root / "adopt").write_bytes(b"abc")
    await adopted(lab, "adopt")
    store = await lab.kit.store("main")
    assert (store.held_count, store.held_bytes) == (2, 300_005)
    await lab.house.committer.abort("main", [uid], idle_seconds=0)
    store = await lab.kit.store("main")
    assert (store.held_count, store.held_bytes) == (1, 3)
    with pytest.raises(ReplicaNotFound):
        await held(lab.kit, "main", uid)


async def test_recovery_removes_old_strays_only(lab: Lab) -> None:
    spec = a_file("open", b"abc")
    place = lab.staged(await lab.begin(spec), spec.upload_id)
    stage(place, b"ab")
    unknown = [
        lab.own / "sealed" / f"{uuid.uuid4()}.in",
        place.parent / str(uuid.uuid4()),
        place.parent / "x",
    ]
    for path in unknown:
        path.mkdir()
    recovery = Recovery(lab.kit, lab.house.committer)
    await recovery.run_once()
    assert all(path.exists() for path in unknown)
    clock = ManualClock(SystemClock().now())
    clock.advance((STRAY_AGE + timedelta(hours=1)).total_seconds())
    lab.kit.clock = clock
    await recovery.run_once()
    assert not any(path.exists() for path in unknown)
    assert place.read_bytes() == b"ab"
    assert await lab.reserved() == 3


async def test_recovery_finishes_what_was_sealed(lab: Lab, database_dsn: str) -> None:
    spec = a_file("f", b"abc")
    stage(lab.staged(await lab.begin(spec), spec.upload_id), b"abc")
    claims = {spec.upload_id: claims_of(lab.root, b"abc")}
    blocked = lab.own / "sidecars"
    blocked.rename(lab.own / "aside")
    assert (await lab.commit(claims))[spec.upload_id].state is UploadState.SEALED
    (lab.own / "aside").rename(blocked)
    lab.kit.roots.close()
    async with a_lab(database_dsn, lab.root) as restarted:
        await Recovery(restarted.kit, restarted.house.committer).run_once()
        assert (lab.root / "f").read_bytes() == b"abc"
        assert (await restarted.commit(claims))[spec.upload_id].state is UploadState.COMMITTED


async def test_reading_side_by_side_with_commits(lab: Lab) -> None:
    statuses = await asyncio.gather(*(lab.put(f"n/{n}", f"{n}".encode()) for n in range(12)))
    assert {status.state for status in statuses} == {UploadState.COMMITTED}
    reports = await asyncio.gather(*(verified(lab, status.upload_id) for status in statuses))
    assert {report.verdict for report in reports} == {Verdict.AVAILABLE}
    assert lab.left_over() == []
