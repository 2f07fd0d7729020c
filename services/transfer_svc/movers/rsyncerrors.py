"""What rsync's exit tells, in the classes of the movers. Pure.

The exit code decides where it can. Codes 11 (file I/O), 12 (stream) and 23 (some not moved) cover the most
different things; there rsync prints the number of the system's error and which side met it, and nothing
else tells them apart. Code 5 (the daemon refuses) is told by text alone.
"""

from __future__ import annotations

import re
from typing import Final

from librarian.errors import (
    InvalidConfig,
    LandingInvalid,
    LibrarianError,
    ReadFailed,
    SourceVanished,
    StoreFull,
    Unavailable,
    UploadTooLarge,
)
from librarian.names import printable

# `rsync: [receiver] write failed on "...": No space left on device (28)`
_SYSTEM_ERROR = re.compile(r"^rsync: \[(?P<side>\w+)\] .*\((?P<number>\d+)\)$", re.MULTILINE)
_GONE: Final = {2, 20}
_DENIED: Final = {1, 13, 21, 30, 40}
# Those of Linux and of the BSDs.
_FULL: Final = {28, 69, 122}
_TOO_LARGE: Final = 27
_FAILED: Final = {5}
_BY_ERRNO_CODES: Final = {11, 12, 23}
_REFUSED: Final = 5
# What a code means by itself, and what to do about it; any other may pass.
_BY_CODE: Final[dict[int, tuple[type[LibrarianError], str]]] = {
    1: (InvalidConfig, "rsync 3.1 or newer is needed at both ends"),
    2: (InvalidConfig, "rsync 3.1 or newer is needed at both ends"),
    3: (LandingInvalid, ""),
    4: (InvalidConfig, "rsync 3.1 or newer is needed at both ends"),
    24: (SourceVanished, ""),
    127: (Unavailable, "install rsync at the receiver as well"),
}


def error_of(code: int, told: str, what: str) -> LibrarianError | None:
    """None for success. `told`: the last of what rsync wrote to stderr, in English; `what` was moved."""
    if code == 0:
        return None
    cls, remedy = _BY_CODE.get(code, (Unavailable, ""))
    if code in _BY_ERRNO_CODES:
        found = (_by_errno(one["side"], int(one["number"])) for one in _SYSTEM_ERROR.finditer(told))
        cls = next((one for one in found if one is not None), cls)
    elif code == _REFUSED and "max connections" not in told:
        cls = LandingInvalid
    last = printable(_first_complaint(told)) or f"exit code {code}"
    return cls(f"rsync of {printable(what)!r}: {last}", remedy=remedy, code=code)


def may_be_one_of_many(error: LibrarianError) -> bool:
    """Whether the others of a run may fare better without the one that it is about."""
    return isinstance(error, SourceVanished | ReadFailed | StoreFull | UploadTooLarge)


def _by_errno(side: str, number: int) -> type[LibrarianError] | None:
    if side == "sender":
        if number in _GONE:
            return SourceVanished
        return ReadFailed if number in _DENIED | _FAILED else None
    if number in _FULL:
        return StoreFull
    if number == _TOO_LARGE:
        return UploadTooLarge
    return LandingInvalid if number in _GONE | _DENIED else None


def _first_complaint(told: str) -> str:
    """The lines after it repeat it from the other processes."""
    lines = [line.strip() for line in told.splitlines() if line.strip()]
    complaints = (line for line in lines if line.startswith(("rsync: ", "@ERROR", "ssh: ")))
    return next(complaints, lines[-1] if lines else "")
