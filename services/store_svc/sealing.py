"""Takes an upload out of every client's reach, to sealed/<upload_id>.

A client may still hold descriptors of directories it staged. So directories are never taken over: their
entries are moved into fresh ones that nobody has ever opened. Files: see `taking`. Everything here may
be done again after a crash, and goes on where it was.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from librarian.errors import KindMismatch, LibrarianError, NothingStaged, UploadTooLarge
from librarian.fileerrors import is_full, no_room
from librarian.manifests import MAX_MEMBERS, DatasetKind, MemberKind, too_many_members
from librarian.names import check_member_path, printable
from store_svc import layout
from store_svc.claims import check_target
from store_svc.directories import below, lstat, names_in, opened
from store_svc.filesystem import FileSystem
from store_svc.following import EarlyChecksum
from store_svc.identity import OpenRoot
from store_svc.records import Upload
from store_svc.room import declared_inodes
from store_svc.taking import SealedEntry, Taker, entry_of

Parts = list[str]


@dataclass(slots=True)
class SealedTree:
    """`entries` in path order. `directory_count`: all, the top included; a file dataset has none."""

    inode: int
    entries: list[SealedEntry] = field(default_factory=list)
    directory_count: int = 0

    @property
    def size_bytes(self) -> int:
        return sum(entry.size_bytes for entry in self.entries)

    @property
    def inode_count(self) -> int:
        empty = sum(entry.kind is MemberKind.DIRECTORY for entry in self.entries)
        return len(self.entries) - empty + self.directory_count


def seal(
    filesystem: FileSystem, root: OpenRoot, upload: Upload, early: Mapping[str, EarlyChecksum]
) -> SealedTree:
    """`early`: checksums of members, by path, which count where they still hold.

    Raises what CommitUploadStatus names, or OSError where the trouble is the store's and may pass.
    """
    sealing = _Sealing(root, upload, Taker(filesystem, root, upload, early))
    try:
        return sealing.file() if upload.kind is DatasetKind.FILE else sealing.directory()
    except OSError as error:
        if is_full(error):
            raise no_room(error, upload.name) from error
        raise


class _Sealing:
    def __init__(self, root: OpenRoot, upload: Upload, taker: Taker) -> None:
        self._root = root
        self._upload = upload
        self._id = upload.upload_id
        self._taker = taker

    def file(self) -> SealedTree:
        sealed = self._root.sealed
        if lstat(self._id, at=sealed) is None:
            with self._area() as area:
                self._check_staged(area, directory=False)
                self._taker.move(area, self._id, sealed, self._id, "")
        entry = self._taker.inspect(sealed, self._id, "")
        return SealedTree(entry.inode, [entry])

    def directory(self) -> SealedTree:
        sealed, arriving = self._root.sealed, layout.arriving(self._id)
        if lstat(self._id, at=sealed) is None:
            if lstat(arriving, at=sealed) is None:
                self._arrive(arriving)
            with suppress(FileExistsError):
                os.mkdir(self._id, 0o700, dir_fd=sealed)
        if lstat(arriving, at=sealed) is not None:
            with opened(arriving, at=sealed) as source:
                self._relocate(source)
            os.rmdir(arriving, dir_fd=sealed)
        with opened(self._id, at=sealed) as fd:
            return self._inspect(fd)

    def _arrive(self, arriving: str) -> None:
        """The whole staged tree in one move. Where permissions forbid that, entry by entry."""
        with self._area() as area:
            self._check_staged(area, directory=True)
            sealed = self._root.sealed
            try:
                os.rename(self._id, arriving, src_dir_fd=area, dst_dir_fd=sealed)
            except PermissionError:
                partial = layout.partial(self._id)
                with suppress(FileExistsError):
                    os.mkdir(partial, 0o700, dir_fd=sealed)
                with opened(self._id, at=area) as source, opened(partial, at=sealed) as destination:
                    self._move_all(source, destination, remove=False)
                os.rename(partial, arriving, src_dir_fd=sealed, dst_dir_fd=sealed)

    @contextmanager
    def _area(self) -> Iterator[int]:
        try:
            with below(self._root.own, (layout.STAGING, self._upload.area)) as fd:
                yield fd
        except (FileNotFoundError, NotADirectoryError):
            raise self._nothing() from None

    def _check_staged(self, area: int, *, directory: bool) -> None:
        """Whether what the client staged is of the kind it declared. NOTHING_STAGED, KIND_MISMATCH."""
        status = lstat(self._id, at=area)
        if status is None:
            raise self._nothing()
        if stat.S_ISDIR(status.st_mode) != directory:
            wanted, found = ("a directory", "none") if directory else ("a file", "a directory")
            shown = printable(self._upload.name)
            raise KindMismatch(
                f"{shown!r} was declared as {wanted}, and what was staged is {found}",
                remedy=f"stage {wanted}, or begin again with the other kind",
                name=shown,
            )

    def _relocate(self, source: int) -> None:
        with opened(self._id, at=self._root.sealed) as destination:
            self._move_all(source, destination, remove=True)

    def _move_all(self, source: int, destination: int, *, remove: bool) -> None:
        """Moves all entries into fresh directories, and removes those they were in.

        Whatever is written into the old ones after they were listed makes their removal fail.
        """
        found: list[Parts] = [[]]
        for parts in found:
            with below(source, parts) as old, below(destination, parts) as new:
                found += self._move_one(old, new, parts)
        for parts in reversed(found[1:] if remove else []):
            try:
                with below(source, parts[:-1]) as above:
                    os.rmdir(parts[-1], dir_fd=above)
            except OSError as error:
                raise self._taker.changed("/".join(parts)) from error
        if remove and names_in(source):
            raise self._taker.changed("")

    def _move_one(self, old: int, new: int, parts: Parts) -> list[Parts]:
        folders = []
        for name in names_in(old):
            path = check_member_path("/".join([*parts, name]))
            status = os.stat(name, dir_fd=old, follow_symlinks=False)
            if stat.S_ISDIR(status.st_mode):
                with suppress(FileExistsError):
                    os.mkdir(name, 0o700, dir_fd=new)
                # What is recorded of an empty directory is what the client gave it.
                os.chmod(name, stat.S_IMODE(status.st_mode) & 0o777 | 0o700, dir_fd=new)
                os.utime(name, ns=(status.st_atime_ns, status.st_mtime_ns), dir_fd=new)
                folders.append([*parts, name])
            else:
                try:
                    self._taker.move(old, name, new, name, path)
                except FileNotFoundError as error:
                    raise self._taker.changed(path) from error
        return folders

    def _inspect(self, top: int) -> SealedTree:
        tree = SealedTree(os.fstat(top).st_ino)
        found: list[Parts] = [[]]
        for parts in found:
            tree.directory_count += 1
            with below(top, parts) as fd:
                found += self._inspect_one(fd, parts, tree)
            if len(tree.entries) > MAX_MEMBERS:
                raise too_many_members(len(tree.entries))
        self._check_inodes(tree.inode_count)
        tree.entries.sort(key=lambda entry: entry.path)
        return tree

    def _inspect_one(self, fd: int, parts: Parts, tree: SealedTree) -> list[Parts]:
        folders = []
        names = names_in(fd)
        if not names and parts:
            tree.entries.append(entry_of("/".join(parts), MemberKind.DIRECTORY, os.fstat(fd)))
        for name in names:
            path = "/".join([*parts, name])
            status = os.stat(name, dir_fd=fd, follow_symlinks=False)
            if stat.S_ISDIR(status.st_mode):
                folders.append([*parts, name])
            elif stat.S_ISLNK(status.st_mode):
                target = check_target(os.readlink(name, dir_fd=fd), path)
                tree.entries.append(entry_of(path, MemberKind.SYMLINK, status, target))
            else:
                tree.entries.append(self._taker.inspect(fd, name, path))
        return folders

    def _check_inodes(self, found: int) -> None:
        declared = declared_inodes(self._upload.reserved_inodes)
        if declared and found > declared:
            raise UploadTooLarge(
                f"{found} entries were staged for {printable(self._upload.name)!r}, more than the {declared}"
                " declared",
                limit=declared,
            )

    def _nothing(self) -> LibrarianError:
        shown = printable(self._upload.name)
        return NothingStaged(f"nothing was staged for {shown!r}", upload_id=self._id)
