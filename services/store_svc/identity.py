"""A store's root, opened only after its identity file was seen on it.

A wrong, unmounted or empty mount fails closed: everything goes through `StoreRoot.open`, whose
descriptors stay on the file system that was checked, even if another is mounted over it meanwhile.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Final

from librarian.errors import StoreIdentity
from store_svc import layout
from store_svc.directories import CREATE, DIRECTORY, READ, ensure_directory, opened
from store_svc.room import Disk

# The root itself may be reached through links; nothing below it may.
ROOT: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_MAX_IDENTITY_BYTES = 64 << 10


@dataclass(frozen=True, slots=True)
class OpenRoot:
    """Descriptors of the root, of `.librarian` and of its `sealed`; valid while the context lasts."""

    root: int
    own: int
    sealed: int


class StoreRoot:
    """One store's root. Cheap to open: the identity file is read again only when its inode, size or
    mtime is another.
    """

    def __init__(self, name: str, root: str, store_uid: str) -> None:
        self.name = name
        self.path = Path(root)
        self.store_uid = store_uid
        self._seen: tuple[int, ...] = ()
        self._lock_fd = -1
        self._guard = Lock()

    @contextmanager
    def open(self) -> Iterator[OpenRoot]:
        """Raises StoreIdentity."""
        fds: list[int] = []
        try:
            try:
                fds.append(os.open(self.path, ROOT))
                fds.append(os.open(layout.OWN, DIRECTORY, dir_fd=fds[0]))
                self._check(fds[1])
                fds.append(os.open(layout.SEALED, DIRECTORY, dir_fd=fds[1]))
            except OSError as error:
                raise self._refusal(f"its root {self.path} cannot be opened: {error.strerror}") from error
            self._hold_lock(fds[1])
            yield OpenRoot(*fds)
        finally:
            for fd in fds:
                os.close(fd)

    def disk(self) -> Disk:
        """As the file system tells now. Raises StoreIdentity."""
        with self.open() as opened_root:
            return measure(opened_root.root)

    def device(self) -> int:
        """Two stores with the same number share one file system's room. Raises StoreIdentity."""
        with self.open() as opened_root:
            return os.fstat(opened_root.root).st_dev

    def release(self) -> None:
        """Gives the lock up, so that the file system can be unmounted or another service can take over."""
        with self._guard:
            if self._lock_fd >= 0:
                os.close(self._lock_fd)
                self._lock_fd = -1

    def _check(self, own: int) -> None:
        status = os.stat(layout.IDENTITY, dir_fd=own, follow_symlinks=False)
        version = (status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size)
        if version == self._seen:
            return
        found = read_identity(own)
        if found is None or found.get("store_uid") != self.store_uid:
            other = "no readable identity" if found is None else f"the identity of {found.get('name')!r}"
            raise self._refusal(f"{self.path} has {other}")
        self._seen = version
        # Another file system, or the old one mounted anew: the lock has to be taken there.
        self.release()

    def _hold_lock(self, own: int) -> None:
        with self._guard:
            if self._lock_fd < 0:
                self._lock_fd = take_lock(own, self.name)

    def _refusal(self, trouble: str) -> StoreIdentity:
        return StoreIdentity(f"store {self.name}: {trouble}", store=self.name, root=self.path)


def measure(fd: int) -> Disk:
    found = os.fstatvfs(fd)
    return Disk(
        capacity_bytes=found.f_blocks * found.f_frsize,
        available_bytes=found.f_bavail * found.f_frsize,
        capacity_inodes=found.f_files,
        available_inodes=found.f_favail,
    )


def take_lock(own: int, store: str) -> int:
    """The descriptor that holds the lock: two services at work on one store would undo one another.

    Raises StoreIdentity while another process has it. The kernel gives it back when a process dies.
    """
    fd = os.open(layout.LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=own)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in {errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}:
            return fd
        os.close(fd)
        raise StoreIdentity(
            f"store {store}: another store service works on it",
            remedy="run one store service per store; stop the other one",
            store=store,
        ) from error
    return fd


def read_identity(own: int) -> dict[str, object] | None:
    """The identity file's content; None where there is none or it is not one."""
    try:
        with opened(layout.IDENTITY, at=own, flags=READ) as fd:
            found = json.loads(os.read(fd, _MAX_IDENTITY_BYTES))
    except (FileNotFoundError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def found_identity(root: Path) -> dict[str, object] | None:
    """Of a directory that may or may not be a store's root."""
    try:
        with opened(str(root), at=-1, flags=ROOT) as fd, opened(layout.OWN, at=fd) as own:
            return read_identity(own)
    except FileNotFoundError:
        return None


def make_own(root: Path) -> None:
    """The folder that everything of ours lies in."""
    with opened(str(root), at=-1, flags=ROOT) as fd:
        ensure_directory(fd, layout.OWN, layout.OWN_MODE)


def make_root(root: Path, name: str, store_uid: str) -> None:
    """Lays out `.librarian`, which is there, and writes the identity file, durably and last."""
    with opened(str(root), at=-1, flags=ROOT) as fd:
        with opened(layout.OWN, at=fd) as own:
            ensure_directory(own, layout.STAGING, layout.STAGING_PARENT_MODE)
            ensure_directory(own, layout.SEALED, layout.PRIVATE_MODE)
            ensure_directory(own, layout.SIDECARS, layout.OWN_MODE)
            ensure_directory(own, layout.MANIFESTS, layout.OWN_MODE)
            _write_identity(own, name, store_uid)
        os.fsync(fd)


def _write_identity(own: int, name: str, store_uid: str) -> None:
    content = json.dumps({"format": "librarian-store-v1", "store_uid": store_uid, "name": name}, indent=1)
    temporary = f"{layout.IDENTITY}.new"
    with suppress(FileNotFoundError):
        os.unlink(temporary, dir_fd=own)
    fd = os.open(temporary, CREATE, 0o644, dir_fd=own)
    try:
        os.write(fd, content.encode())
        os.fchmod(fd, 0o644)
        os.fsync(fd)
    finally:
        os.close(fd)
    os.rename(temporary, layout.IDENTITY, src_dir_fd=own, dst_dir_fd=own)
    os.fsync(own)
