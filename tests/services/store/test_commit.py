"""Uploads by the file system, from Begin to Confirm."""

from __future__ import annotations

import asyncio
import json
import os
import stat
from pathlib import Path

import pytest
from store_lab import Lab, a_file, a_tree, claims_of, stage

from librarian.errors import PathHeldByUpload, PathTaken, UploadConfirmed
from store_svc.lifecycle import UploadState
from store_svc.reading import read_manifest

BOOK = {"a/x.dat": b"x" * 300_000, "a-b": b"1", "a/y": b"", "empty/": b"", "z": b"last"}


async def test_file_is_committed(lab: Lab) -> None:
    status = await lab.put("satp3/obs/one.dat", b"hello")
    assert status.state is UploadState.COMMITTED
    assert status.error is None
    assert (lab.root / "satp3/obs/one.dat").read_bytes() == b"hello"
    assert lab.left_over() == []
    assert await lab.reserved() == 0
    sidecar = lab.own / "sidecars" / status.upload_id[-2:] / f"{status.upload_id}.json"
    assert json.loads(sidecar.read_text())["digest"] == str(status.digest)


async def test_tree_is_committed_with_its_manifest(lab: Lab) -> None:
    spec = a_tree("books/b1", BOOK)
    begun = await lab.begin(spec)
    place = lab.staged(begun, spec.upload_id)
    stage(place, BOOK)
    (place / "link").symlink_to("a/y")
    os.utime(place / "z", ns=(1, 1_700_000_000_123_456_789))
    claims = claims_of(place, BOOK)
    status = (await lab.commit({spec.upload_id: claims}))[spec.upload_id]
    assert status.state is UploadState.COMMITTED, status.error
    book = lab.root / "books/b1"
    assert (book / "a/x.dat").read_bytes() == BOOK["a/x.dat"]
    assert (book / "empty").is_dir()
    assert (book / "link").readlink() == Path("a/y")
    assert (book / "z").stat().st_mtime_ns == 1_700_000_000_123_456_789
    assert stat.S_IMODE((book / "a").stat().st_mode) == 0o755
    members = [m async for batch in read_manifest(lab.kit, "main", spec.upload_id, "") for m in batch]
    assert [m.path for m in members] == ["a-b", "a/x.dat", "a/y", "empty", "link", "z"]
    after = [m async for batch in read_manifest(lab.kit, "main", spec.upload_id, "a/y") for m in batch]
    assert [m.path for m in after] == ["empty", "link", "z"]
    assert lab.left_over() == []


async def test_zero_bytes_and_empty_directory(lab: Lab) -> None:
    assert (await lab.put("empty-file", b"")).state is UploadState.COMMITTED
    assert (await lab.put("empty-tree", {})).state is UploadState.COMMITTED
    assert list((lab.root / "empty-tree").iterdir()) == []


async def test_confirm_then_abort_is_refused(lab: Lab) -> None:
    status = await lab.put("one", b"1")
    uid = status.upload_id
    assert await lab.house.committer.confirm("main", [uid]) == {}
    assert await lab.house.committer.confirm("main", [uid]) == {}
    errors = await lab.house.committer.abort("main", [uid], idle_seconds=0)
    assert isinstance(errors[uid], UploadConfirmed)
    again = (await lab.commit({uid: claims_of(lab.root / "one", b"1")}))[uid]
    assert (again.state, again.digest) == (UploadState.CONFIRMED, status.digest)


async def test_abort_of_a_committed_upload_takes_it_back(lab: Lab) -> None:
    status = await lab.put("deep/er/one", BOOK)
    assert await lab.house.committer.abort("main", [status.upload_id], idle_seconds=0) == {}
    assert not (lab.root / "deep").exists()
    assert lab.left_over() == []
    assert list((lab.own / "sidecars").rglob("*.json")) == []
    assert list((lab.own / "manifests").rglob("*.jsonl")) == []
    assert await lab.house.committer.abort("main", [status.upload_id], idle_seconds=0) == {}
    assert (await lab.put("deep/er/one", b"now a file")).state is UploadState.COMMITTED


async def test_a_batch_of_small_files(lab: Lab) -> None:
    specs = [a_file(f"d/{n}", f"content {n}".encode()) for n in range(200)]
    begun = await lab.begin(*specs)
    claims = {}
    for n, spec in enumerate(specs):
        content = f"content {n}".encode()
        stage(lab.staged(begun, spec.upload_id), content)
        claims[spec.upload_id] = claims_of(lab.root, content)
    statuses = await lab.commit(claims)
    assert {s.state for s in statuses.values()} == {UploadState.COMMITTED}
    assert (lab.root / "d/137").read_bytes() == b"content 137"
    assert lab.left_over() == []


async def test_one_bad_item_never_stops_the_others(lab: Lab) -> None:
    good, absent, wrong = a_file("good", b"ok"), a_file("absent", b"?"), a_file("wrong", b"right")
    begun = await lab.begin(good, absent, wrong)
    stage(lab.staged(begun, good.upload_id), b"ok")
    stage(lab.staged(begun, wrong.upload_id), b"wrong")
    statuses = await lab.commit(
        {
            good.upload_id: claims_of(lab.root, b"ok"),
            absent.upload_id: claims_of(lab.root, b"?"),
            wrong.upload_id: claims_of(lab.root, b"right"),
        }
    )
    reasons = {uid: s.error.reason if s.error else None for uid, s in statuses.items()}
    assert reasons == {
        good.upload_id: None,
        absent.upload_id: "NOTHING_STAGED",
        wrong.upload_id: "CHECKSUM_MISMATCH",
    }
    assert lab.left_over() == []
    assert await lab.reserved() == 0


async def test_commit_repeated_and_joined(lab: Lab) -> None:
    spec = a_file("one", b"1" * 1000)
    begun = await lab.begin(spec)
    stage(lab.staged(begun, spec.upload_id), b"1" * 1000)
    claims = {spec.upload_id: claims_of(lab.root, b"1" * 1000)}
    first, second = await asyncio.gather(lab.commit(claims), lab.commit(claims))
    third = await lab.commit(claims)
    states = {found[spec.upload_id].state for found in (first, second, third)}
    assert states == {UploadState.COMMITTED}
    assert len(list(lab.root.iterdir())) == 2


async def test_path_taken_before_the_commit(lab: Lab) -> None:
    status = await lab.put("taken", b"theirs", meanwhile=lambda: (lab.root / "taken").write_text("mine"))
    assert status.state is UploadState.FAILED
    assert status.error is not None
    assert status.error.reason == PathTaken.reason
    assert (lab.root / "taken").read_text() == "mine"
    below = await lab.put("file/below", b"x", meanwhile=(lab.root / "file").touch)
    assert below.error is not None
    assert below.error.reason == PathTaken.reason
    assert lab.left_over() == []


async def test_path_held_by_another_upload_passes(lab: Lab) -> None:
    first = await lab.put("same", b"same")
    second = await lab.put("same", b"same")
    assert second.state is UploadState.VERIFIED
    assert isinstance(second.error, PathHeldByUpload)
    assert second.error.metadata["upload_id"] == first.upload_id
    await lab.house.committer.abort("main", [first.upload_id], idle_seconds=0)
    again = (await lab.commit({second.upload_id: claims_of(lab.root, b"same")}))[second.upload_id]
    assert again.state is UploadState.COMMITTED
    assert (lab.root / "same").read_bytes() == b"same"


async def test_two_in_one_batch_with_one_name(lab: Lab) -> None:
    one, two = a_file("n", b"1"), a_file("n", b"2")
    begun = await lab.begin(one, two)
    stage(lab.staged(begun, one.upload_id), b"1")
    stage(lab.staged(begun, two.upload_id), b"2")
    statuses = await lab.commit(
        {one.upload_id: claims_of(lab.root, b"1"), two.upload_id: claims_of(lab.root, b"2")}
    )
    assert sorted(str(s.state.name) for s in statuses.values() if s.state) == ["COMMITTED", "VERIFIED"]
    (held,) = [s for s in statuses.values() if s.state is UploadState.VERIFIED]
    assert isinstance(held.error, PathHeldByUpload)


async def test_symlinked_parent_is_never_followed(lab: Lab, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (lab.root / "evil").symlink_to(outside)
    status = await lab.put("evil/data", b"x")
    assert status.error is not None
    assert status.error.reason == PathTaken.reason
    assert list(outside.iterdir()) == []


async def test_options_of_a_store(labs: object, tmp_path: Path) -> None:
    async with labs() as lab:  # type: ignore[operator]
        await lab.add(read_only=True, directory_mode=0o750, file_mode=0o664, owner="65534:65534")
        await lab.put("d/tree", {"sub/f": b"1"})
        file, folder = tmp_path / "root/d/tree/sub/f", tmp_path / "root/d/tree/sub"
        assert stat.S_IMODE(file.stat().st_mode) == 0o444
        assert stat.S_IMODE(folder.stat().st_mode) == 0o750
        assert stat.S_IMODE((tmp_path / "root/d").stat().st_mode) == 0o750
        if os.geteuid() == 0:
            assert (file.stat().st_uid, folder.stat().st_gid) == (65534, 65534)


async def test_client_root_is_what_clients_see(lab: Lab, tmp_path: Path) -> None:
    await lab.set(client_root="/mnt/elsewhere")
    begun = await lab.begin(a_file("x", b"1"))
    assert begun.grant.staging_path.startswith("/mnt/elsewhere/.librarian/staging/")
    area = lab.own / "staging" / Path(begun.grant.staging_path).name
    assert (area / ".proof").read_bytes() == begun.grant.proof
    assert stat.S_IMODE(area.stat().st_mode) == 0o2770
    assert stat.S_IMODE((lab.own / "sealed").stat().st_mode) == 0o700


@pytest.mark.parametrize("seconds", [0.0])
async def test_progress_without_waiting(lab: Lab, seconds: float) -> None:
    spec = a_file("big", b"7" * 3_000_000)
    begun = await lab.begin(spec)
    stage(lab.staged(begun, spec.upload_id), b"7" * 3_000_000)
    claims = {spec.upload_id: claims_of(lab.root, b"7" * 3_000_000)}
    early = (await lab.commit(claims, seconds=seconds))[spec.upload_id]
    assert early.state in {UploadState.OPEN, UploadState.SEALED, UploadState.VERIFIED, UploadState.COMMITTED}
    assert (await lab.commit(claims))[spec.upload_id].state is UploadState.COMMITTED
