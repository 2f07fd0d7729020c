"""Whom committed data belongs to: the `owner` option of a store."""

from __future__ import annotations

import grp
import pwd
from functools import lru_cache

from librarian.errors import InvalidStore
from librarian.names import printable

Owner = tuple[int, int]


@lru_cache(maxsize=64)
def resolve_owner(text: str) -> Owner | None:
    """User and group id of "user", "user:group" or ":group", names or numbers; -1: leave as it is.

    None for "". A user alone brings its own group. Raises InvalidStore.
    """
    if not text:
        return None
    user, colon, group = text.partition(":")
    try:
        uid, own_gid = _user(user) if user else (-1, -1)
        gid = _group(group) if group else own_gid
    except KeyError:
        uid = gid = -1
    if (uid, gid) == (-1, -1) or (colon and not group):
        raise InvalidStore(
            f"{printable(text)!r} names no user and group of this host",
            remedy='write "user", "user:group" or ":group"',
            owner=printable(text),
        )
    return uid, gid


def _user(text: str) -> Owner:
    if text.isdecimal():
        return int(text), -1
    entry = pwd.getpwnam(text)
    return entry.pw_uid, entry.pw_gid


def _group(text: str) -> int:
    return int(text) if text.isdecimal() else grp.getgrnam(text).gr_gid
