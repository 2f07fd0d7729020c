"""Late writers, planted links and refused features: what is committed is what was verified."""

from __future__ import annotations

import os
import socket
import tempfile
import uuid
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest
from store_lab import Lab, a_file, a_tree, claims_of, stage
from store_lab.crashing import run_as

from librarian.manifests import DatasetKind
from store_svc.filesystem import Feature, FileSystem
from store_svc.identity import StoreRoot, make_own, make_root
from store_svc.lifecycle import UploadState
from store_svc.records import Upload
from store_svc.sealing import seal

Labs = Callable[..., AbstractAsyncContextManager[Lab]]
TREE = {"f": b"original", "d/g": b"more"}
STORE_UID = "00000000-0000-7000-8000-000000000001"
AN_UPLOAD = Upload(
    upload_id="",
    store="main",
    area="area",
    name="t",
    kind=DatasetKind.DIRECTORY,
    algorithm="sha256",
    reserved_bytes=1000,
    reserved_inodes=10,
    state=UploadState.SEALED,
    subject="alice",
    begin_time=datetime(2026, 1, 1, tzinfo=UTC),
)


async def test_open_writer_of_a_file_is_left_behind(lab: Lab) -> None:
    spec = a_file("f", b"original")
    place = lab.staged(await lab.begin(spec), spec.upload_id)
    with place.open("wb") as late:
        late.write(b"original")
        late.flush()
        status = (await lab.commit({spec.upload_id: claims_of(place, b"original")}))[spec.upload_id]
        assert status.state is UploadState.COMMITTED, status.error
        late.seek(0)
        late.write(b"tampered")
    assert (lab.root / "f").read_bytes() == b"original"


async def test_hard_link_is_left_behind(lab: Lab, tmp_path: Path) -> None:
    spec = a_file("f", b"original")
    place = lab.staged(await lab.begin(spec), spec.upload_id)
    own = tmp_path / "own"
    own.write_bytes(b"original")
    place.hardlink_to(own)
    status = (await lab.commit({spec.upload_id: claims_of(place, b"original")}))[spec.upload_id]
    assert status.state is UploadState.COMMITTED
    own.write_bytes(b"tampered")
    assert (lab.root / "f").read_bytes() == b"original"
    assert (lab.root / "f").stat().st_nlink == 1


async def test_descriptor_of_a_staged_folder_reaches_nothing(lab: Lab) -> None:
    spec = a_tree("t", TREE)
    place = lab.staged(await lab.begin(spec), spec.upload_id)
    stage(place, TREE)
    held = os.open(place / "d", os.O_RDONLY | os.O_DIRECTORY)
    status = (await lab.commit({spec.upload_id: claims_of(place, TREE)}))[spec.upload_id]
    assert status.state is UploadState.COMMITTED
    with pytest.raises(FileNotFoundError):
        os.open("late", os.O_CREAT | os.O_WRONLY, dir_fd=held)
    os.close(held)
    assert sorted(p.name for p in (lab.root / "t/d").iterdir()) == ["g"]


@pytest.mark.parametrize(
    "refused",
    [
        {Feature.LEASES},
        {Feature.HARD_LINKS},
        {Feature.RENAME_NOREPLACE},
        {Feature.HARD_LINKS, Feature.RENAME_NOREPLACE},
        {Feature.CHOWN},
        {Feature.REFLINK},
        {Feature.SYNCFS},
        set(Feature),
    ],
    ids=lambda refused: "+".join(sorted(refused)),
)
async def test_each_feature_refused(labs: Labs, refused: set[Feature]) -> None:
    async with labs(refused=refused) as lab:
        store = await lab.add(owner="65534:65534")
        for feature in refused - {Feature.SYNCFS}:
            assert getattr(store.capabilities, feature) is False
        assert (await lab.put("f", b"original")).state is UploadState.COMMITTED
        assert (await lab.put("t", TREE)).state is UploadState.COMMITTED
        assert (lab.root / "f").read_bytes() == b"original"
        assert (lab.root / "t/d/g").read_bytes() == b"more"
        for n, content in enumerate((b"theirs", TREE)):
            taken, folder, empty = (lab.root / f"{name}{n}" for name in ("taken", "folder", "empty"))
            makes = {taken: partial(taken.write_bytes, b"mine"), folder: folder.mkdir, empty: empty.touch}
            for path, make in makes.items():
                status = await lab.put(path.name, content, meanwhile=make)
                assert status.error is not None
                assert status.error.reason == "PATH_TAKEN"
            assert taken.read_bytes() == b"mine"
            assert list(folder.iterdir()) == []
            assert empty.read_bytes() == b""
        assert lab.left_over() == []


async def _fate(lab: Lab, spec_name: str, prepare: Callable[[Path], None], *, tree: bool = True) -> str:
    """The reason an upload fails with whose staging area was prepared so."""
    spec = a_tree(spec_name, {}, size_bytes=1000) if tree else a_file(spec_name, b"", size_bytes=1000)
    place = lab.staged(await lab.begin(spec), spec.upload_id)
    prepare(place)
    status = (await lab.commit({spec.upload_id: claims_of(lab.root, b"anything")}))[spec.upload_id]
    assert status.state is UploadState.FAILED
    assert status.error is not None
    assert lab.left_over() == []
    assert not (lab.root / spec_name).exists()
    return status.error.reason


def _fifo(place: Path) -> None:
    place.mkdir()
    os.mkfifo(place / "fifo")


def _socket(place: Path) -> None:
    place.mkdir()
    with socket.socket(socket.AF_UNIX) as server:
        os.chdir(place)
        server.bind("s")


def _link_outside(place: Path) -> None:
    place.mkdir()
    (place / "l").symlink_to("../../../../etc/passwd")


def _not_utf8(place: Path) -> None:
    place.mkdir()
    (place / os.fsdecode(b"\xff\xfe")).touch()


def _tree_is_file(place: Path) -> None:
    place.write_bytes(b"x")


def _tree_is_link(place: Path) -> None:
    place.symlink_to("/etc")


def _too_large(place: Path) -> None:
    place.mkdir()
    (place / "big").write_bytes(b"x" * 1001)


@pytest.mark.parametrize(
    ("prepare", "reason"),
    [
        (_fifo, "SPECIAL_FILE"),
        (_socket, "SPECIAL_FILE"),
        (_link_outside, "LINK_OUTSIDE"),
        (_not_utf8, "INVALID_NAME"),
        (_tree_is_file, "KIND_MISMATCH"),
        (_tree_is_link, "KIND_MISMATCH"),
        (_too_large, "UPLOAD_TOO_LARGE"),
        (lambda place: None, "NOTHING_STAGED"),
        (lambda place: place.mkdir(), "CHECKSUM_MISMATCH"),
    ],
)
async def test_bad_trees(
    lab: Lab, prepare: Callable[[Path], None], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(lab.root)
    assert await _fate(lab, "bad", prepare) == reason


@pytest.mark.parametrize(
    ("prepare", "reason"),
    [
        (os.mkfifo, "SPECIAL_FILE"),
        (lambda place: place.symlink_to("/etc/passwd"), "SPECIAL_FILE"),
        (lambda place: place.mkdir(), "KIND_MISMATCH"),
        (lambda place: place.write_bytes(b"x" * 2000), "UPLOAD_TOO_LARGE"),
        (lambda place: place.write_bytes(b"x"), "CHECKSUM_MISMATCH"),
    ],
)
async def test_bad_files(lab: Lab, prepare: Callable[[Path], None], reason: str) -> None:
    assert await _fate(lab, "bad", prepare, tree=False) == reason


async def test_more_entries_than_declared(lab: Lab) -> None:
    """Directories count; what did not say, or said the same as saying nothing, is not held to it."""
    fates = {}
    for declared in (0, 1, 3, 4):
        spec = a_tree(f"t{declared}", TREE, inode_count=declared)
        place = lab.staged(await lab.begin(spec), spec.upload_id)
        stage(place, TREE)
        claims = claims_of(place, TREE)
        status = (await lab.commit({spec.upload_id: claims}))[spec.upload_id]
        fates[declared] = status.error.reason if status.error else status.state
    committed = UploadState.COMMITTED
    assert fates == {0: committed, 1: committed, 3: "UPLOAD_TOO_LARGE", 4: committed}
    assert lab.left_over() == []


async def test_area_replaced_by_a_link(lab: Lab, tmp_path: Path) -> None:
    """Somebody who may write to `.librarian/staging` itself still gets nothing from elsewhere."""
    spec = a_file("f", b"secret")
    area = lab.staged(await lab.begin(spec), spec.upload_id).parent
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / spec.upload_id).write_bytes(b"secret")
    (area / ".proof").unlink()
    area.rmdir()
    area.symlink_to(elsewhere)
    status = (await lab.commit({spec.upload_id: claims_of(area, b"secret")}))[spec.upload_id]
    assert status.error is not None
    assert status.error.reason == "NOTHING_STAGED"
    assert (elsewhere / spec.upload_id).read_bytes() == b"secret"


def _seal(root: Path, upload: Upload) -> None:
    with StoreRoot("main", str(root), STORE_UID).open() as opened_root:
        tree = seal(FileSystem(), opened_root, upload, {})
        assert [entry.path for entry in tree.entries] == ["d/g", "f", "link"]
        # Again, as after a crash.
        assert len(seal(FileSystem(), opened_root, upload, {}).entries) == 3


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be two users; others are one already")
def test_staged_by_another_user_without_chown() -> None:
    """Such a service can neither rename nor own what another user staged, so it copies."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        root = Path(name)
        make_own(root)
        make_root(root, "main", STORE_UID)
        upload = replace(AN_UPLOAD, upload_id=str(uuid.uuid4()))
        place = root / ".librarian/staging/area" / upload.upload_id
        place.parent.mkdir()
        for path in (root, *root.rglob("*")):
            os.chown(path, 12345, 12345)
        stage(place, TREE)
        (place / "link").symlink_to("f")
        run_as(12345, partial(_seal, root, upload))
        sealed = root / ".librarian/sealed" / upload.upload_id
        assert (sealed / "d/g").read_bytes() == b"more"
        assert (sealed / "d/g").stat().st_uid == 12345
        assert (sealed / "link").readlink() == Path("f")
