from __future__ import annotations

import hashlib
import os
import threading
from pathlib import Path

import pytest
from blake3 import blake3

from librarian import filehash
from librarian.checksums import ALGORITHMS, checksum_of
from librarian.errors import PathNotFound, ReadFailed, SourceChanged, Unreadable
from librarian.hashing import hash_descriptor, hash_file, hash_tree, hash_walked, stream_chunks
from librarian.manifests import MemberKind, check_members
from librarian.pipeline import BUFFER_BYTES
from librarian.trees import walk_tree

SIZES = [
    0,
    1,
    1024,
    filehash.SMALL_BYTES,
    filehash.SMALL_BYTES + 1,
    filehash.READ_BYTES * 3 + 5,
    filehash.LARGE_BYTES,
    BUFFER_BYTES * 5 + 7,
]


@pytest.mark.parametrize("size", SIZES)
def test_agrees_with_the_libraries(tmp_path: Path, size: int) -> None:
    content = os.urandom(size)
    place = tmp_path / "a"
    place.write_bytes(content)
    expected = {"sha256": hashlib.sha256(content).digest(), "blake3": blake3(content).digest()}
    for algorithm in ALGORITHMS:
        seen: list[int] = []
        assert hash_file(place, algorithm, progress=seen.append, sync=True).value == expected[algorithm]
        assert sum(seen) == size
        fd = os.open(place, os.O_RDONLY)
        try:
            os.lseek(fd, 3, os.SEEK_SET)
            assert hash_file(fd, algorithm).value == expected[algorithm]
            checksum, count = hash_descriptor(fd, algorithm, name="a", alone=False)
            assert (checksum.value, count) == (expected[algorithm], size)
        finally:
            os.close(fd)


@pytest.mark.parametrize("size", [100, filehash.SMALL_BYTES + 1, filehash.LARGE_BYTES + 1])
def test_a_callback_that_raises_stops_it(tmp_path: Path, size: int) -> None:
    place = tmp_path / "a"
    place.write_bytes(bytes(size))
    threads = threading.active_count()

    def stop(_: int) -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        hash_file(place, "sha256", progress=stop)
    assert threading.active_count() == threads


def test_trouble_is_named(tmp_path: Path) -> None:
    with pytest.raises(PathNotFound, match="missing"):
        hash_file(tmp_path / "missing", "sha256")
    with pytest.raises(ReadFailed, match="Is a directory"):
        hash_file(tmp_path, "sha256")


def test_no_permission(unprivileged: Path) -> None:
    (unprivileged / "a").touch(0)
    with pytest.raises(Unreadable, match="permission denied"):
        hash_file(unprivileged / "a", "sha256")


def make_tree(root: Path) -> dict[str, bytes]:
    contents = {f"small/{index}": b"%d" % index for index in range(200)}
    contents |= {"large": os.urandom(filehash.LARGE_BYTES + 1), "middle": os.urandom(600_000), "zero": b""}
    (root / "small").mkdir(parents=True)
    for path, content in contents.items():
        (root / path).write_bytes(content)
    (root / "empty").mkdir()
    (root / "link").symlink_to("zero")
    return contents


@pytest.mark.parametrize("threads", [1, 2, 7, None])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_trees(tmp_path: Path, algorithm: str, threads: int | None) -> None:
    contents = make_tree(tmp_path)
    lock, total = threading.Lock(), 0

    def count(size: int) -> None:
        nonlocal total
        with lock:
            total += size

    members = hash_tree(tmp_path, algorithm, threads=threads, progress=count)
    check_members(members)
    files = {member.path: member for member in members if member.kind is MemberKind.FILE}
    assert files.keys() == contents.keys()
    for path, content in contents.items():
        assert files[path].checksum == checksum_of(algorithm, content)
        assert files[path].size_bytes == len(content)
    others = {
        member.path: (member.kind, member.link_target) for member in members if member.path not in files
    }
    assert others == {"empty": (MemberKind.DIRECTORY, ""), "link": (MemberKind.SYMLINK, "zero")}
    assert total == sum(map(len, contents.values()))


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("change", ["grown", "touched", "replaced"])
def test_a_file_that_is_not_what_was_walked(tmp_path: Path, change: str, threads: int) -> None:
    make_tree(tmp_path)
    tree = walk_tree(tmp_path)
    place = tmp_path / "middle"
    status = place.stat()
    if change == "grown":
        place.write_bytes(place.read_bytes() + b"x")
    elif change == "touched":
        os.utime(place, ns=(0, status.st_mtime_ns + 1))
    else:
        (tmp_path / "other").write_bytes(place.read_bytes())
        (tmp_path / "other").rename(place)
    with pytest.raises(SourceChanged, match="middle"):
        hash_walked(tree, "sha256", threads=threads)


def test_a_file_that_vanished(tmp_path: Path) -> None:
    make_tree(tmp_path)
    tree = walk_tree(tmp_path)
    (tmp_path / "small" / "77").unlink()
    with pytest.raises(PathNotFound, match="small/77"):
        hash_walked(tree, "sha256", threads=2)


def test_chunks(tmp_path: Path) -> None:
    content = os.urandom(10_000)
    place = tmp_path / "a"
    place.write_bytes(content)
    assert [len(chunk) for chunk in stream_chunks(place, chunk_bytes=4096)] == [4096, 4096, 1808]
    assert b"".join(stream_chunks(place)) == content
    assert b"".join(stream_chunks(place, offset=100, length=5000, chunk_bytes=999)) == content[100:5100]
    assert b"".join(stream_chunks(place, offset=9_999, length=5000)) == content[9_999:]
    assert list(stream_chunks(place, offset=20_000)) == []
    assert list(stream_chunks(place, length=0)) == []
    with pytest.raises(PathNotFound):
        next(stream_chunks(tmp_path / "missing"))
