"""What every mover has to do."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest
from mover_lab import MoverLab
from mover_lab.ways import WAYS
from support.data import contents, make_book

from librarian.api.store.v1 import store_pb2 as pb
from transfer_svc.movers.base import ItemState

pytestmark = [pytest.mark.parametrize("way", WAYS)]
ODD_NAMES = ("-rf", "two words", "new\nline", "ünïcode", "~", "*?[x]", "$(touch x);`x`", "a'b\"c", "%41:b")


def odd_book(root: Path, rng: random.Random) -> Path:
    make_book(root, rng)
    for name in ODD_NAMES:
        folder = root / name
        folder.mkdir()
        (folder / name).write_text(name)
        (root / f"{name}.link").symlink_to(f"{name}/{name}")
    (root / "deep" / "er").mkdir(parents=True)
    (root / "deep" / "up").symlink_to("../data")
    (root / "deep" / "dangling").symlink_to("er/../nowhere")
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
    odd_book(lab.here / "obs" / "book", rng)
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
