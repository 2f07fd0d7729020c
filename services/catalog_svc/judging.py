"""What becomes of datasets whose name or uid another already has. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from librarian.errors import LibrarianError, Unavailable
from librarian.names import printable

from .columns import Batch
from .naming import Identity, refusal, uid_reused


@dataclass(frozen=True, slots=True)
class Verdict:
    """`uid`: the live dataset's; "" where there is an error."""

    uid: str = ""
    published: bool = False
    error: LibrarianError | None = None


@dataclass(frozen=True, slots=True)
class Holder:
    """Who has a name or a uid; `key` is the name's, `store` the one it was published on."""

    identity: Identity
    key: str
    is_live: bool
    store: str = ""


def judge(
    batch: Batch, indexes: Sequence[int], holders: Iterable[Holder], errors: Mapping[int, LibrarianError]
) -> dict[int, Verdict]:
    """Verdicts on the datasets that were not put in, by index.

    `errors`: why some were not even tried; it counts only where the name is not theirs already, so that
    repeating a request repeats its verdicts. Raises Unavailable where a name has changed hands meanwhile.
    """
    by_uid = {holder.identity.uid: holder for holder in holders}
    by_key = {holder.key: holder.identity for holder in by_uid.values() if holder.is_live}
    verdicts = {}
    for index in indexes:
        claim = batch.identity(index)
        own = by_uid.get(claim.uid)
        live = by_key.get(batch.keys[index])
        if own is not None:
            verdicts[index] = _own(claim, batch.stores[index], own)
        elif live is not None:
            error = refusal(claim, live)
            verdicts[index] = Verdict(error=error) if error else Verdict(live.uid)
        elif index in errors:
            verdicts[index] = Verdict(error=errors[index])
        else:
            raise Unavailable(f"{printable(claim.name)!r} has just changed hands", name=claim.name)
    return verdicts


def _own(claim: Identity, store: str, own: Holder) -> Verdict:
    """On a dataset whose uid is in the catalogue: the same publication again, the same dataset on another
    store, or another dataset under the same uid.
    """
    if own.is_live and claim == own.identity:
        return Verdict(claim.uid, published=store == own.store)
    return Verdict(error=uid_reused(claim, own.identity))
