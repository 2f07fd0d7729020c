"""Which names may stand beside which. Pure.

Everything here speaks of keys (`librarian.names.name_key`): two spellings of one name have one key.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import count

from librarian.errors import LibrarianError, NameIsPrefix, NameNormalisesAlike, NameTaken, UidTaken
from librarian.names import ancestors, printable

_MAX_CODE_POINT = 0x10FFFF
_FIRST_SURROGATE, _LAST_SURROGATE = 0xD800, 0xDFFF


@dataclass(frozen=True, slots=True)
class Identity:
    """What makes a dataset the one it is."""

    uid: str
    name: str
    kind: int
    algorithm: str
    digest: bytes

    def same_bytes(self, other: Identity) -> bool:
        return (self.kind, self.algorithm, self.digest) == (other.kind, other.algorithm, other.digest)


def refusal(claim: Identity, live: Identity) -> LibrarianError | None:
    """Why `claim` cannot be where `live` (of the same key) is; None where they are the same data."""
    if claim.name != live.name:
        return normalises_alike(claim.name, live.name)
    if claim.same_bytes(live):
        return None
    shown = printable(claim.name)
    return NameTaken(
        f"{shown!r} is another dataset already: {live.algorithm}:{live.digest.hex()}",
        name=claim.name,
        uid=live.uid,
    )


def normalises_alike(name: str, live: str) -> NameNormalisesAlike:
    return NameNormalisesAlike(
        f"{printable(name)!r} differs from a live dataset's name only in Unicode normalisation",
        name=name,
        other=live,
    )


def uid_reused(claim: Identity, other: Identity) -> UidTaken:
    """`other` has the uid, with another name, other bytes, or set aside."""
    return UidTaken(
        f"uid {claim.uid} belongs to {printable(other.name)!r} and cannot be given to "
        f"{printable(claim.name)!r} with these bytes",
        name=claim.name,
        uid=claim.uid,
        other=other.name,
    )


def is_prefix(name: str, other: str) -> NameIsPrefix:
    """`other` lies inside of `name`, or `name` inside of `other`."""
    where = "around" if len(name) < len(other) else "inside of"
    return NameIsPrefix(
        f"{printable(name)!r} would lie {where} the dataset {printable(other)!r}", name=name, other=other
    )


def directories(keys: Iterable[str]) -> set[str]:
    """Every proper ancestor of every key. A directory met before is not climbed again."""
    found: set[str] = set()
    for key in keys:
        parent = key.rpartition("/")[0]
        while parent and parent not in found:
            found.add(parent)
            parent = parent.rpartition("/")[0]
    return found


def clashes_within(keys: Sequence[str]) -> dict[int, int]:
    """Positions that cannot go together with an earlier one of the same batch: later → earlier.

    The earlier has the same key, or lies inside or around. Of those that clash the first stays.
    """
    if len(set(keys)) == len(keys) and directories(keys).isdisjoint(keys):
        return {}
    clashes: dict[int, int] = {}
    taken: dict[str, int] = {}
    below: dict[str, int] = {}
    for index, key in enumerate(keys):
        above = ancestors(key)
        earlier = taken.get(key, below.get(key))
        if earlier is None:
            earlier = next((taken[directory] for directory in above if directory in taken), None)
        if earlier is not None:
            clashes[index] = earlier
            continue
        taken[key] = index
        for directory in above:
            below.setdefault(directory, index)
    return clashes


@dataclass(frozen=True, slots=True)
class Neighbours:
    """Live names by the key they lie inside of, and live names by their own key."""

    inside: dict[str, str]
    around: dict[str, str]

    def of(self, key: str) -> str | None:
        """The live name that a dataset of this key would lie around or inside of, if any."""
        found = self.inside.get(key)
        if found is None and self.around:
            found = next((self.around[above] for above in ancestors(key) if above in self.around), None)
        return found


def after_prefix(prefix: str) -> str | None:
    """The least text that is greater than every text starting with `prefix`; None where there is none.

    By code points, which is also the order of UTF-8 bytes and of COLLATE "C".
    """
    for end in count(len(prefix) - 1, -1):
        if end < 0:
            return None
        following = ord(prefix[end]) + 1
        if _FIRST_SURROGATE <= following <= _LAST_SURROGATE:
            following = _LAST_SURROGATE + 1
        if following <= _MAX_CODE_POINT:
            return prefix[:end] + chr(following)
    return None
