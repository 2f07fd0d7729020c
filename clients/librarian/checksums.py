"""Checksums: an algorithm's name and the raw bytes of its value; as text `sha256:<hex>`."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Protocol, Self

from blake3 import blake3

from librarian.errors import AlgorithmNotAllowed, InvalidInput
from librarian.names import printable

ALGORITHMS = ("sha256", "blake3")
DEFAULT_ALGORITHM = "sha256"
CHECKSUM_BYTES = 32


class Hasher(Protocol):
    """Fed from one thread at a time. Lets go of the GIL while it works on large buffers."""

    def update(self, data: bytes | bytearray | memoryview, /) -> object: ...

    def digest(self) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Checksum:
    """Values made by hand or read from a message go through `checked`; hashers need no check."""

    algorithm: str
    value: bytes

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.value.hex()}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Of `<algorithm>:<hex>`. Raises AlgorithmNotAllowed, InvalidInput."""
        algorithm, colon, digits = text.partition(":")
        if not colon:
            raise InvalidInput(
                f"{printable(text)!r} is not a checksum",
                remedy="write it as sha256:<64 hexadecimal digits>",
            )
        check_algorithm(algorithm)
        try:
            value = bytes.fromhex(digits)
        except ValueError:
            value = b""
        return cls(algorithm, value).checked()

    def checked(self) -> Self:
        """Itself, where it can be a checksum at all. Raises AlgorithmNotAllowed, InvalidInput."""
        check_algorithm(self.algorithm)
        if len(self.value) != CHECKSUM_BYTES:
            raise InvalidInput(
                f"a {self.algorithm} checksum has {CHECKSUM_BYTES} bytes and this one has {len(self.value)}",
                remedy=f"write it as {self.algorithm}:<{2 * CHECKSUM_BYTES} hexadecimal digits>",
            )
        return self


def check_algorithm(algorithm: str) -> str:
    """The algorithm itself, where data may rest on it. Raises AlgorithmNotAllowed."""
    if algorithm not in ALGORITHMS:
        shown = printable(algorithm)
        raise AlgorithmNotAllowed(f"{shown!r} is not an algorithm data may rest on", algorithm=shown)
    return algorithm


def new_hasher(algorithm: str, *, threads: int = 1) -> Hasher:
    """`threads` only speeds blake3 up, and only on buffers of a megabyte and more."""
    if algorithm == "sha256":
        return hashlib.sha256()
    check_algorithm(algorithm)
    return blake3(max_threads=threads)


def checksum_of(algorithm: str, data: bytes | bytearray | memoryview) -> Checksum:
    """Of bytes in memory."""
    if algorithm == "sha256":
        return Checksum(algorithm, hashlib.sha256(data).digest())
    check_algorithm(algorithm)
    return Checksum(algorithm, blake3(data).digest())
