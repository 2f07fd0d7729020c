"""Which store a new dataset goes to. Pure: what the stores said of themselves comes in, a plan goes out."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum

from librarian.errors import LibrarianError, NoStore, StoreFull, StoreNotFound, Unavailable


class StoreClass(IntEnum):
    """As store.v1.StoreClass."""

    UNSPECIFIED = 0
    ONLINE = 1
    ARCHIVE = 2
    DISK = 3
    SCRATCH = 4


# A disk is packed for a journey and scratch counts for nothing: new data goes there only when asked.
_TAKES_NEW_DATA = frozenset({StoreClass.UNSPECIFIED, StoreClass.ONLINE, StoreClass.ARCHIVE})


@dataclass(frozen=True, slots=True)
class StoreView:
    """What placement needs of a store; `max_file_bytes` 0 means no limit.

    Inodes are left to the store's own answer: some file systems cannot count them.
    """

    name: str
    priority: int = 0
    enabled: bool = True
    ingestible: bool = True
    trouble: str = ""
    store_class: StoreClass = StoreClass.ONLINE
    grantable_bytes: int = 0
    max_file_bytes: int = 0
    failure_domain: str = ""


@dataclass(frozen=True, slots=True)
class Wanted:
    """One dataset in search of a store. `refused_by`: stores that said STORE_FULL or worse already."""

    index: int
    size_bytes: int
    is_file: bool
    refused_by: frozenset[str] = frozenset()


@dataclass(slots=True)
class Plan:
    """Item indices by store, and the reason for each item that no store takes."""

    by_store: dict[str, list[int]] = field(default_factory=dict)
    errors: dict[int, LibrarianError] = field(default_factory=dict)


def why_closed(store: StoreView, *, asked_for: bool) -> str:
    """Why the store takes no new data at all; empty where it does."""
    if store.trouble:
        return store.trouble
    if not store.enabled:
        return "is disabled"
    if not store.ingestible:
        return "is drained"
    if not asked_for and store.store_class not in _TAKES_NEW_DATA:
        return f"is of class {store.store_class.name.lower()} and takes new data only when named"
    return ""


def place(
    items: Sequence[Wanted],
    stores: Collection[StoreView],
    *,
    only: str = "",
    silent: Mapping[str, str] | None = None,
) -> Plan:
    """Fills the stores in order of priority; an item goes to the first that takes it and has room left.

    `only` restricts to one store. `silent` names store services that did not answer, with the reason:
    while there is one, "no such store" and "no store" are not certain and the error says try again.
    """
    silent = silent or {}
    plan = Plan()
    asked_for = bool(only)
    candidates = [store for store in stores if not only or store.name == only]
    closed = {store.name: why_closed(store, asked_for=asked_for) for store in candidates}
    usable = sorted(
        (store for store in candidates if not closed[store.name]),
        key=lambda store: (store.priority, store.name),
    )
    if not usable:
        error = _nowhere(only, closed, silent)
        plan.errors = {item.index: error for item in items}
        return plan
    room = {store.name: store.grantable_bytes for store in usable}
    for item in items:
        for store in usable:
            if (
                room[store.name] >= item.size_bytes
                and store.name not in item.refused_by
                and not (item.is_file and 0 < store.max_file_bytes < item.size_bytes)
            ):
                room[store.name] -= item.size_bytes
                plan.by_store.setdefault(store.name, []).append(item.index)
                break
        else:
            plan.errors[item.index] = _no_room(item, usable)
    return plan


def _nowhere(only: str, closed: Mapping[str, str], silent: Mapping[str, str]) -> LibrarianError:
    if silent and not closed:
        service, reason = next(iter(silent.items()))
        return Unavailable(f"store service {service} does not answer: {reason}", store_service=service)
    if only and not closed:
        return StoreNotFound(f"there is no store {only}", store=only)
    if not closed:
        return NoStore(
            "this site has no store", remedy="`librarian store add NAME ROOT` makes a directory one"
        )
    told = "; ".join(f"{name}: {reason}" for name, reason in sorted(closed.items()))
    return NoStore(f"no store takes new data ({told})", stores=",".join(sorted(closed)))


def _no_room(item: Wanted, usable: Sequence[StoreView]) -> StoreFull:
    best = max(usable, key=lambda store: store.grantable_bytes)
    return StoreFull(
        f"no store has room for {item.size_bytes} bytes; {best.name} has the most: {best.grantable_bytes}",
        size_bytes=item.size_bytes,
        store=best.name,
    )
