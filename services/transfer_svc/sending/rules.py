"""What a route may say. Pure: what is known of peers, stores and movers comes in."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final

from librarian.errors import InvalidInput
from librarian.globs import compile_glob
from transfer_svc.rules import check_tags
from transfer_svc.sending.ranking import HIGHEST, LOWEST
from transfer_svc.sending.values import RELAY, DestinationKind

WAYS: Final = ("stream", "rsync", "posix", RELAY)
# To a peer, these write where both have agreed.
_AGREED: Final = frozenset({"rsync", "posix"})
# As site.name in the settings.
_SITE_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
SETTABLE: Final = frozenset({"paused", "priority", "max_active", "max_bytes_per_second", "landing"})


def destination_kind(
    name: str, peers: Collection[str], stores: Collection[str], *, via: str
) -> DestinationKind:
    """A relay may end at a site that only the peer between knows. Raises InvalidInput: neither a peer nor a
    store of this site, or both.
    """
    is_peer, is_store = name in peers, name in stores
    if is_peer and is_store:
        raise InvalidInput(
            f"{name} is both a peer and a store here", remedy="rename one of them", field="destination"
        )
    if is_peer or is_store:
        return DestinationKind.PEER if is_peer else DestinationKind.STORE
    if via == RELAY and _SITE_NAME.fullmatch(name):
        return DestinationKind.PEER
    raise InvalidInput(
        f"{name!r} is neither a peer nor a store of this site",
        remedy="`librarian peer ls` and `librarian store ls` show what there is",
        field="destination",
    )


def check_route(
    *,
    kind: DestinationKind,
    destination: str,
    name_glob: str,
    tags: dict[str, str],
    via: str,
    landing: str,
    through: str,
    peers: Collection[str],
) -> None:
    """Raises InvalidInput, InvalidGlob."""
    if via not in WAYS:
        raise InvalidInput(f"{via!r} is no way to send", remedy=f"use one of {', '.join(WAYS)}", field="via")
    if name_glob:
        compile_glob(name_glob)
    check_tags(tags)
    check_landing(kind, via, landing)
    if via != RELAY:
        if through:
            raise InvalidInput("only a relay goes through another peer", field="through")
        return
    if kind is not DestinationKind.PEER:
        raise InvalidInput("a store of this site is not reached by a relay", field="via")
    if through == destination or through not in peers:
        raise InvalidInput(
            f"a relay goes through a peer other than {destination}",
            remedy="name the peer whose own route carries it on",
            field="through",
        )


def check_landing(kind: DestinationKind, via: str, landing: str) -> None:
    """Raises InvalidInput."""
    if via in _AGREED and kind is DestinationKind.PEER:
        if not landing:
            raise InvalidInput(
                f"{via} to a peer needs the landing that was agreed with it",
                remedy="an absolute directory for posix; host:/path or rsync://host:port/module for rsync",
                field="landing",
            )
        if via == "posix" and (not landing.startswith("/") or ".." in landing.split("/")):
            raise InvalidInput("the landing of posix is an absolute directory", field="landing")
        if via == "rsync" and ":" not in landing:
            raise InvalidInput("the landing of rsync is host:/path or rsync://...", field="landing")
    elif landing:
        raise InvalidInput("a landing belongs to posix or rsync to a peer", field="landing")


def check_limits(priority: int, max_active: int, max_bytes_per_second: int) -> None:
    """Raises InvalidInput."""
    check_priority(priority)
    for field, value in (("max_active", max_active), ("max_bytes_per_second", max_bytes_per_second)):
        if value < 0:
            raise InvalidInput(f"{field} is negative", field=field)


def check_priority(priority: int) -> None:
    if not LOWEST <= priority <= HIGHEST:
        raise InvalidInput(
            f"{priority} is no priority", remedy=f"use {LOWEST} to {HIGHEST}", field="priority"
        )
