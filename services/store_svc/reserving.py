"""Opens uploads: what is asked for is checked, and room for it promised, never more than there is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from librarian.checksums import check_algorithm
from librarian.errors import (
    InvalidSize,
    LibrarianError,
    StoreDisabled,
    StoreFull,
    StoreIdentity,
    UploadClosed,
    UploadTooLarge,
)
from librarian.manifests import DatasetKind
from librarian.names import check_name, printable
from store_svc import layout, staging
from store_svc.kit import Kit, together
from store_svc.lifecycle import UploadState
from store_svc.places import refused_places, taken_places
from store_svc.queries import stores as store_queries
from store_svc.queries import uploads as queries
from store_svc.records import Store, Upload, UploadSpec
from store_svc.room import Amount, Books, Disk, Promised, Room, grants, room, wanted
from store_svc.tickets import Purpose, Ticket

MAX_UPLOADS = 500


@dataclass(frozen=True, slots=True)
class Grant:
    """`rsync_address` empty: not offered."""

    staging_path: str
    proof: bytes
    ticket: str
    ticket_expires: datetime
    rsync_address: str


@dataclass(frozen=True, slots=True)
class Begun:
    """`errors`: of those refused; all others are open."""

    store: Store
    grant: Grant
    errors: dict[str, LibrarianError]


async def begin_uploads(
    kit: Kit, store_name: str, specs: Sequence[UploadSpec], *, token_id: str, subject: str
) -> Begun:
    """Raises StoreNotFound, StoreDisabled, StoreIdentity. Repeating it opens nothing twice."""
    store = await kit.store(store_name)
    errors: dict[str, LibrarianError] = {}
    for spec in specs:
        try:
            check_spec(spec, store)
        except LibrarianError as error:
            errors[spec.upload_id] = error
    area = kit.tickets.area_of(subject)
    good = [spec for spec in specs if spec.upload_id not in errors]
    taken = await taken_places(kit, store, good)
    refused = await _reserve(kit, store, area, subject, good, taken)
    if any(isinstance(error, StoreFull) for error in refused.values()):
        # What was written since it was promised counts twice until somebody looks.
        await _look_what_is_written(kit, store)
        again = [spec for spec in good if isinstance(refused.get(spec.upload_id), StoreFull)]
        refused = {
            upload_id: error for upload_id, error in refused.items() if not isinstance(error, StoreFull)
        } | await _reserve(kit, store, area, subject, again, {})
    return Begun(store, await _grant(kit, store, area, token_id, subject), errors | refused)


def check_spec(spec: UploadSpec, store: Store) -> None:
    """Raises InvalidInput, InvalidName, InvalidSize, AlgorithmNotAllowed, UploadTooLarge."""
    layout.check_uid(spec.upload_id)
    layout.check_uid(spec.uid)
    check_name(spec.name)
    check_algorithm(spec.algorithm)
    if spec.size_bytes < 0 or spec.inode_count < 0:
        raise InvalidSize(
            f"{printable(spec.name)!r} was declared with a negative size", name=printable(spec.name)
        )
    limit = store.capabilities.max_file_bytes
    if spec.kind is DatasetKind.FILE and limit and spec.size_bytes > limit:
        raise UploadTooLarge(
            f"{printable(spec.name)!r} is larger than the {limit} bytes a file may have on {store.name}",
            remedy="use a store on another file system",
            limit=limit,
        )


async def room_of(kit: Kit, store: Store, neighbours: Sequence[Store], disk: Disk) -> tuple[Room, Promised]:
    """What the store may still promise, and what it has promised. `neighbours`: all on its file system."""
    async with kit.database.transaction() as connection:
        promised = await store_queries.promised(connection, [each.name for each in neighbours])
    return _room(store, disk, promised), promised.get(store.name, Promised())


def _room(store: Store, disk: Disk, promised: dict[str, Promised]) -> Room:
    whole = promised.get(store.name, Promised()).whole
    to_come = sum((each.to_come for each in promised.values()), Amount())
    return room(disk, store.limits, Books(store.held, whole, to_come))


async def neighbours_of(kit: Kit, store: Store, device: int) -> list[Store]:
    """All stores on the same file system, this one included; their promises share its room."""
    async with kit.database.transaction() as connection:
        others = await store_queries.list_stores(connection)
    return [
        each
        for each in others
        if each.name == store.name or await kit.threads.io(_device, kit, each) == device
    ]


def _device(kit: Kit, store: Store) -> int:
    if not store.enabled:
        return -1
    try:
        return kit.roots.of(store).device()
    except StoreIdentity:
        return -1


async def _reserve(
    kit: Kit,
    store: Store,
    area: str,
    subject: str,
    specs: Sequence[UploadSpec],
    taken: Mapping[str, LibrarianError],
) -> dict[str, LibrarianError]:
    """One transaction that holds the rows of all stores on this file system: what is measured and what
    is promised belong to the same moment. `taken`, by name: why new uploads are refused.
    """
    root = kit.roots.of(store)
    names = [each.name for each in await neighbours_of(kit, store, await kit.threads.io(root.device))]
    kit.faults.hit("begin.before_reserve")
    async with kit.database.transaction() as connection:
        locked = await store_queries.lock_stores(connection, names)
        current = next(each for each in locked if each.name == store.name)
        known = await queries.get_uploads(connection, [spec.upload_id for spec in specs])
        unknown = [spec for spec in specs if spec.upload_id not in known]
        errors = await refused_places(connection, store.name, unknown, taken)
        new = [spec for spec in unknown if spec.upload_id not in errors]
        promised = await store_queries.promised(connection, names)
        available = _room(current, await kit.threads.io(root.disk), promised)
        answers = grants(available, [wanted(spec.size_bytes, spec.inode_count) for spec in new])
        granted = [spec for spec, answer in zip(new, answers, strict=True) if answer and current.ingestible]
        if granted:
            await queries.insert_uploads(connection, store.name, area, subject, granted, kit.clock.now())
    kit.faults.hit("begin.after_reserve")
    opened = {spec.upload_id for spec in granted}
    errors |= {
        spec.upload_id: _refusal(spec, current, available) for spec in new if spec.upload_id not in opened
    }
    for spec in specs:
        upload = known.get(spec.upload_id)
        if upload is not None and not _is_same(upload, spec, store, area):
            errors[spec.upload_id] = _closed(upload)
    return errors


def _is_same(upload: Upload, spec: UploadSpec, store: Store, area: str) -> bool:
    asked = (spec.uid, spec.name, spec.kind, store.name, area)
    has = (upload.uid, upload.name, upload.kind, upload.store, upload.area)
    return asked == has and upload.state is UploadState.OPEN


def _closed(upload: Upload) -> LibrarianError:
    return UploadClosed(
        f"upload {upload.upload_id} is there already, as {upload.state.name}, and cannot be opened again",
        remedy="begin again with a new upload",
        upload_id=upload.upload_id,
        state=upload.state.name,
    )


def _refusal(spec: UploadSpec, store: Store, available: Room) -> LibrarianError:
    if not store.ingestible:
        return StoreDisabled(
            f"store {store.name} takes no new data",
            remedy="`librarian store set NAME --ingestible` turns it on, or use another store",
            store=store.name,
        )
    return StoreFull(
        f"store {store.name} has no room for {printable(spec.name)!r}: {spec.size_bytes} bytes are asked for"
        f" and {available.grantable_bytes} could be granted",
        store=store.name,
        grantable_bytes=available.grantable_bytes,
    )


async def _grant(kit: Kit, store: Store, area: str, token_id: str, subject: str) -> Grant:
    proof = kit.tickets.proof_of(area)
    async with kit.area_locks[store.name], kit.open_root(store) as root:
        await kit.threads.io(staging.prepare_area, kit.filesystem, root, store, area, proof)
    ticket, expires = kit.tickets.issue(Ticket(Purpose.WRITE, area, token_id, subject), kit.clock.now())
    by_rsync = layout.staging_path(store.rsync_root, area) if store.rsync_root else ""
    return Grant(layout.staging_path(store.seen_root, area), proof, ticket, expires, by_rsync)


async def _look_what_is_written(kit: Kit, store: Store) -> None:
    device = await kit.threads.io(kit.roots.of(store).device)
    neighbours = {each.name: each for each in await neighbours_of(kit, store, device)}
    async with kit.database.transaction() as connection:
        uploads = await queries.promised_uploads(connection, list(neighbours))
    if not uploads:
        return
    sums = await together(
        *(
            kit.threads.io(_written, kit, each, [u for u in uploads if u.store == each.name])
            for each in neighbours.values()
        )
    )
    written = {upload_id: size for found in sums for upload_id, size in found.items()}
    async with kit.database.transaction() as connection:
        await queries.set_written(connection, written)


def _written(kit: Kit, store: Store, uploads: Sequence[Upload]) -> dict[str, int]:
    """Of those still staged; what is being sealed is left as promised until it is on the medium."""
    with kit.roots.of(store).open() as root:
        return {
            upload.upload_id: min(
                staging.measure(root, upload.area, upload.upload_id).size_bytes, upload.reserved_bytes
            )
            for upload in uploads
            if upload.state is UploadState.OPEN
        }
