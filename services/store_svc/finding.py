"""FindTrees: what lies below the root and could be adopted."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from itertools import islice
from typing import Final

from librarian.errors import InvalidInput, PathNotFound
from librarian.globs import Glob, compile_glob
from librarian.names import check_name, printable
from store_svc import layout
from store_svc.directories import below
from store_svc.identity import OpenRoot
from store_svc.kit import Kit
from store_svc.looking import SPECIAL, walk_dataset

_PAGE: Final = 200

Found = tuple[str, int]


async def find_trees(kit: Kit, store_name: str, path: str, glob: str) -> AsyncIterator[list[Found]]:
    """Names and sizes by pages. Raises PathNotFound, InvalidName, InvalidGlob and the store's own."""
    store = await kit.store(store_name)
    pattern = compile_glob(glob) if glob else None
    if path:
        check_name(path)
    async with kit.open_root(store) as root:
        found = _matches(root, path, pattern)
        while page := await kit.threads.io(lambda: list(islice(found, _PAGE))):
            yield page


def _matches(root: OpenRoot, path: str, pattern: Glob | None) -> Iterator[Found]:
    """In the order of names; what matches is not looked into for more."""
    parts = path.split("/") if path else []
    found = _below(root.root, parts, pattern) if pattern is not None else _itself(root.root, parts)
    try:
        yield from found
    except (FileNotFoundError, NotADirectoryError) as error:
        shown = printable(path)
        raise PathNotFound(f"there is nothing at {shown!r} below the store's root", path=shown) from error


def _itself(top: int, parts: list[str]) -> Iterator[Found]:
    if not parts:
        raise InvalidInput(
            "neither a path nor a glob is given",
            remedy="the root itself cannot be a dataset: give one of them",
        )
    with below(top, parts[:-1]) as parent:
        os.stat(parts[-1], dir_fd=parent, follow_symlinks=False)
        yield "/".join(parts), _size(parent, parts[-1])


def _below(top: int, parts: list[str], pattern: Glob) -> Iterator[Found]:
    pending = [parts]
    first = True
    while pending:
        current = pending.pop()
        folders = []
        try:
            with below(top, current) as fd, os.scandir(fd) as entries:
                listed = sorted((entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries)
        except (FileNotFoundError, NotADirectoryError):
            if first:
                raise
            continue
        first = False
        for name, is_folder in listed:
            if not current and name == layout.OWN:
                continue
            path = "/".join([*current, name])
            if pattern.matches(path):
                with suppress(FileNotFoundError, NotADirectoryError), below(top, current) as fd:
                    yield path, _size(fd, name)
            elif is_folder and _may_match(pattern, path):
                folders.append([*current, name])
        pending += reversed(folders)


def _may_match(pattern: Glob, folder: str) -> bool:
    """Whether something below this folder can match: its path and the glob's plain start agree."""
    start = pattern.literal_prefix
    inside = f"{folder}/"
    return inside.startswith(start) or start.startswith(inside)


def _size(at: int, name: str) -> int:
    return sum(entry.size_bytes for entry in walk_dataset(at, name) if entry.size_bytes != SPECIAL)
