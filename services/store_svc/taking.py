"""Makes one file of an upload ours alone: taken over where that is safe, else copied.

An inode is taken over only where it is sure that nobody can write to it any more: it has one name, it
is ours (or could be made so), only its owner may write, and a lease proves that no process has it open
for writing. Otherwise its bytes go to a fresh inode. All of it may be done again after a crash.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from librarian.checksums import Checksum
from librarian.errors import LibrarianError, SpecialFile, StagedFileChanged, Unreadable, UploadTooLarge
from librarian.filehash import SMALL_BYTES, hash_descriptor
from librarian.manifests import MemberKind
from librarian.names import printable
from store_svc import layout
from store_svc.directories import CREATE, READ, lstat, remove
from store_svc.filesystem import FileSystem
from store_svc.following import EarlyChecksum
from store_svc.identity import OpenRoot
from store_svc.records import Upload

# Stands in the mode of a streamed file until its last chunk has come.
INCOMPLETE: Final = stat.S_ISVTX
_NOT_FOR_OTHERS = stat.S_IWGRP | stat.S_IWOTH | stat.S_ISUID | stat.S_ISGID


@dataclass(slots=True)
class SealedEntry:
    """One member to be; `path` is "" for a file dataset. Small files, and those hashed while they came,
    have their checksum already.
    """

    path: str
    kind: MemberKind
    size_bytes: int
    mode: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    link_target: str = ""
    checksum: Checksum | None = None
    incomplete: bool = False


class Taker:
    """The files of one upload, on their way into `sealed`. For one thread."""

    def __init__(
        self, filesystem: FileSystem, root: OpenRoot, upload: Upload, early: Mapping[str, EarlyChecksum]
    ) -> None:
        self._filesystem = filesystem
        self._sealed = root.sealed
        self._upload = upload
        self._room = upload.reserved_bytes
        self._user = os.geteuid()
        self._early = early
        self._untouched: dict[str, EarlyChecksum] = {}

    def move(self, old: int, name: str, new: int, new_name: str, path: str) -> None:
        """Takes an entry that is no directory from where clients reach it. FileNotFoundError."""
        early = self._early.get(path)
        # Looked at before the move, which changes its ctime. A write in between shows in its mtime.
        if early is not None and early.is_of(os.stat(name, dir_fd=old, follow_symlinks=False)):
            self._untouched[path] = early
        try:
            os.rename(name, new_name, src_dir_fd=old, dst_dir_fd=new)
        except PermissionError:
            # The folder is another user's: what lies in it can be read, and stays behind.
            status = os.stat(name, dir_fd=old, follow_symlinks=False)
            if stat.S_ISLNK(status.st_mode):
                os.symlink(os.readlink(name, dir_fd=old), new_name, dir_fd=new)
            else:
                self._copy(old, name, new, new_name, path)
            with suppress(PermissionError):
                os.unlink(name, dir_fd=old)

    def inspect(self, at: int, name: str, path: str) -> SealedEntry:
        """The file as it will stay, ours alone from now on."""
        fd = self._open(at, name, path)
        try:
            status = os.fstat(fd)
            self._check_regular(status, path)
            if not self._is_ours_alone(fd, status):
                self._copy(at, name, at, name, path)
                # The copy is a new inode under the old name.
                copy = self._open(at, name, path)
                os.dup2(copy, fd, inheritable=False)
                os.close(copy)
            status = os.fstat(fd)
            self._room -= status.st_size
            if self._room < 0:
                raise self._too_large()
            entry = entry_of(path, MemberKind.FILE, status)
            if status.st_size <= SMALL_BYTES:
                entry.checksum = hash_unchanged(fd, entry, self._upload.algorithm, self._shown(path))
            elif (early := self._untouched.get(path)) is not None and early.has_bytes_of(status):
                entry.checksum = early.checksum
            return entry
        finally:
            os.close(fd)

    def changed(self, path: str) -> LibrarianError:
        shown = self._shown(path)
        return StagedFileChanged(f"{shown!r} changed while it was sealed", path=shown)

    def _open(self, at: int, name: str, path: str) -> int:
        try:
            return os.open(name, READ, dir_fd=at)
        except PermissionError as error:
            shown = self._shown(path)
            raise Unreadable(f"{shown!r} was staged without permission to read it", path=shown) from error
        except OSError as error:
            status = lstat(name, at=at)
            if status is None:
                raise self.changed(path) from error
            self._check_regular(status, path)
            raise

    def _is_ours_alone(self, fd: int, status: os.stat_result) -> bool:
        if status.st_nlink != 1:
            return False
        if status.st_uid != self._user and not self._filesystem.give(fd, (self._user, -1)):
            return False
        if status.st_mode & _NOT_FOR_OTHERS:
            os.fchmod(fd, status.st_mode & 0o755)
        return self._filesystem.has_no_writer(fd)

    def _copy(self, at: int, name: str, new_at: int, new_name: str, path: str) -> None:
        """Into a fresh inode under the new name, with the mode and mtime of the old one."""
        temporary = layout.copying(self._upload.upload_id)
        source = self._open(at, name, path)
        try:
            before = os.fstat(source)
            self._check_regular(before, path)
            remove(temporary, at=self._sealed)
            destination = os.open(temporary, CREATE, 0o600, dir_fd=self._sealed)
            try:
                self._filesystem.copy(source, destination)
                os.fchmod(destination, before.st_mode & 0o755)
                os.utime(destination, ns=(before.st_atime_ns, before.st_mtime_ns))
            finally:
                os.close(destination)
            after = os.fstat(source)
        finally:
            os.close(source)
        if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
            raise self.changed(path)
        os.rename(temporary, new_name, src_dir_fd=self._sealed, dst_dir_fd=new_at)

    def _check_regular(self, status: os.stat_result, path: str) -> None:
        if stat.S_ISREG(status.st_mode):
            return
        shown = self._shown(path)
        what = "a symbolic link" if stat.S_ISLNK(status.st_mode) else "a FIFO, socket or device"
        raise SpecialFile(f"{shown!r} is {what}, which cannot be kept", path=shown)

    def _too_large(self) -> LibrarianError:
        limit = self._upload.reserved_bytes
        return UploadTooLarge(
            f"more was staged for {printable(self._upload.name)!r} than the {limit} bytes declared",
            limit=limit,
        )

    def _shown(self, path: str) -> str:
        return printable(path or self._upload.name)


def entry_of(path: str, kind: MemberKind, status: os.stat_result, link_target: str = "") -> SealedEntry:
    return SealedEntry(
        path,
        kind,
        status.st_size if kind is MemberKind.FILE else 0,
        status.st_mode & 0o777,
        status.st_mtime_ns,
        status.st_ctime_ns,
        status.st_ino,
        link_target,
        incomplete=bool(status.st_mode & INCOMPLETE),
    )


def hash_unchanged(
    fd: int,
    entry: SealedEntry,
    algorithm: str,
    name: str,
    *,
    progress: Callable[[int], None] | None = None,
    alone: bool = True,
) -> Checksum:
    """Of an open file that must be, before and after, what `entry` says. STAGED_FILE_CHANGED, READ_FAILED."""
    checksum, size = hash_descriptor(fd, algorithm, name=name, progress=progress, alone=alone)
    after = os.fstat(fd)
    if (size, after.st_mtime_ns, after.st_ctime_ns) != (entry.size_bytes, entry.mtime_ns, entry.ctime_ns):
        raise StagedFileChanged(f"{name!r} changed while it was verified", path=name)
    return checksum
