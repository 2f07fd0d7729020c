"""What every mover has to do."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
from dataclasses import replace
from pathlib import Path
from types import NoneType

import pytest
from mover_lab import (
    Ground,
    MoverLab,
    ended,
    mover_processes,
    mover_threads_at_work,
    small_disk,
)
from support.data import contents, make_book

from librarian.api.store.v1 import store_pb2 as pb
from librarian.errors import (
    LandingInvalid,
    NotFound,
    SourceChanged,
    SourceVanished,
    StoreFull,
    TicketInvalid,
)
from transfer_svc.movers.base import ItemState

pytestmark = pytest.mark.asyncio(loop_scope="module")
ODD_NAMES = ("-rf", "two words", "new\nline", "ünïcode", "~", "*?[x]", "$(touch x);`x`", "a'b\"c", "%41:b")


def odd_book(root: Path, rng: random.Random, *, plain_links: bool) -> Path:
    make_book(root, rng)
    for name in ODD_NAMES:
        folder = root / name
        folder.mkdir()
        (folder / name).write_text(name)
        (root / f"{name}.link").symlink_to(f"{name}/{name}")
    (root / "deep" / "er").mkdir(parents=True)
    (root / "deep" / "up").symlink_to("../data")
    (root / "deep" / "dangling").symlink_to("nowhere" if plain_links else "er/../nowhere")
    script = root / "data" / "run.sh"
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    (root / "data" / "private").write_text("p")
    (root / "data" / "private").chmod(0o600)
    return root


def modes_and_times(root: Path) -> dict[str, tuple[int, int]]:
    return {
        str(path.relative_to(root)): (path.stat().st_mode & 0o777, path.stat().st_mtime_ns)
        for path in root.rglob("*")
        if path.is_file() and not path.is_symlink()
    }


async def test_a_tree_and_files_arrive_as_they_are(lab: MoverLab, rng: random.Random) -> None:
    # See rsync_daemon.
    plain_links = lab.way.name == "rsync" and os.geteuid() != 0
    odd_book(lab.here / "obs" / "book", rng, plain_links=plain_links)
    (lab.here / "-odd name\n").write_bytes(rng.randbytes(3_000_000))
    (lab.here / "empty").touch()
    (lab.here / "nothing").mkdir()
    os.utime(lab.here / "empty", ns=(1, 1_718_574_200_123_456_789))
    names = ["obs/book", "-odd name\n", "empty", "nothing"]
    items = await lab.offered(*names)
    found = await lab.move(items)
    assert {one.state for one in found.values()} == {ItemState.MOVED}, found
    assert [found[item.upload_id].moved_bytes for item in items] == [item.size_bytes for item in items]
    book = items[[item.name for item in items].index("obs/book")]
    assert modes_and_times(lab.staged(book)) == modes_and_times(lab.here / "obs" / "book")
    assert contents(lab.staged(book)) == contents(lab.here / "obs" / "book")
    statuses = await lab.commit(items)
    for item in items:
        assert statuses[item.upload_id].state == pb.UPLOAD_STATE_COMMITTED, statuses[item.upload_id]
    assert contents(lab.away / "obs" / "book") == contents(lab.here / "obs" / "book")
    assert (lab.away / "-odd name\n").read_bytes() == (lab.here / "-odd name\n").read_bytes()
    assert (lab.away / "empty").stat().st_mtime_ns == 1_718_574_200_123_456_789


async def test_after_a_cut_it_goes_on_where_it_was_far_into_a_file(lab: MoverLab, rng: random.Random) -> None:
    # Reading holes out over gRPC takes as long as reading bytes.
    hole = (4 << 30) if not lab.way.unseen else (32 << 20)
    tail = rng.randbytes(40 << 20)
    source = lab.here / "large"
    with source.open("wb") as file:
        file.seek(hole)
        file.write(tail)
    os.utime(source, ns=(1, 1_718_574_200_123_456_789))
    tree = (await lab.hold("large"))["large"] if lab.way.unseen else lab.tree("large")
    [item] = await lab.landed([(tree, 0)])
    # As a cut leaves it, but for a byte by which to see that it is not sent again.
    with lab.staged(item).open("wb") as file:
        file.seek(hole >> 1)
        file.write(b"x")
        file.seek(hole)
        file.write(tail[: 20 << 20])
    found = await lab.move([item])
    assert found[item.upload_id].state is ItemState.MOVED, found
    with lab.staged(item).open("rb") as file:
        file.seek(hole >> 1)
        assert file.read(1) == b"x"
        file.seek(hole)
        assert file.read() == tail
    assert lab.staged(item).stat().st_mtime_ns == 1_718_574_200_123_456_789


async def test_cancelled_in_the_middle_nothing_runs_and_another_start_ends_it(
    lab: MoverLab, rng: random.Random
) -> None:
    (lab.here / "large").write_bytes(rng.randbytes(24 << 20))
    [item] = await lab.offered("large")
    batch = lab.batch([item], max_bytes_per_second=8 << 20, route="r")
    handle = await lab.start(batch)
    await lab.until(handle, lambda found: found[item.upload_id].moved_bytes > 4 << 20)
    await lab.mover.cancel(handle)
    assert not mover_processes()
    assert not mover_threads_at_work()
    assert not [task for task in asyncio.all_tasks() if batch.batch_id in task.get_name()]
    with pytest.raises(NotFound):
        await lab.mover.poll(handle)
    await lab.mover.cancel(handle)
    assert 0 < lab.staged(item).stat().st_size < item.size_bytes
    found = await lab.move([item])
    assert found[item.upload_id].state is ItemState.MOVED, found
    statuses = await lab.commit([item])
    assert statuses[item.upload_id].state == pb.UPLOAD_STATE_COMMITTED, statuses


async def test_bytes_that_are_gone_or_others_fail_alone_and_by_class(
    lab: MoverLab, rng: random.Random
) -> None:
    for name in ("fine", "gone", "grown"):
        (lab.here / name).write_bytes(rng.randbytes(100_000))
    for name in ("whole", "less", "more", "other"):
        make_book(lab.here / name, rng)
    names = ["gone", "fine", "grown", "less", "whole", "more", "other"]
    items = {item.name: item for item in await lab.offered(*names)}
    (lab.here / "gone").unlink()
    with (lab.here / "grown").open("ab") as file:
        file.write(b"more")
    (lab.here / "less" / "data" / "det01.g3").unlink()
    (lab.here / "more" / "data" / "det00.g3").write_bytes(b"longer" * 30_000)
    shutil.rmtree(lab.here / "other")
    (lab.here / "other").write_text("a file")
    found = await lab.move(items.values())
    classes = {name: type(found[item.upload_id].error) for name, item in items.items()}
    assert classes == {
        "fine": NoneType,
        "whole": NoneType,
        "gone": SourceVanished,
        "less": SourceVanished,
        "grown": SourceChanged,
        "more": SourceChanged,
        "other": SourceChanged,
    }, found
    statuses = await lab.commit([items["fine"], items["whole"]])
    assert {status.state for status in statuses.values()} == {pb.UPLOAD_STATE_COMMITTED}, statuses


async def test_a_landing_must_be_there_and_within_what_was_agreed(lab: MoverLab) -> None:
    (lab.here / "one").write_text("1")
    [item] = await lab.offered("one")
    climbing = replace(item, upload_id=f"../{item.upload_id}")
    assert isinstance((await lab.move([climbing]))[climbing.upload_id].error, LandingInvalid)
    lost = pb.UploadGrant()
    lost.CopyFrom(item.landing)
    lost.staging_path += "x"
    lost.rsync_address += "/x/y"
    lost.ticket += "x"
    error = (await lab.move([replace(item, landing=lost)]))[item.upload_id].error
    assert isinstance(error, TicketInvalid if lab.way.mover == "stream" else LandingInvalid), error
    if not lab.mover.capabilities.agreed_landing:
        return
    agreed = f"{lab.way.rsync_root}/{lab.away.name}" if lab.way.rsync_root else str(lab.away)
    for root, good in ((agreed, True), (f"{agreed}/elsewhere", False), (agreed[:-1], False), ("", False)):
        found = await lab.move([item], peer="b", landing_root=root)
        assert isinstance(found[item.upload_id].error, NoneType if good else LandingInvalid), (root, found)
    assert not list(lab.away.glob("**/elsewhere"))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")
async def test_a_full_disk_is_told_and_what_arrived_is_taken_up_when_there_is_room(
    ground: Ground, rng: random.Random
) -> None:
    away = ground.directory / f"away{ground.labs + 1}"
    away.mkdir()
    with small_disk(away, 32 << 20):
        lab = await ground.lab()
        (lab.here / "large").write_bytes(rng.randbytes(12 << 20))
        [item] = await lab.offered("large")
        ballast = lab.away / "ballast"
        ballast.write_bytes(bytes(26 << 20))
        found = await lab.move([item])
        assert isinstance(found[item.upload_id].error, StoreFull), found
        ballast.unlink()
        found = await lab.move([item])
        assert found[item.upload_id].state is ItemState.MOVED, found
        assert lab.staged(item).read_bytes() == (lab.here / "large").read_bytes()


async def test_two_starts_are_one_and_the_second_after_the_end_finds_all_there(
    lab: MoverLab, rng: random.Random
) -> None:
    (lab.here / "one").write_bytes(rng.randbytes(3 << 20))
    [item] = await lab.offered("one")
    batch = lab.batch([item])
    handle = await lab.mover.prepare(batch)
    await asyncio.gather(lab.mover.start(batch, handle), lab.mover.start(batch, handle))
    await lab.until(handle, ended)
    inode = lab.staged(item).stat().st_ino
    await lab.mover.start(batch, handle)
    found = await lab.until(handle, ended)
    assert found[item.upload_id].state is ItemState.MOVED, found
    assert found[item.upload_id].moved_bytes == item.size_bytes
    assert lab.staged(item).stat().st_ino == inode


@pytest.mark.parametrize("ground", ["stream"], indirect=True)
async def test_a_line_that_breaks_is_gone_on_with(lab: MoverLab, rng: random.Random) -> None:
    wire = lab.way.wire
    assert wire is not None, "a stream to a peer goes by a wire"
    (lab.here / "large").write_bytes(rng.randbytes(24 << 20))
    for number in range(40):
        (lab.here / f"small{number}").write_bytes(rng.randbytes(10_000))
    items = await lab.offered("large", *(f"small{number}" for number in range(40)))
    [large] = [item for item in items if item.name == "large"]
    wire.set_rate(20 << 23)
    before = wire.carried_bytes
    try:
        handle = await lab.start(lab.batch(items))
        await lab.until(handle, lambda found: found[large.upload_id].moved_bytes > 8 << 20)
        await asyncio.to_thread(wire.cut)
        wire.mend()
        found = await lab.until(handle, ended)
    finally:
        wire.set_rate(0)
    assert {one.state for one in found.values()} == {ItemState.MOVED}, found
    total = sum(item.size_bytes for item in items)
    # What was under way when it broke, and gRPC's own words.
    assert wire.carried_bytes - before < total * 1.02 + (4 << 20)
    statuses = await lab.commit(items)
    assert {status.state for status in statuses.values()} == {pb.UPLOAD_STATE_COMMITTED}, statuses
