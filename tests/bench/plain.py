"""What bytes cost at least: plain loops that read, hash, write and make durable."""

from __future__ import annotations

import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from librarian.checksums import new_hasher

CHUNK_BYTES = 1 << 20


def copy_file(source: Path, destination: Path, algorithm: str) -> bytes:
    """One thread, one fsync. Answers the digest."""
    hasher = new_hasher(algorithm)
    buffer = memoryview(bytearray(CHUNK_BYTES))
    reading = os.open(source, os.O_RDONLY)
    writing = os.open(destination, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    try:
        while count := os.readv(reading, [buffer]):
            hasher.update(buffer[:count])
            write_all(writing, buffer[:count])
        os.fsync(writing)
    finally:
        os.close(reading)
        os.close(writing)
    return hasher.digest()


def copy_files(source: Path, destination: Path, algorithm: str) -> None:
    """All files of a directory, as many at once as there are cores, each with its fsync."""
    destination.mkdir()
    names = [path.name for path in source.iterdir()]

    def copy(name: str) -> None:
        copy_file(source / name, destination / name, algorithm)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(copy, names))


def copy_small_files(source: Path, destination: Path, algorithm: str) -> None:
    """One after another: read, hash, write, fsync, rename."""
    destination.mkdir()
    for name in _names(source):
        hasher = new_hasher(algorithm)
        data = (source / name).read_bytes()
        hasher.update(data)
        hasher.digest()
        temporary = destination / f".{name}"
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(destination / name)


def write_all(descriptor: int, data: memoryview) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def _names(directory: Path) -> Iterable[str]:
    return [path.name for path in sorted(directory.iterdir())]
