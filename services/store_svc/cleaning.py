"""Takes away what uploads left that were given up or failed, and areas that nobody uses any more."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from store_svc import removing, staging
from store_svc.identity import OpenRoot
from store_svc.kit import Kit
from store_svc.outcomes import each
from store_svc.queries import holdings as holding_queries
from store_svc.queries import moves
from store_svc.queries import uploads as queries
from store_svc.records import Store, Upload


async def clean(kit: Kit, store: Store, root: OpenRoot, uploads: Sequence[Upload]) -> None:
    """What cannot be removed now is tried again by recovery. Records of a dataset that is held otherwise
    stay; until an upload is cleaned, nothing else writes records of its dataset.
    """
    if not uploads:
        return
    kept: Collection[str] = ()
    if known := [upload.dataset_uid for upload in uploads if upload.dataset_uid]:
        async with kit.database.transaction() as connection:
            kept = await holding_queries.get_holdings(connection, store.name, known)
    outcomes = await kit.threads.io(
        each, uploads, lambda upload: removing.remove_upload(root, upload, records=upload.uid not in kept)
    )
    kit.faults.hit("clean.removed")
    done = []
    for upload, error in zip(uploads, outcomes, strict=True):
        if error is None:
            done.append(upload.upload_id)
        else:
            kit.logger.warning("upload_not_removed", upload_id=upload.upload_id, exc_info=error)
    async with kit.database.transaction() as connection:
        await moves.mark_cleaned(connection, done)


async def tidy_areas(kit: Kit, store: Store, root: OpenRoot, areas: Iterable[str]) -> None:
    """Removes those that no open upload uses."""
    async with kit.area_locks[store.name]:
        looked_at = set(areas)
        async with kit.database.transaction() as connection:
            unused = looked_at - await queries.used_areas(connection, sorted(looked_at))
        if unused:
            await kit.threads.io(staging.remove_areas, root, unused)
