from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from librarian.errors import (
    InvalidName,
    InvalidSize,
    KindMismatch,
    LibrarianError,
    LinkOutside,
    PathNotFound,
    SpecialFile,
    Unreadable,
)
from librarian.manifests import MemberKind
from librarian.trees import TreeEntry, walk_tree


def write(root: Path, path: str, content: bytes = b"x") -> Path:
    place = root / path
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(content)
    return place


def facts(entries: list[TreeEntry]) -> list[tuple[str, MemberKind, int, str]]:
    return [(entry.path, entry.kind, entry.size_bytes, entry.link_target) for entry in entries]


def test_everything_that_can_be_kept(tmp_path: Path) -> None:
    write(tmp_path, "b/c/file", b"12345")
    write(tmp_path, "b-1", b"")
    write(tmp_path, "é \n", b"7")
    (tmp_path / "empty" / "inner").mkdir(parents=True)
    (tmp_path / "link").symlink_to("./b//c/../c/")
    (tmp_path / "b" / "up").symlink_to("../missing")
    tree = walk_tree(tmp_path)
    assert facts(tree.entries) == [
        ("b-1", MemberKind.FILE, 0, ""),
        ("b/c/file", MemberKind.FILE, 5, ""),
        ("b/up", MemberKind.SYMLINK, 0, "../missing"),
        ("empty/inner", MemberKind.DIRECTORY, 0, ""),
        ("link", MemberKind.SYMLINK, 0, "./b//c/../c/"),
        ("é \n", MemberKind.FILE, 1, ""),
    ]
    assert tree.directories == ["b", "b/c", "empty", "empty/inner"]
    assert tree.size_bytes == 6
    assert [entry.path for entry in tree.files()] == ["b-1", "b/c/file", "é \n"]
    # Three files, two links, four directories and the root.
    assert tree.inode_count == 10


def test_what_is_recorded_of_a_file(tmp_path: Path) -> None:
    place = write(tmp_path, "a")
    place.chmod(0o640)
    os.utime(place, ns=(1, 1_700_000_000_123_456_789))
    status = place.stat()
    (entry,) = walk_tree(tmp_path).entries
    assert (entry.mode, entry.mtime_ns) == (0o640, 1_700_000_000_123_456_789)
    assert (entry.inode, entry.ctime_ns) == (status.st_ino, status.st_ctime_ns)


def test_an_empty_tree(tmp_path: Path) -> None:
    tree = walk_tree(tmp_path)
    assert (tree.entries, tree.directories, tree.size_bytes, tree.inode_count) == ([], [], 0, 1)


def test_a_link_to_a_directory_is_a_link(tmp_path: Path) -> None:
    write(tmp_path, "d/a")
    (tmp_path / "e").symlink_to("d")
    assert [entry.path for entry in walk_tree(tmp_path).entries] == ["d/a", "e"]


def make_fifo(root: Path) -> None:
    os.mkfifo(root / "bad")


def make_socket(root: Path) -> None:
    # A socket's address is short: bind it by a relative path.
    here = Path.cwd()
    os.chdir(root)
    try:
        with socket.socket(socket.AF_UNIX) as door:
            door.bind("bad")
    finally:
        os.chdir(here)


def make_link_out(root: Path) -> None:
    (root / "bad").symlink_to("../../elsewhere")


def make_absolute_link(root: Path) -> None:
    (root / "bad").symlink_to(root / "good")


def make_name_not_utf8(root: Path) -> None:
    (Path(os.fsdecode(os.fsencode(root) + b"/bad\xff"))).write_bytes(b"")


def make_link_to_name_not_utf8(root: Path) -> None:
    (root / "bad").symlink_to(os.fsdecode(b"b\xff"))


PROBLEMS = [
    (make_fifo, SpecialFile, "FIFO"),
    (make_socket, SpecialFile, "socket"),
    (make_link_out, LinkOutside, "elsewhere"),
    (make_absolute_link, LinkOutside, "outside"),
    (make_name_not_utf8, InvalidName, "UTF-8"),
    (make_link_to_name_not_utf8, InvalidName, "UTF-8"),
]


@pytest.mark.parametrize(("make", "error", "words"), PROBLEMS)
def test_what_cannot_be_kept_is_named(
    tmp_path: Path, make: object, error: type[LibrarianError], words: str
) -> None:
    assert callable(make)
    write(tmp_path, "good")
    (tmp_path / "deep").mkdir()
    make(tmp_path / "deep")
    with pytest.raises(error, match=words) as caught:
        walk_tree(tmp_path)
    assert "deep/bad" in caught.value.metadata["path"]
    assert caught.value.remedy
    caught.value.message.encode()

    problems: list[LibrarianError] = []
    tree = walk_tree(tmp_path, on_problem=problems.append)
    assert [type(problem) for problem in problems] == [error]
    assert [entry.path for entry in tree.entries] == ["good"]


def test_all_problems_are_told(tmp_path: Path) -> None:
    for make, _, _ in PROBLEMS:
        (tmp_path / make.__name__).mkdir()
        make(tmp_path / make.__name__)
    problems: list[LibrarianError] = []
    walk_tree(tmp_path, on_problem=problems.append)
    assert sorted(problem.reason for problem in problems) == sorted(error.reason for _, error, _ in PROBLEMS)


def test_a_file_without_read_permission(unprivileged: Path) -> None:
    write(unprivileged, "good")
    write(unprivileged, "bad").chmod(0)
    with pytest.raises(Unreadable, match="bad' cannot be read: permission denied"):
        walk_tree(unprivileged)


def test_a_directory_without_read_permission(unprivileged: Path) -> None:
    write(unprivileged, "bad/x")
    (unprivileged / "bad").chmod(0)
    problems: list[LibrarianError] = []
    try:
        tree = walk_tree(unprivileged, on_problem=problems.append)
    finally:
        (unprivileged / "bad").chmod(0o700)
    assert [type(problem) for problem in problems] == [Unreadable]
    assert tree.entries == []


def test_the_root_must_be_a_directory(tmp_path: Path) -> None:
    write(tmp_path, "file")
    (tmp_path / "link").symlink_to(".")
    for name in ("file", "link"):
        with pytest.raises(KindMismatch, match="not a directory"):
            walk_tree(tmp_path / name)
    with pytest.raises(PathNotFound):
        walk_tree(tmp_path / "missing")


def test_paths_too_long_for_a_member(tmp_path: Path) -> None:
    place = tmp_path
    for _ in range(11):
        place = place / ("x" * 200)
    place.mkdir(parents=True)
    with pytest.raises(InvalidName, match="bytes long"):
        walk_tree(tmp_path)


def test_more_entries_than_a_dataset_may_have(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("librarian.trees.MAX_MEMBERS", 2)
    for name in "abc":
        write(tmp_path, name)
    with pytest.raises(InvalidSize, match="3 entries"):
        walk_tree(tmp_path)
