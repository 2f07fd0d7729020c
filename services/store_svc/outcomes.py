"""What became of each item of a batch: done, or why not."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from librarian.errors import (
    DataLoss,
    InternalError,
    LibrarianError,
    PathHeldByUpload,
    PathTaken,
    Unavailable,
)
from librarian.fileerrors import is_full, no_room
from librarian.messages import item_error
from librarian.names import printable
from store_svc.kit import Kit
from store_svc.records import Holding, Store, StoredError, Upload

Item = TypeVar("Item")
Done = TypeVar("Done")

# These may pass: the next run takes the upload up again. Any other error is its end.
PASSING = (Unavailable, InternalError, PathHeldByUpload)


def each(items: Iterable[Item], work: Callable[[Item], Done]) -> list[Done | Exception]:
    """What `work` answered or raised, in order: one bad item never stops the others."""
    outcomes: list[Done | Exception] = []
    for item in items:
        try:
            outcomes.append(work(item))
        except Exception as error:  # noqa: BLE001 - told by `tell`, which logs what is not ours
            outcomes.append(error)
    return outcomes


def tell(kit: Kit, store: Store, upload: Upload, error: Exception) -> LibrarianError:
    """The error as it may be told to the caller; trouble of the store, and bugs, are logged."""
    if isinstance(error, LibrarianError):
        return error
    shown = printable(upload.name)
    fields = {"upload_id": upload.upload_id, "store": store.name}
    if isinstance(error, OSError):
        kit.logger.warning("store_trouble", **fields, exc_info=error)
        return Unavailable(
            f"store {store.name} could not commit {shown!r} now: {error.strerror or error}",
            remedy="it is tried again; `librarian store ls` shows how the store is",
            store=store.name,
        )
    error_id = kit.ids.new_uid()
    kit.logger.error("commit_failed", **fields, error_id=error_id, exc_info=error)
    return InternalError(f"{shown!r} could not be committed: internal error {error_id}", error_id=error_id)


def stored(error: LibrarianError) -> StoredError:
    item = item_error(error)
    return StoredError(item.code, item.reason, item.message, dict(item.metadata))


def not_durable(error: OSError, store: Store) -> LibrarianError:
    """A sync that failed says which bytes are lost to nobody, and the next one says nothing at all: what
    was to be made durable by it cannot be trusted any more.
    """
    if is_full(error):
        return no_room(error, store.root)
    return DataLoss(
        f"store {store.name} could not write to its medium: {error.strerror or error}",
        remedy="look at the medium's health, then put the dataset again",
        store=store.name,
    )


def path_error(upload: Upload, holders: Sequence[Holding]) -> LibrarianError:
    """For an upload whose place is taken, by one of `holders` or by something nobody knows."""
    others = [holder for holder in holders if holder.brought_by != upload.upload_id]
    if not others:
        return path_taken(upload.name, upload.store)
    # One with the same bytes is the one whose fate matters most to this upload.
    chosen = next((holder for holder in others if holder.digest == upload.digest), others[0])
    shown = printable(upload.name)
    return PathHeldByUpload(
        f"{shown!r} on store {upload.store} is held by {chosen.uid}",
        remedy="its fate in the catalogue decides; it is tried again",
        upload_id=chosen.brought_by,
        uid=chosen.uid,
        path=shown,
    )


def path_taken(name: str, store: str, holder: Holding | None = None) -> PathTaken:
    """For one that finds something at its place that no upload under way has put there."""
    shown = printable(name)
    if holder is None:
        return PathTaken(f"something uncatalogued lies at {shown!r} on store {store}", path=shown)
    return PathTaken(
        f"{shown!r} on store {store} is held as dataset {holder.uid}",
        remedy="`librarian show` tells what the catalogue has under that name",
        path=shown,
        uid=holder.uid,
    )
