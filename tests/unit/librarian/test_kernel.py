from __future__ import annotations

import errno
import fcntl
import os
import sys
import threading
from pathlib import Path

import pytest

from librarian import kernel
from librarian.kernel import Unsupported

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="what other systems lack is Unsupported there"
)


def test_rename_never_replaces(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a")
    (tmp_path / "b").write_text("b")
    with pytest.raises(FileExistsError):
        kernel.renameat2_noreplace(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "b").read_text() == "b"
    kernel.renameat2_noreplace(tmp_path / "a", tmp_path / "c")
    assert (tmp_path / "c").read_text() == "a"
    with pytest.raises(FileNotFoundError):
        kernel.renameat2_noreplace(tmp_path / "a", tmp_path / "d")


def test_rename_never_replaces_a_directory_not_even_an_empty_one(tmp_path: Path) -> None:
    (tmp_path / "a" / "x").mkdir(parents=True)
    (tmp_path / "b").mkdir()
    with pytest.raises(FileExistsError):
        kernel.renameat2_noreplace(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "a" / "x").is_dir()


def test_rename_relative_to_directories(tmp_path: Path) -> None:
    (tmp_path / "from").mkdir()
    (tmp_path / "to").mkdir()
    (tmp_path / "from" / "a").touch()
    source, destination = (os.open(tmp_path / name, os.O_RDONLY) for name in ("from", "to"))
    try:
        kernel.renameat2_noreplace("a", "b", src_dir_fd=source, dst_dir_fd=destination)
    finally:
        os.close(source)
        os.close(destination)
    assert (tmp_path / "to" / "b").exists()


def test_syncfs(tmp_path: Path) -> None:
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        kernel.syncfs(fd)
    finally:
        os.close(fd)
    with pytest.raises(OSError, match="Bad file descriptor"):
        kernel.syncfs(fd)


def test_writeback_leaves_the_bytes_as_they_are(tmp_path: Path) -> None:
    with (tmp_path / "a").open("wb") as file:
        file.write(b"x" * 100_000)
        file.flush()
        kernel.start_writeback(file.fileno(), 0, 100_000)
        kernel.start_writeback(file.fileno(), (1 << 33) + 4096, 4096)
    assert (tmp_path / "a").read_bytes() == b"x" * 100_000


def test_reflink_or_unsupported(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 8192)
    with (tmp_path / "a").open("rb") as source, (tmp_path / "b").open("wb") as destination:
        try:
            kernel.ficlone(source.fileno(), destination.fileno())
        except Unsupported:
            assert (tmp_path / "b").stat().st_size == 0
        else:
            assert (tmp_path / "b").read_bytes() == b"x" * 8192


def test_a_lease_tells_of_writers(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x")
    with (tmp_path / "a").open("rb") as reader:
        with (tmp_path / "a").open("r+b"):
            assert not kernel.read_lease(reader.fileno())
        assert kernel.read_lease(reader.fileno())
        assert fcntl.fcntl(reader.fileno(), fcntl.F_GETLEASE) == fcntl.F_RDLCK
        kernel.release_lease(reader.fileno())
        assert fcntl.fcntl(reader.fileno(), fcntl.F_GETLEASE) == fcntl.F_UNLCK


def test_a_writer_who_comes_during_a_lease_waits_and_harms_nobody(tmp_path: Path) -> None:
    """The kernel signals the holder; unhandled, that would end the process."""
    (tmp_path / "a").write_bytes(b"x")
    opened = threading.Event()

    def write() -> None:
        with (tmp_path / "a").open("r+b"):
            opened.set()

    writer = threading.Thread(target=write)
    with (tmp_path / "a").open("rb") as reader:
        assert kernel.read_lease(reader.fileno())
        writer.start()
        assert not opened.wait(0.2)
        kernel.release_lease(reader.fileno())
        assert opened.wait(30)
    writer.join()


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP])
def test_what_the_kernel_refuses_is_unsupported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setattr(kernel, "_function", lambda name: lambda *arguments: -1)
    monkeypatch.setattr("ctypes.get_errno", lambda: number)
    for attempt in (
        lambda: kernel.renameat2_noreplace(tmp_path / "a", tmp_path / "b"),
        lambda: kernel.syncfs(0),
        lambda: kernel.start_writeback(0, 0, 0),
    ):
        with pytest.raises(Unsupported) as caught:
            attempt()
        assert caught.value.errno == errno.ENOTSUP


def test_what_the_platform_lacks_is_unsupported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Unsupported, match="no_such_function"):
        kernel._function("no_such_function")
    monkeypatch.setattr(sys, "platform", "darwin")
    for attempt in (
        lambda: kernel.ficlone(0, 0),
        lambda: kernel.read_lease(0),
        lambda: kernel.release_lease(0),
    ):
        with pytest.raises(Unsupported):
            attempt()
