"""Bytes that come as streams of chunks: what WriteUpload does with them, in threads.

A file is marked incomplete in its mode until its last chunk has come, so that GetUpload can tell.
"""

from __future__ import annotations

import errno
import os
import stat
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from threading import Lock
from typing import Final

from librarian import kernel
from librarian.errors import (
    InvalidInput,
    LibrarianError,
    OffsetMismatch,
    PathTaken,
    Unavailable,
    UploadTooLarge,
)
from librarian.fileerrors import is_full, no_room
from librarian.manifests import MemberKind
from librarian.names import printable
from store_svc import layout
from store_svc.chunks import Chunk, check_chunk
from store_svc.directories import (
    CREATE_AND_READ,
    DIRECTORY,
    ensure_directory,
    lstat,
    open_below,
    remove,
    stands_exactly,
)
from store_svc.filesystem import FileSystem, write_all
from store_svc.following import FOLLOWED_BYTES, Follower, Start
from store_svc.openupload import OpenUpload
from store_svc.taking import INCOMPLETE

_KEPT_OPEN: Final = 8
_WRITEBACK_BYTES: Final = 16 << 20
_IN_THE_WAY: Final = {errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.EEXIST, errno.ENOTEMPTY}
_DEFAULT_MODE: Final = 0o644
_APPEND: Final = os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


@dataclass(slots=True)
class _File:
    """`whole`: every byte of it came here, in order."""

    fd: int
    size: int
    flushed: int = 0
    whole: bool = False
    follower: Follower | None = None

    def close(self) -> None:
        if self.follower is not None:
            self.follower.stop()
        os.close(self.fd)


class WriteSession:
    """One stream. Its lock is held while chunks are written, so closing an upload waits for those under
    way, and no descriptor of ours outlives it: a sealed file must have no writer.
    """

    def __init__(self, filesystem: FileSystem, start: Start) -> None:
        self._filesystem = filesystem
        self._start = start
        self._lock = Lock()
        self._files: OrderedDict[tuple[str, str], _File] = OrderedDict()
        self._folder: tuple[tuple[str, ...], int] | None = None
        self._joined: set[OpenUpload] = set()
        self.written_bytes = 0
        self.member_count = 0

    def write(self, chunks: Sequence[tuple[OpenUpload, Chunk]]) -> None:
        """In order. Raises what WriteUpload is documented to raise."""
        with self._lock:
            for target, chunk in chunks:
                if target.closed or target not in self._joined:
                    target.join(self)
                    self._joined.add(target)
                try:
                    self._write(target, chunk)
                except OSError as error:
                    raise _told(error, target, chunk) from error

    def drop(self, upload_id: str) -> None:
        """Closes the files of one upload."""
        with self._lock:
            self._close(key for key in list(self._files) if key[0] == upload_id)

    def close(self) -> None:
        with self._lock:
            self._close(list(self._files))
            if self._folder is not None:
                os.close(self._folder[1])
                self._folder = None
            for target in self._joined:
                target.leave(self)

    def _close(self, keys: Iterable[tuple[str, str]]) -> None:
        for key in keys:
            self._files.pop(key).close()

    def _write(self, target: OpenUpload, chunk: Chunk) -> None:
        check_chunk(target.upload.kind, chunk)
        if chunk.kind is MemberKind.FILE:
            self._write_file(target, chunk)
        elif chunk.kind is MemberKind.SYMLINK:
            folder, last = self._place(target, chunk.path)
            remove(last, at=folder)
            os.symlink(chunk.link_target, last, dir_fd=folder)
        else:
            self._open_folder(target, chunk.path.split("/") if chunk.path else [])
        if chunk.last or chunk.kind is not MemberKind.FILE:
            self.member_count += 1
        self.written_bytes += len(chunk.data)

    def _write_file(self, target: OpenUpload, chunk: Chunk) -> None:
        file = self._file(target, chunk)
        end = chunk.offset + len(chunk.data)
        with target.growing:
            _catch_up(file, chunk)
            grows = max(end - file.size, 0)
            if target.written_bytes + grows > target.upload.reserved_bytes:
                limit = target.upload.reserved_bytes
                raise UploadTooLarge(
                    f"more comes for {printable(target.upload.name)!r} than the {limit} bytes declared",
                    limit=limit,
                )
            if chunk.offset < file.size:
                file.whole = False
            write_all(file.fd, chunk.data, chunk.offset)
            file.size += grows
            target.written_bytes += grows
        if chunk.last:
            self._finish(target, chunk, file, end)
            return
        if file.size - file.flushed >= _WRITEBACK_BYTES:
            with suppress(kernel.Unsupported):
                kernel.start_writeback(file.fd, file.flushed, file.size - file.flushed)
            file.flushed = file.size
        self._follow(target, chunk, file)

    def _follow(self, target: OpenUpload, chunk: Chunk, file: _File) -> None:
        """Has a large file hashed while it grows."""
        if file.follower is not None:
            if file.whole:
                file.follower.written(file.size)
            else:
                file.follower.give_up()
        elif file.whole and file.size >= FOLLOWED_BYTES:
            file.follower = Follower(self._filesystem, file.fd, target.upload.algorithm, self._start)
            target.follow(chunk.path, file.follower)
            file.follower.written(file.size)

    def _finish(self, target: OpenUpload, chunk: Chunk, file: _File, end: int) -> None:
        if file.size > end:
            os.ftruncate(file.fd, end)
            target.written_bytes -= file.size - end
        os.fchmod(file.fd, chunk.mode & 0o777 or _DEFAULT_MODE)
        if chunk.mtime_ns:
            os.utime(file.fd, ns=(chunk.mtime_ns, chunk.mtime_ns))
        if file.follower is not None and file.whole and (early := file.follower.finish(end)):
            target.early[chunk.path] = early
        self._close([(chunk.upload_id, chunk.path)])

    def _file(self, target: OpenUpload, chunk: Chunk) -> _File:
        key = (chunk.upload_id, chunk.path)
        file = self._files.get(key)
        if chunk.offset == 0:
            if file is not None:
                self._close([key])
            file = self._create(target, chunk)
            self._keep(key, file)
        elif file is None:
            file = self._reopen(target, chunk)
            self._keep(key, file)
        return file

    def _keep(self, key: tuple[str, str], file: _File) -> None:
        self._files[key] = file
        if len(self._files) > _KEPT_OPEN:
            self._files.popitem(last=False)[1].close()

    def _create(self, target: OpenUpload, chunk: Chunk) -> _File:
        """A fresh file: what was there is another attempt's, or was planted."""
        folder, last = self._place(target, chunk.path)
        target.begin_anew(chunk.path)
        mode = 0o600 | INCOMPLETE
        try:
            return _File(os.open(last, CREATE_AND_READ, mode, dir_fd=folder), 0, whole=True)
        except FileExistsError:
            if not target.store.capabilities.case_sensitive and not stands_exactly(last, at=folder):
                shown = printable(chunk.path)
                raise PathTaken(
                    f"{shown!r} and another entry are one file on store {target.store.name}, which takes"
                    " upper and lower case for the same",
                    remedy="rename one of them, or use a store on another file system",
                    path=shown,
                ) from None
        status = lstat(last, at=folder)
        if status is not None and stat.S_ISREG(status.st_mode):
            target.written_bytes = max(target.written_bytes - status.st_size, 0)
        remove(last, at=folder)
        return _File(os.open(last, CREATE_AND_READ, mode, dir_fd=folder), 0, whole=True)

    def _reopen(self, target: OpenUpload, chunk: Chunk) -> _File:
        """To go on with a file of an earlier stream; one that came another way is begun again."""
        folder, last = self._place(target, chunk.path)
        target.begin_anew(chunk.path)
        try:
            fd = os.open(last, _APPEND, dir_fd=folder)
        except OSError as error:
            # It would block while another stream is just taking the lease that `begin_anew` ends.
            if is_full(error) or isinstance(error, BlockingIOError):
                raise
            raise _mismatch(chunk, 0) from error
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1 or status.st_uid != os.geteuid():
            os.close(fd)
            raise _mismatch(chunk, 0)
        os.fchmod(fd, 0o600 | INCOMPLETE)
        return _File(fd, status.st_size, status.st_size)

    def _place(self, target: OpenUpload, path: str) -> tuple[int, str]:
        """The folder of a member, made where missing and valid until the next call, and its last part."""
        if not path:
            return self._open_folder(target, None), target.upload.upload_id
        *folders, last = path.split("/")
        return self._open_folder(target, folders), last

    def _open_folder(self, target: OpenUpload, folders: Sequence[str] | None) -> int:
        """Below the upload's own folder, or for None the area itself."""
        inside = () if folders is None else (target.upload.upload_id, *folders)
        key = (target.store.name, target.upload.area, *inside)
        if self._folder is not None:
            if self._folder[0] == key and os.fstat(self._folder[1]).st_nlink:
                return self._folder[1]
            os.close(self._folder[1])
            self._folder = None
        with target.root.open() as root:
            fd = open_below(root.own, (layout.STAGING, target.upload.area))
        for part in inside:
            try:
                ensure_directory(fd, part, target.store.staging_mode)
                below = os.open(part, DIRECTORY, dir_fd=fd)
            finally:
                os.close(fd)
            fd = below
        self._folder = (key, fd)
        return fd


def _catch_up(file: _File, chunk: Chunk) -> None:
    """With what another stream has done to the file: one whose end nobody has noticed yet may still write.
    Raises OffsetMismatch.
    """
    status = os.fstat(file.fd)
    if not status.st_nlink:
        raise _mismatch(chunk, 0)
    if status.st_size != file.size:
        file.size, file.whole = status.st_size, False
    if chunk.offset > file.size:
        raise _mismatch(chunk, file.size)


def _mismatch(chunk: Chunk, persisted: int) -> OffsetMismatch:
    shown = printable(chunk.path)
    return OffsetMismatch(
        f"a chunk of {shown!r} goes to offset {chunk.offset}, and {persisted} bytes are there",
        path=shown,
        persisted_bytes=persisted,
    )


def _told(error: OSError, target: OpenUpload, chunk: Chunk) -> LibrarianError:
    shown = printable(chunk.path or target.upload.name)
    if is_full(error):
        return no_room(error, target.upload.name)
    if error.errno == errno.EFBIG:
        return UploadTooLarge(
            f"{shown!r} is larger than store {target.store.name} can have files", path=shown
        )
    if error.errno in _IN_THE_WAY:
        return InvalidInput(
            f"{shown!r} cannot be staged: another entry stands where it, or a folder of its, has to be",
            remedy="begin again with a new upload",
            path=shown,
        )
    return Unavailable(f"{shown!r} could not be written: {error.strerror or error}", path=shown)
