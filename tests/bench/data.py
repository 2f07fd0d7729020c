"""Bytes to bring in, and a disk with nothing left to do."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

GIB = 1 << 30
_BLOCK_BYTES = 64 << 20


def make_file(path: Path, size: int) -> Path:
    """Random bytes that repeat every 64 MiB: no file system shares or packs them, and making them is
    quick. Durable, and in the page cache.
    """
    block = os.urandom(min(size, _BLOCK_BYTES))
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        left = size
        while left:
            file.write(block[:left])
            left -= min(left, len(block))
        file.flush()
        os.fsync(file.fileno())
    return path


def make_files(directory: Path, count: int, size: int) -> Path:
    directory.mkdir(parents=True)
    for index in range(count):
        (directory / f"part_{index:05}.g3").write_bytes(os.urandom(size))
    drain()
    return directory


def remove(path: Path) -> None:
    """A file or tree, also one that was made read-only."""
    if path.is_dir():
        for folder, _, _ in os.walk(path):
            Path(folder).chmod(0o700)
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def drain() -> None:
    """Nothing of before may be written at the cost of what is measured next."""
    os.sync()
