"""From parts to what people see: by rename, and over nothing unless told to. Blocking, for a thread."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from librarian.errors import DestinationExists
from librarian.fetch.parts import finish
from librarian.fetch.target import Target
from librarian.kernel import Unsupported, renameat2_noreplace
from librarian.manifests import DatasetKind, Member, MemberKind
from librarian.names import printable


def make_directories(target: Target, members: Iterable[Member]) -> None:
    """In the part directory, ahead of the files."""
    made = set()
    for member in members:
        path = member.path if member.kind is MemberKind.DIRECTORY else member.path.rpartition("/")[0]
        if path not in made:
            made.add(path)
            target.part_of(path).mkdir(parents=True, exist_ok=True)


def make_links(target: Target, members: Iterable[Member]) -> None:
    """After the files, so that no file is written through a link."""
    for member in members:
        if member.kind is MemberKind.SYMLINK:
            link = target.part_of(member.path)
            link.unlink(missing_ok=True)
            link.symlink_to(member.link_target)


def place(target: Target, members: Sequence[Member], umask: int, *, force: bool) -> None:
    if target.kind is DatasetKind.FILE:
        _move(target.part, target.final, force=force)
        return
    _remove_others(target, members)
    for member in members:
        if member.kind is MemberKind.DIRECTORY:
            finish(target.part_of(member.path), member, umask)
    if not os.path.lexists(target.final):
        _move(target.part, target.final, force=False)
        return
    for member in members:
        final = target.final_of(member.path)
        if member.kind is MemberKind.DIRECTORY:
            final.mkdir(parents=True, exist_ok=True)
        else:
            final.parent.mkdir(parents=True, exist_ok=True)
            _move(target.part_of(member.path), final, force=force)
    shutil.rmtree(target.part)


def _remove_others(target: Target, members: Sequence[Member]) -> None:
    """What an earlier, interrupted get of other members left unfinished must not appear."""
    wanted = {os.fspath(target.part_of(member.path)) for member in members}
    for directory, names, files in os.walk(target.part, topdown=False):
        for name in (*files, *names):
            found = Path(directory, name)
            if os.fspath(found) in wanted:
                continue
            if found.is_symlink() or name in files:
                found.unlink()
            elif not any(found.iterdir()):
                found.rmdir()


def _move(part: Path, final: Path, *, force: bool) -> None:
    if force:
        part.replace(final)
        return
    try:
        with suppress(Unsupported):
            renameat2_noreplace(part, final)
            return
    except FileExistsError:
        raise _appeared(final) from None
    # Without help from the file system a race with another program is lost, but nothing else.
    if os.path.lexists(final):
        raise _appeared(final)
    part.rename(final)


def _appeared(final: Path) -> DestinationExists:
    shown = printable(str(final))
    return DestinationExists(f"{shown!r} appeared meanwhile", path=shown)
