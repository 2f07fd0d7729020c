from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from librarian import filecopy, filehash, kernel
from librarian.checksums import ALGORITHMS, checksum_of
from librarian.errors import LibrarianError, PathNotFound, SourceChanged, SpecialFile, StoreFull
from librarian.hashing import copy_and_hash, copy_tree, hash_tree
from librarian.pipeline import BUFFER_BYTES
from librarian.trees import walk_tree

SMALL, MIDDLE, LARGE = 1000, filehash.SMALL_BYTES + 1, filehash.LARGE_BYTES + 1
SIZES = [0, 1, filehash.SMALL_BYTES, MIDDLE, 3 * filehash.READ_BYTES, LARGE, 20 * BUFFER_BYTES + 3]


def write(place: Path, size: int) -> bytes:
    content = os.urandom(size)
    place.write_bytes(content)
    os.utime(place, ns=(5, 1_600_000_000_000_000_007))
    return content


@pytest.mark.parametrize("alone", [True, False])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("size", SIZES)
def test_bytes_times_and_checksum(tmp_path: Path, size: int, algorithm: str, *, alone: bool) -> None:
    content = write(tmp_path / "a", size)
    (tmp_path / "a").chmod(0o604)
    seen: list[int] = []
    result = copy_and_hash(
        tmp_path / "a", tmp_path / "b", algorithm, progress=seen.append, expected_size=size, alone=alone
    )
    assert (tmp_path / "b").read_bytes() == content
    assert result.checksum == checksum_of(algorithm, content)
    assert (result.size_bytes, result.mode, result.mtime_ns) == (size, 0o604, 1_600_000_000_000_000_007)
    assert (tmp_path / "b").stat().st_mtime_ns == result.mtime_ns
    assert sum(seen) == size


def test_replaces_what_an_interrupted_copy_left(tmp_path: Path) -> None:
    content = write(tmp_path / "a", SMALL)
    write(tmp_path / "b", LARGE)
    copy_and_hash(tmp_path / "a", tmp_path / "b", "sha256")
    assert (tmp_path / "b").read_bytes() == content


def test_never_writes_through_a_link(tmp_path: Path) -> None:
    write(tmp_path / "a", SMALL)
    kept = write(tmp_path / "precious", SMALL)
    (tmp_path / "b").symlink_to("precious")
    with pytest.raises(OSError, match="symbolic links"):
        copy_and_hash(tmp_path / "a", tmp_path / "b", "sha256")
    assert (tmp_path / "precious").read_bytes() == kept


@pytest.mark.parametrize("size", [SMALL, MIDDLE, LARGE])
@pytest.mark.parametrize("change", ["append", "rewrite", "truncate"])
def test_a_source_that_changes_meanwhile(tmp_path: Path, size: int, change: str) -> None:
    write(tmp_path / "a", size)
    done = False

    def meddle(_: int) -> None:
        nonlocal done
        if not done:
            done = True
            with (tmp_path / "a").open("r+b") as file:
                if change == "truncate":
                    file.truncate(size - 1)
                else:
                    file.seek(0, os.SEEK_END if change == "append" else os.SEEK_SET)
                    file.write(b"x")

    with pytest.raises(SourceChanged, match="changed while it was read"):
        copy_and_hash(tmp_path / "a", tmp_path / "b", "sha256", progress=meddle)


def test_a_source_of_another_size_than_declared(tmp_path: Path) -> None:
    write(tmp_path / "a", SMALL)
    with pytest.raises(SourceChanged):
        copy_and_hash(tmp_path / "a", tmp_path / "b", "sha256", expected_size=SMALL - 1)
    assert not (tmp_path / "b").exists()


def test_sources_that_are_no_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for source in (tmp_path / "fifo", tmp_path):
        with pytest.raises(SpecialFile):
            copy_and_hash(source, tmp_path / "b", "sha256")
    with pytest.raises(PathNotFound):
        copy_and_hash(tmp_path / "missing", tmp_path / "b", "sha256")


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("size", [SMALL, MIDDLE, LARGE])
def test_no_room(tmp_path: Path, size: int, algorithm: str) -> None:
    write(tmp_path / "a", size)
    with pytest.raises(StoreFull, match="no room to write '/dev/full'"):
        copy_and_hash(tmp_path / "a", "/dev/full", algorithm)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_without_what_only_linux_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, algorithm: str) -> None:
    def refuse(*_: object) -> None:
        raise kernel.Unsupported("it")

    monkeypatch.setattr(kernel, "ficlone", refuse)
    monkeypatch.setattr(kernel, "start_writeback", refuse)
    content = write(tmp_path / "a", 20 * BUFFER_BYTES)
    assert copy_and_hash(tmp_path / "a", tmp_path / "b", algorithm).checksum == checksum_of(
        algorithm, content
    )
    assert (tmp_path / "b").read_bytes() == content


def test_where_the_kernel_shares_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hash is then of the source alone, read once."""
    cloned: list[int] = []

    def clone(source: int, destination: int) -> None:
        os.sendfile(destination, source, 0, LARGE)
        cloned.append(destination)

    monkeypatch.setattr(kernel, "ficlone", clone)
    content = write(tmp_path / "a", LARGE)
    seen: list[int] = []
    result = copy_and_hash(tmp_path / "a", tmp_path / "b", "sha256", progress=seen.append)
    assert result.checksum == checksum_of("sha256", content)
    assert (tmp_path / "b").read_bytes() == content
    assert (sum(seen), len(cloned)) == (LARGE, 1)


def make_tree(root: Path) -> None:
    (root / "d" / "e").mkdir(parents=True)
    (root / "empty").mkdir()
    for index in range(150):
        write(root / "d" / f"{index}", index)
    write(root / "d" / "e" / "large", LARGE)
    write(root / "d" / "middle", MIDDLE)
    (root / "link").symlink_to("d//e/")


@pytest.mark.parametrize("threads", [1, 3])
def test_trees(tmp_path: Path, threads: int) -> None:
    make_tree(tmp_path / "a")
    tree = walk_tree(tmp_path / "a")
    members = copy_tree(tree, tmp_path / "b", "blake3", threads=threads)
    assert members == hash_tree(tmp_path / "a", "blake3")
    copied = hash_tree(tmp_path / "b", "blake3")
    assert [(m.path, m.checksum, m.link_target) for m in copied] == [
        (m.path, m.checksum, m.link_target) for m in members
    ]
    assert [m.mtime_ns for m in copied if m.checksum] == [m.mtime_ns for m in members if m.checksum]


def test_an_interrupted_tree_is_done_again(tmp_path: Path) -> None:
    make_tree(tmp_path / "a")
    tree = walk_tree(tmp_path / "a")
    first = copy_tree(tree, tmp_path / "b", "sha256")
    (tmp_path / "b" / "d" / "e" / "large").write_bytes(b"half")
    (tmp_path / "b" / "link").unlink()
    (tmp_path / "b" / "link").symlink_to("elsewhere")
    shutil.rmtree(tmp_path / "b" / "empty")
    assert copy_tree(tree, tmp_path / "b", "sha256") == first
    assert [m.checksum for m in hash_tree(tmp_path / "b", "sha256")] == [m.checksum for m in first]


def test_a_link_in_the_place_of_a_directory_is_not_followed(tmp_path: Path) -> None:
    make_tree(tmp_path / "a")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "d").symlink_to(tmp_path / "elsewhere")
    copy_tree(walk_tree(tmp_path / "a"), tmp_path / "b", "sha256")
    assert list((tmp_path / "elsewhere").iterdir()) == []
    assert (tmp_path / "b" / "d" / "middle").stat().st_size == MIDDLE


def test_a_fifo_in_the_place_of_a_file_does_not_block(tmp_path: Path) -> None:
    write(tmp_path / "a", SMALL)
    os.mkfifo(tmp_path / "b")
    with pytest.raises(OSError, match="No such device"):
        copy_and_hash(tmp_path / "a", tmp_path / "b", "sha256")


def test_complete_copies_are_kept_where_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_tree(tmp_path / "a")
    tree = walk_tree(tmp_path / "a")
    first = copy_tree(tree, tmp_path / "b", "sha256")
    (tmp_path / "b" / "d" / "7").write_bytes(b"1234567")
    copied: list[str] = []
    real = filecopy.copy_and_hash

    def watched(source: str, *rest: object, **named: object) -> object:
        copied.append(source)
        return real(source, *rest, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(filecopy, "copy_and_hash", watched)
    assert copy_tree(tree, tmp_path / "b", "sha256", keep_complete=True) == first
    assert copied == [f"{tmp_path}/a/d/7"]


@pytest.mark.parametrize("threads", [1, 2])
def test_a_tree_that_changes(tmp_path: Path, threads: int) -> None:
    make_tree(tmp_path / "a")
    tree = walk_tree(tmp_path / "a")
    os.utime(tmp_path / "a" / "d" / "9", ns=(1, 1))
    with pytest.raises(SourceChanged, match="a/d/9"):
        copy_tree(tree, tmp_path / "b", "sha256", threads=threads)
    (tmp_path / "a" / "d" / "9").unlink()
    with pytest.raises(LibrarianError, match="a/d/9"):
        copy_tree(tree, tmp_path / "b", "sha256", threads=threads)
