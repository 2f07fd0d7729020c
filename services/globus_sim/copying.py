"""One file from one collection into another. Blocking, for a thread; a step copies a megabyte."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from globus_sim.errors import Fault
from globus_sim.places import fault_of

STEP_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Wanted:
    """`checksum`: what the file must hash to by `algorithm`; "" for whatever it does."""

    source: Path
    destination: Path
    shown: str
    verify: bool
    preserve: bool
    checksum: str = ""
    algorithm: str = ""


def copy(wanted: Wanted) -> Iterator[int]:
    """Bytes copied, step by step; under its own name from the first on, as with Globus. Raises Fault."""
    hasher = hashlib.sha256()
    own = hashlib.new(_plain(wanted.algorithm)) if wanted.checksum else None
    try:
        status = wanted.source.stat()
        if wanted.source.is_dir():
            raise Fault("IS_A_DIRECTORY", f"{wanted.shown} is a directory")
        wanted.destination.parent.mkdir(parents=True, exist_ok=True)
        with (
            wanted.source.open("rb", buffering=0) as reading,
            wanted.destination.open("wb", buffering=0) as writing,
        ):
            while data := reading.read(STEP_BYTES):
                hasher.update(data)
                if own is not None:
                    own.update(data)
                _write(writing.fileno(), data)
                yield len(data)
            if os.fstat(reading.fileno()).st_size != status.st_size:
                raise Fault("FILE_SIZE_CHANGED", f"{wanted.shown} changed while it was read")
        if own is not None and own.hexdigest() != wanted.checksum.lower():
            raise Fault("CHECKSUM_MISMATCH", f"{wanted.shown} is not what its checksum says", fatal=True)
        if wanted.preserve:
            os.utime(wanted.destination, ns=(status.st_atime_ns, status.st_mtime_ns))
    except OSError as error:
        raise fault_of(error, wanted.shown) from error
    if wanted.verify and _hash_of(wanted.destination) != hasher.digest():
        raise Fault("CHECKSUM_MISMATCH", f"{wanted.shown} did not arrive as it was read")


def rot(place: Path) -> None:
    """One bit of it turns, behind everybody's back."""
    with place.open("r+b") as file:
        first = file.read(1)
        if first:
            file.seek(0)
            file.write(bytes([first[0] ^ 1]))


def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _hash_of(place: Path) -> bytes:
    with place.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def _plain(algorithm: str) -> str:
    return (algorithm or "md5").lower().replace("-", "")
