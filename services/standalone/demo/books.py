"""The input of the demo: a directory whose entries are datasets, on the user's own or on Python's data."""

from __future__ import annotations

import os
import shutil
import sysconfig
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

# Made by others beside the library, or by running it.
LEFT_OUT = {"site-packages", "dist-packages", "__pycache__", "ensurepip"}


@dataclass(frozen=True, slots=True)
class Books:
    """`root`'s entries are the datasets to be. `what` is for people."""

    root: Path
    what: str
    dataset_count: int
    file_count: int
    size_bytes: int


def books_of(data: Path) -> Books:
    """The user's own tree, as it is: nothing is copied or changed."""
    return _counted(data, str(data))


def books_of_python(into: Path) -> Books:
    """Python's standard library as a few dozen books: each package one; single modules by first letter."""
    library = Path(sysconfig.get_path("stdlib"))
    shelves: dict[str, list[Path]] = defaultdict(list)
    for entry in sorted(library.iterdir()):
        if entry.name in LEFT_OUT:
            continue
        if entry.is_dir():
            shelves[entry.name].append(entry)
        elif entry.is_file():
            shelves[f"modules-{entry.name[0].lower()}"].append(entry)
    for shelf, entries in shelves.items():
        for entry in entries:
            _copy(entry, into / shelf / (entry.name if entry.is_file() else ""))
    return _counted(into, f"Python's standard library, {library}")


def _copy(source: Path, destination: Path) -> None:
    """Links become what they point to: some distributions' libraries link out of the tree."""
    if source.is_file():
        destination.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, destination)
    elif source.is_dir():
        destination.mkdir(parents=True, exist_ok=True)
        for entry in source.iterdir():
            if entry.name not in LEFT_OUT:
                _copy(entry, destination / entry.name)


def _counted(root: Path, what: str) -> Books:
    files = [Path(folder, name) for folder, _, names in os.walk(root) for name in names]
    return Books(
        root=root,
        what=what,
        dataset_count=sum(1 for _ in root.iterdir()),
        file_count=len(files),
        size_bytes=sum(file.lstat().st_size for file in files),
    )
