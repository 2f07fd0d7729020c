"""How much a store may still promise. Pure arithmetic over what was measured and what is on the books.

Two limits hold at once: the file system's, shared by all stores on it, and the store's own. Against
the first an upload counts with what it will really take there (blocks, sidecars), against the second
with its data alone, because that is what its operator counts in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

DEFAULT_FILL_FRACTION: Final = 0.95
# A sidecar, a manifest, and their folders now and then.
INODES_OF_OURS: Final = 2
# Every inode takes a block or two beyond its bytes: a rounded-up tail, a directory entry, a line of a
# manifest.
BYTES_PER_INODE: Final = 4096
NO_LIMIT: Final = 1 << 62


@dataclass(frozen=True, slots=True)
class Disk:
    """As the file system tells. Inode counts of 0 in all: it knows no such limit."""

    capacity_bytes: int
    available_bytes: int
    capacity_inodes: int
    available_inodes: int


@dataclass(frozen=True, slots=True)
class Limits:
    """The operator's. 0: none, and for the fraction its default."""

    fill_fraction: float = 0.0
    max_bytes: int = 0
    max_inodes: int = 0


@dataclass(frozen=True, slots=True)
class Amount:
    data_bytes: int = 0
    inodes: int = 0

    def __add__(self, other: Amount) -> Amount:
        return Amount(self.data_bytes + other.data_bytes, self.inodes + other.inodes)

    @property
    def footprint_bytes(self) -> int:
        return self.data_bytes + self.inodes * BYTES_PER_INODE


@dataclass(frozen=True, slots=True)
class Books:
    """`held`: datasets on this store. `promised`: all that its uploads may have, written or not, because
    they are not held yet. `to_come`: what the file system's own figures do not show yet, of the uploads
    of all stores on it.
    """

    held: Amount = Amount()
    promised: Amount = Amount()
    to_come: Amount = Amount()


@dataclass(frozen=True, slots=True)
class Promised:
    """Of one store's open uploads: all that was promised, and what of it is not written yet."""

    whole: Amount = Amount()
    to_come: Amount = Amount()


@dataclass(frozen=True, slots=True)
class Room:
    """What may still be promised: on the file system (footprints), and of the store's own limits (data)."""

    disk_bytes: int
    disk_inodes: int
    own_bytes: int
    own_inodes: int

    def has(self, want: Amount) -> bool:
        return (
            want.footprint_bytes <= self.disk_bytes
            and want.inodes <= self.disk_inodes
            and want.data_bytes <= self.own_bytes
            and want.inodes <= self.own_inodes
        )

    def without(self, want: Amount) -> Room:
        return Room(
            self.disk_bytes - want.footprint_bytes,
            self.disk_inodes - want.inodes,
            self.own_bytes - want.data_bytes,
            self.own_inodes - want.inodes,
        )

    @property
    def grantable_bytes(self) -> int:
        """The largest single file that would be granted; 0 where not even an empty one would."""
        empty = wanted(0, 1)
        if not self.has(empty):
            return 0
        return min(self.disk_bytes - empty.footprint_bytes, self.own_bytes)


def wanted(size_bytes: int, inode_count: int) -> Amount:
    """What an upload asks for, our own files for it included. An inode count of 0 means 1."""
    return Amount(size_bytes, max(inode_count, 1) + INODES_OF_OURS)


def declared_inodes(reserved_inodes: int) -> int:
    """What an upload said it will take, of the inodes `wanted` made of that; 0 where it did not say: 1 is
    also what saying nothing comes to.
    """
    said = reserved_inodes - INODES_OF_OURS
    return said if said > 1 else 0


def room(disk: Disk, limits: Limits, books: Books) -> Room:
    """Any of the four may be negative: promised or filled past the limit already."""
    fill = limits.fill_fraction or DEFAULT_FILL_FRACTION
    kept_free = disk.capacity_bytes - int(disk.capacity_bytes * fill)
    own_bytes = own_inodes = disk_inodes = NO_LIMIT
    if limits.max_bytes:
        own_bytes = int(limits.max_bytes * fill) - books.held.data_bytes - books.promised.data_bytes
    if limits.max_inodes:
        own_inodes = int(limits.max_inodes * fill) - books.held.inodes - books.promised.inodes
    if disk.capacity_inodes:
        kept_inodes = disk.capacity_inodes - int(disk.capacity_inodes * fill)
        disk_inodes = disk.available_inodes - kept_inodes - books.to_come.inodes
    return Room(
        disk_bytes=disk.available_bytes - kept_free - books.to_come.footprint_bytes,
        disk_inodes=disk_inodes,
        own_bytes=own_bytes,
        own_inodes=own_inodes,
    )


def grants(available: Room, wants: Sequence[Amount]) -> list[bool]:
    """Which of the uploads are granted, in order: a large one that does not fit stops no small one."""
    answers = []
    for want in wants:
        granted = available.has(want)
        if granted:
            available = available.without(want)
        answers.append(granted)
    return answers
