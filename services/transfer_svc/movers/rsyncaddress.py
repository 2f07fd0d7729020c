"""Addresses that rsync may be given, and which of them lie below one another. Pure.

They come from the receiver and go onto a command line, so only what is plain is taken: no option can be
made of one, and nothing in it means something to a shell or to rsync's own wildcards.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Self

from librarian.errors import LandingInvalid
from librarian.names import printable

_SCHEME = "rsync://"
_HOST = r"(?:[0-9A-Za-z_][0-9A-Za-z._-]*@)?(?:[0-9A-Za-z][0-9A-Za-z.-]*|\[[0-9A-Fa-f:.]+\])"
_DAEMON = re.compile(rf"rsync://(?P<host>{_HOST}(?::[0-9]{{1,5}})?)/(?P<path>.+)", re.DOTALL)
_SSH = re.compile(rf"(?P<host>{_HOST}):/(?P<path>.*)", re.DOTALL)
_PART = re.compile(r"[^\x00-\x1f\x7f/*?\[\]\\$`!;|&<>\"'-][^\x00-\x1f\x7f/*?\[\]\\$`!;|&<>\"']*")


@dataclass(frozen=True, slots=True)
class RsyncAddress:
    """`daemon`: rsync's own protocol, and the first part is the module; else by ssh. Parts of the path hold
    no slash and are neither `.` nor `..`.
    """

    daemon: bool
    host: str
    parts: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> Self:
        """`rsync://host[:port]/module/path` or `host:/path`. Raises LandingInvalid."""
        # As rsync does it: what begins like this is never a host of that name.
        daemon = text[: len(_SCHEME)].lower() == _SCHEME
        found = (_DAEMON if daemon else _SSH).fullmatch(text)
        if found is not None:
            parts = tuple(part for part in found["path"].rstrip("/").split("/") if part or daemon)
            if all(_PART.fullmatch(part) and part not in {".", ".."} for part in parts):
                return cls(daemon, found["host"].lower(), parts)
        shown = printable(text)
        raise LandingInvalid(
            f"{shown!r} is no address that rsync is given",
            remedy="host:/path or rsync://host[:port]/module/path, of letters, digits and the like",
            address=shown,
        )

    def __str__(self) -> str:
        path = "/".join(self.parts)
        return f"rsync://{self.host}/{path}" if self.daemon else f"{self.host}:/{path}"

    def is_below(self, root: Self) -> bool:
        same_place = (self.daemon, self.host) == (root.daemon, root.host)
        return same_place and self.parts[: len(root.parts)] == root.parts

    def child(self, name: str) -> Self:
        return replace(self, parts=(*self.parts, name))


def agreed_address(text: str, root: str) -> RsyncAddress:
    """Raises LandingInvalid unless it lies below `root` (where given)."""
    if not text:
        raise LandingInvalid("the receiver offers no address for rsync")
    address = RsyncAddress.parse(text)
    if root and not address.is_below(RsyncAddress.parse(root)):
        raise LandingInvalid(
            f"{printable(text)!r} is not below {printable(root)!r}, which was agreed",
            address=printable(text),
            root=printable(root),
        )
    return address
