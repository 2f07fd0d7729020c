"""Moves verified data to its final path, never over anything, and can be done again after a crash.

A file: a second name by `link`, then the first goes; where links are not to be had, a rename that
refuses to replace. A directory: such a rename at once. Where that cannot be had either, a placeholder
(an empty file or directory) is made exclusively at the final path and the rename goes over it; a note
in `sealed` tells after a crash whose the placeholder is. What is at the final path already is known as
this upload's own by its inode.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress

from librarian.errors import LibrarianError, StagedFileChanged
from librarian.fileerrors import is_full, no_room
from librarian.kernel import Unsupported
from librarian.manifests import DatasetKind
from librarian.names import printable
from store_svc import layout
from store_svc.directories import CREATE, Parents, below, lstat, names_in
from store_svc.filesystem import FileSystem
from store_svc.identity import OpenRoot
from store_svc.owners import resolve_owner
from store_svc.records import Store, Upload

_TRIES = 3


class PlaceTaken(Exception):
    """Something that is not this upload's lies at the final path, or a file where a folder has to be."""


class Placer:
    """Moves uploads of one store; for one thread."""

    def __init__(self, filesystem: FileSystem, root: OpenRoot, store: Store, parents: Parents) -> None:
        self._filesystem = filesystem
        self._sealed = root.sealed
        self._store = store
        self._parents = parents
        self._owner = resolve_owner(store.owner)

    def place(self, upload: Upload) -> None:
        """Raises PlaceTaken, StoreFull, StagedFileChanged; OSError where the trouble may pass."""
        folders, last = layout.split_name(upload.name)
        try:
            for left in reversed(range(_TRIES)):
                try:
                    return self._place_in(self._parents.open(folders), last, upload)
                except FileNotFoundError:
                    # The folder was empty and an abort has removed it meanwhile.
                    self._parents.forget(folders)
                    if not left:
                        raise
        except (FileExistsError, NotADirectoryError) as error:
            raise PlaceTaken from error
        except OSError as error:
            if is_full(error):
                raise no_room(error, upload.name) from error
            raise

    def _place_in(self, parent: int, last: str, upload: Upload) -> None:
        uid = upload.upload_id
        status = lstat(uid, at=self._sealed)
        if status is None:
            self._check_placed_before(parent, last, upload)
        elif upload.kind is DatasetKind.FILE:
            self._finish(uid, self._sealed, status)
            self._place_file(parent, last, uid, status)
        else:
            self._finish_tree(uid)
            self._place_directory(parent, last, uid)
        with suppress(FileNotFoundError):
            os.unlink(layout.intent(uid), dir_fd=self._sealed)

    def _check_placed_before(self, parent: int, last: str, upload: Upload) -> None:
        there = lstat(last, at=parent)
        if there is None or not is_its_own(upload, there):
            raise self._lost(upload)

    def _place_file(self, parent: int, last: str, uid: str, status: os.stat_result) -> None:
        try:
            self._filesystem.link(self._sealed, uid, parent, last)
        except FileExistsError:
            there = lstat(last, at=parent)
            if there is None or (there.st_dev, there.st_ino) != (status.st_dev, status.st_ino):
                raise
        except Unsupported:
            self._rename(parent, last, uid, directory=False)
            return
        os.unlink(uid, dir_fd=self._sealed)

    def _place_directory(self, parent: int, last: str, uid: str) -> None:
        self._rename(parent, last, uid, directory=True)

    def _rename(self, parent: int, last: str, uid: str, *, directory: bool) -> None:
        try:
            self._filesystem.rename_noreplace(self._sealed, uid, parent, last)
        except Unsupported:
            self._hold_place(parent, last, uid, directory=directory)
            try:
                os.rename(uid, last, src_dir_fd=self._sealed, dst_dir_fd=parent)
            except OSError as error:
                if error.errno == errno.ENOTEMPTY:
                    raise FileExistsError(errno.EEXIST, "something was put there meanwhile", last) from error
                raise

    def _hold_place(self, parent: int, last: str, uid: str, *, directory: bool) -> None:
        """An empty placeholder of ours at the final path. FileExistsError where something else is there."""
        intent = layout.intent(uid)
        there = lstat(last, at=parent)
        noted = lstat(intent, at=self._sealed) is not None
        if there is not None:
            if noted and is_placeholder(there, directory=directory):
                return
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), last)
        if not noted:
            os.close(os.open(intent, CREATE, 0o600, dir_fd=self._sealed))
        try:
            if directory:
                os.mkdir(last, 0o700, dir_fd=parent)
            else:
                os.close(os.open(last, CREATE, 0o600, dir_fd=parent))
        except FileExistsError:
            os.unlink(intent, dir_fd=self._sealed)
            raise

    def _finish_tree(self, uid: str) -> None:
        """The modes and owner that committed data has, for all of a directory dataset."""
        found: list[list[str]] = [[uid]]
        for parts in found:
            with below(self._sealed, parts) as fd:
                for name in names_in(fd):
                    status = os.stat(name, dir_fd=fd, follow_symlinks=False)
                    if stat.S_ISDIR(status.st_mode):
                        found.append([*parts, name])
                    else:
                        self._finish(name, fd, status)
        for parts in reversed(found):
            with below(self._sealed, parts[:-1]) as fd:
                status = os.stat(parts[-1], dir_fd=fd, follow_symlinks=False)
                self._finish(parts[-1], fd, status)

    def _finish(self, name: str, at: int, status: os.stat_result) -> None:
        # Nobody else reaches `sealed`, so a name here cannot become a link between two calls.
        if self._owner is not None and not self._filesystem.give(name, self._owner, at=at):
            self._filesystem.give(name, (-1, self._owner[1]), at=at)
        if stat.S_ISLNK(status.st_mode):
            return
        directory = stat.S_ISDIR(status.st_mode)
        mode = self._store.directory_mode if directory else self._store.final_file_mode
        if stat.S_IMODE(status.st_mode) != mode:
            os.chmod(name, mode, dir_fd=at)

    def _lost(self, upload: Upload) -> LibrarianError:
        shown = printable(upload.name)
        return StagedFileChanged(
            f"the verified bytes of {shown!r} are gone from the store's own area",
            remedy="somebody removed them by hand: put the dataset again",
            upload_id=upload.upload_id,
        )


def is_its_own(upload: Upload, there: os.stat_result) -> bool:
    """Whether this is what the upload placed. Inode numbers are used again: a file has to agree in more."""
    if not upload.inode or there.st_ino != upload.inode:
        return False
    if upload.kind is DatasetKind.DIRECTORY:
        return stat.S_ISDIR(there.st_mode)
    return (there.st_size, there.st_mtime_ns) == (upload.size_bytes, upload.mtime_ns)


def is_placeholder(status: os.stat_result, *, directory: bool) -> bool:
    """Whether it may be one; a directory that is not empty refuses to be renamed over anyway."""
    if directory:
        return stat.S_ISDIR(status.st_mode)
    return stat.S_ISREG(status.st_mode) and status.st_size == 0
