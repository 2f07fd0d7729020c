"""What becomes of datasets whose name or uid another already has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from librarian.errors import LibrarianError, Unavailable
from librarian.names import printable

from .columns import Batch
from .naming import Identity, refusal, uid_reused
from .queries import publishing as queries
from .queries.kit import Bare
from .tables import LIVE


@dataclass(frozen=True, slots=True)
class Verdict:
    """`uid`: the live dataset's; "" where there is an error."""

    uid: str = ""
    published: bool = False
    error: LibrarianError | None = None


async def judge(
    connection: Bare, batch: Batch, indexes: Sequence[int], errors: Mapping[int, LibrarianError]
) -> dict[int, Verdict]:
    """Verdicts on the datasets that were not put in, by index.

    `errors`: why some were not even tried; it counts only where the name is not theirs already, so that
    repeating a request repeats its verdicts.
    """
    rows = await queries.holders(
        connection, [batch.keys[index] for index in indexes], [batch.uids[index] for index in indexes]
    )
    by_uid = {row[0]: (Identity(*row[:5]), row[5] == LIVE) for row in rows}
    by_key = {row[6]: Identity(*row[:5]) for row in rows if row[5] == LIVE}
    verdicts = {}
    for index in indexes:
        claim = batch.identity(index)
        own, own_is_live = by_uid.get(claim.uid, (None, False))
        live = by_key.get(batch.keys[index])
        if own is not None:
            verdicts[index] = _own(claim, own, is_live=own_is_live)
        elif live is not None:
            error = refusal(claim, live)
            verdicts[index] = Verdict(error=error) if error else Verdict(live.uid)
        elif index in errors:
            verdicts[index] = Verdict(error=errors[index])
        else:
            raise Unavailable(f"{printable(claim.name)!r} has just changed hands", name=claim.name)
    return verdicts


def _own(claim: Identity, own: Identity, *, is_live: bool) -> Verdict:
    """On a dataset whose uid is in the catalogue: the same again, or another under the same uid."""
    if is_live and claim == own:
        return Verdict(claim.uid, published=True)
    return Verdict(error=uid_reused(claim, own))
