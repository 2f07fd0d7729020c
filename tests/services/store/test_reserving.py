"""Room is promised once, given back, and found short in the middle too."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace

import pytest
from sqlalchemy import select, text
from store_lab import Lab, a_file, a_lab, a_tree, claims_of, stage

from librarian.errors import StoreDisabled, StoreFull, StoreIdentity, UploadActive, UploadClosed
from store_svc.filesystem import FileSystem
from store_svc.lifecycle import UploadState
from store_svc.queries.uploads import set_written
from store_svc.tables import uploads

Labs = Callable[..., AbstractAsyncContextManager[Lab]]


async def test_concurrent_begins_never_overcommit(lab: Lab) -> None:
    await lab.set(max_bytes=1000)
    await lab.add("other", lab.root.parent / "other")
    batches = [[a_file(f"{n}/{m}", b"x" * 30) for m in range(5)] for n in range(20)]
    begun = await asyncio.gather(*(lab.begin(*batch) for batch in batches))
    granted = sum(len(batch) - len(b.errors) for batch, b in zip(batches, begun, strict=True))
    assert granted == 33
    assert await lab.reserved() == 990
    assert {type(e) for b in begun for e in b.errors.values()} == {StoreFull}


async def test_a_small_one_fits_beside_a_large_one_that_does_not(lab: Lab) -> None:
    await lab.set(max_bytes=100)
    large, small = a_file("large", b"x" * 101), a_file("small", b"x" * 100)
    assert set((await lab.begin(large, small)).errors) == {large.upload_id}


async def test_inodes_are_a_limit_too(lab: Lab) -> None:
    await lab.set(max_inodes=20)
    tree = a_tree("t", {}, inode_count=30)
    assert isinstance((await lab.begin(tree)).errors[tree.upload_id], StoreFull)
    small = a_tree("t", {}, inode_count=10)
    assert not (await lab.begin(small)).errors


async def test_stores_on_one_file_system_share_its_room(lab: Lab) -> None:
    await lab.add("other", lab.root.parent / "other")
    before = await lab.grantable("other")
    await lab.begin(a_file("big", size_bytes=10 << 30))
    # Others on this machine write too: a margin.
    assert await lab.grantable("other") < before - (9 << 30)


async def test_what_is_written_is_not_promised_twice(lab: Lab) -> None:
    await lab.set(max_bytes=3000)
    spec = a_file("f", b"x" * 2000)
    begun = await lab.begin(spec)
    assert await lab.reserved() == 2000
    stage(lab.staged(begun, spec.upload_id), b"x" * 2000)
    await lab.begin(a_file("too-large", b"x" * 2000))
    assert await lab.reserved() == 0
    await lab.commit({spec.upload_id: claims_of(lab.root, b"x" * 2000)})
    assert await lab.grantable() == 1000


async def test_what_another_changes_is_not_waited_for(lab: Lab) -> None:
    """Else two of these, or one and a commit, that meet rows in different orders end in a deadlock."""
    specs = [a_file(name, b"x" * 100) for name in "ab"]
    await lab.begin(*specs)
    ids = [spec.upload_id for spec in specs]
    async with lab.kit.database.transaction() as holder:
        held = select(uploads.c.upload_id).where(uploads.c.upload_id == ids[1]).with_for_update()
        await holder.execute(held)
        async with lab.kit.database.transaction() as connection:
            await connection.execute(text("SET LOCAL lock_timeout = '5s'"))
            await set_written(connection, dict.fromkeys(reversed(ids), 40))
    assert await lab.reserved() == 60 + 100


async def test_begin_again_is_the_same(lab: Lab) -> None:
    spec = a_file("f", b"abc")
    first, second = await lab.begin(spec), await lab.begin(spec)
    assert first.grant.staging_path == second.grant.staging_path
    assert not second.errors
    assert await lab.reserved() == 3
    other = await lab.begin(replace(spec, name="g"))
    assert isinstance(other.errors[spec.upload_id], UploadClosed)
    stranger = await lab.begin(spec, subject="mallory")
    assert isinstance(stranger.errors[spec.upload_id], UploadClosed)
    assert stranger.grant.staging_path != first.grant.staging_path


async def test_abort_gives_back_and_expiry_waits_for_silence(lab: Lab) -> None:
    spec = a_file("f", b"abc")
    begun = await lab.begin(spec)
    stage(lab.staged(begun, spec.upload_id), b"a")
    errors = await lab.house.committer.abort("main", [spec.upload_id], idle_seconds=3600)
    assert isinstance(errors[spec.upload_id], UploadActive)
    assert await lab.house.committer.abort("main", [spec.upload_id], idle_seconds=0) == {}
    assert (await lab.reserved(), lab.left_over()) == (0, [])
    again = (await lab.commit({spec.upload_id: claims_of(lab.root, b"a")}))[spec.upload_id]
    assert again.state is UploadState.ABORTED
    assert await lab.house.committer.abort("main", [spec.upload_id], idle_seconds=0) == {}
    unknown = a_file("?").upload_id
    assert await lab.house.committer.abort("main", [unknown], idle_seconds=0) == {}


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"name": "../x"}, "INVALID_NAME"),
        ({"name": ".librarian/x"}, "INVALID_NAME"),
        ({"name": "x/"}, "INVALID_NAME"),
        ({"size_bytes": -1}, "INVALID_SIZE"),
        ({"size_bytes": 1 << 60}, "STORE_FULL"),
        ({"algorithm": "md5"}, "ALGORITHM_NOT_ALLOWED"),
        ({"upload_id": "../../etc"}, "INVALID_INPUT"),
    ],
)
async def test_bad_specs(lab: Lab, fields: dict[str, object], reason: str) -> None:
    good, bad = a_file("good", b"1"), replace(a_file("bad"), **fields)  # type: ignore[arg-type]
    begun = await lab.begin(good, bad)
    assert {key: error.reason for key, error in begun.errors.items()} == {bad.upload_id: reason}


async def test_not_ingestible_goes_on_with_what_is_open(lab: Lab) -> None:
    spec = a_file("f", b"abc")
    begun = await lab.begin(spec)
    await lab.set(ingestible=False)
    new = a_file("g", b"abc")
    errors = (await lab.begin(spec, new)).errors
    assert {key: type(error) for key, error in errors.items()} == {new.upload_id: StoreDisabled}
    stage(lab.staged(begun, spec.upload_id), b"abc")
    status = (await lab.commit({spec.upload_id: claims_of(lab.root, b"abc")}))[spec.upload_id]
    assert status.state is UploadState.COMMITTED


async def test_turned_off(lab: Lab) -> None:
    await lab.set(enabled=False)
    with pytest.raises(StoreDisabled):
        await lab.begin(a_file("f"))
    await lab.set(enabled=True)
    await lab.begin(a_file("f"))


async def test_swapped_or_unmounted_root_fails_closed(lab: Lab) -> None:
    spec = a_file("f", b"abc")
    begun = await lab.begin(spec)
    stage(lab.staged(begun, spec.upload_id), b"abc")
    elsewhere = lab.root.parent / "unmounted"
    lab.root.rename(elsewhere)
    lab.root.mkdir()
    claims = {spec.upload_id: claims_of(lab.root, b"abc")}
    with pytest.raises(StoreIdentity):
        await lab.begin(a_file("g"))
    with pytest.raises(StoreIdentity):
        await lab.commit(claims)
    assert list(lab.root.iterdir()) == []
    lab.root.rmdir()
    elsewhere.rename(lab.root)
    assert (await lab.commit(claims))[spec.upload_id].state is UploadState.COMMITTED


async def test_identity_of_another_store(lab: Lab) -> None:
    (lab.own / "store.json").write_text('{"store_uid": "other", "name": "other"}')
    with pytest.raises(StoreIdentity, match="other"):
        await lab.begin(a_file("g"))


async def test_second_service_on_one_store_is_refused(lab: Lab, database_dsn: str) -> None:
    await lab.begin(a_file("f"))
    async with a_lab(database_dsn, lab.root) as second:
        with pytest.raises(StoreIdentity, match="another store service"):
            await second.begin(a_file("g"))


class Full(FileSystem):
    """Copying runs out of room, or of quota."""

    number = errno.ENOSPC

    def has_no_writer(self, fd: int) -> bool:
        return False

    def copy(self, src_fd: int, dst_fd: int) -> int:
        raise OSError(self.number, os.strerror(self.number))


class OverQuota(Full):
    number = errno.EDQUOT


@pytest.mark.parametrize("filesystem", [Full, OverQuota])
async def test_full_in_the_middle(labs: Labs, filesystem: type[FileSystem]) -> None:
    async with labs(filesystem=filesystem()) as lab:
        await lab.add()
        status = await lab.put("f", b"abc")
        assert status.state is UploadState.FAILED
        assert isinstance(status.error, StoreFull)
        assert (lab.left_over(), await lab.reserved()) == ([], 0)


class BadMedium(FileSystem):
    """Says once that bytes were lost, as the kernel does."""

    told = False

    def sync(self, fd: int) -> None:
        if not self.told:
            self.told = True
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        super().sync(fd)


async def test_failed_sync_is_never_forgiven(labs: Labs) -> None:
    async with labs(filesystem=BadMedium()) as lab:
        await lab.add()
        status = await lab.put("f", b"abc")
        assert status.state is UploadState.FAILED
        assert status.error is not None
        assert status.error.reason == "DATA_LOSS"
        assert not (lab.root / "f").exists()


async def test_unwritable_sidecars_pass(lab: Lab) -> None:
    shelves = lab.own / "sidecars"
    shelves.rename(lab.own / "aside")
    shelves.write_text("in the way")
    spec = a_file("f", b"abc")
    begun = await lab.begin(spec)
    stage(lab.staged(begun, spec.upload_id), b"abc")
    claims = {spec.upload_id: claims_of(lab.root, b"abc")}
    status = (await lab.commit(claims))[spec.upload_id]
    assert status.state is UploadState.SEALED
    assert status.error is not None
    assert status.error.reason == "UNAVAILABLE"
    shelves.unlink()
    (lab.own / "aside").rename(shelves)
    assert (await lab.commit(claims))[spec.upload_id].state is UploadState.COMMITTED


class FoldsCase(FileSystem):
    """A file system for which `A` and `a` are one."""

    def link(self, src_fd: int, src: str, dst_fd: int, dst: str) -> None:
        if any(name.casefold() == dst.casefold() for name in os.listdir(dst_fd)):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), dst)
        super().link(src_fd, src, dst_fd, dst)


async def test_names_that_collide_on_disk_only(labs: Labs) -> None:
    async with labs(filesystem=FoldsCase()) as lab:
        await lab.add()
        assert (await lab.put("Data", b"1")).state is UploadState.COMMITTED
        status = await lab.put("data", b"2")
        assert status.error is not None
        assert status.error.reason == "PATH_TAKEN"
        assert (lab.root / "Data").read_bytes() == b"1"
