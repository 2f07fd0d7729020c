"""ListHeld: what the store holds by its own books. Nothing of it is looked at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from librarian.errors import BatchTooLarge
from store_svc.kit import Kit
from store_svc.queries import holdings as queries
from store_svc.queries import uploads as upload_queries
from store_svc.records import Holding

MAX_UIDS: Final = 1000
# Name and uid of the last one told.
Place = tuple[str, str]


@dataclass(frozen=True, slots=True)
class HeldPage:
    """`unconfirmed`: uids whose uploads were not confirmed."""

    held: list[Holding]
    unconfirmed: frozenset[str]
    more: bool = False


async def list_held(kit: Kit, store_name: str, uids: Sequence[str], after: Place, size: int) -> HeldPage:
    """In the order of names, after `after`; those of `uids`, where there are any, at one go. Raises
    StoreNotFound, StoreDisabled, BatchTooLarge.
    """
    if len(uids) > MAX_UIDS:
        raise BatchTooLarge(f"{len(uids)} datasets; {MAX_UIDS} are allowed", limit=MAX_UIDS)
    store = await kit.store(store_name)
    async with kit.database.transaction() as connection:
        if uids:
            by_uid = await queries.get_holdings(connection, store.name, uids)
            found = sorted(by_uid.values(), key=lambda holding: (holding.name, holding.uid))
        else:
            found = await queries.holdings_after(connection, store.name, *after, size + 1)
        held = found if uids else found[:size]
        uploads = await upload_queries.known(connection, [holding.brought_by for holding in held])
    unconfirmed = frozenset(holding.uid for holding in held if holding.brought_by in uploads)
    return HeldPage(held, unconfirmed, more=len(found) > len(held))
