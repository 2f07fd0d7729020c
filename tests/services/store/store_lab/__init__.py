"""A store service in this process: real PostgreSQL, a real directory, and no gRPC in between."""

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

from librarian.checksums import Checksum
from librarian.hashing import hash_tree
from librarian.manifests import DatasetKind, tree_digest
from store_svc import layout, stores
from store_svc.app import MIGRATIONS
from store_svc.committing import Status
from store_svc.filesystem import Feature, FileSystem
from store_svc.house import House
from store_svc.kit import Kit, Threads
from store_svc.queries import tickets as ticket_queries
from store_svc.records import Capabilities, Claims, Store, StoreClass, UploadSpec
from store_svc.reserving import Begun, begin_uploads
from store_svc.tickets import TicketOffice
from svckit.clock import SystemClock, SystemIds
from svckit.database import Database
from svckit.faults import NO_FAULTS, Faults
from svckit.migrations import migrate
from svckit.sections import StoreSettings
from svckit.telemetry import get_logger


class Lab:
    """What a transfer service and a client do with one store, in few words."""

    def __init__(self, house: House, root: Path) -> None:
        self.house = house
        self.kit = house.kit
        self.root = root
        self.own = root / ".librarian"

    async def add(self, name: str = "main", root: Path | None = None, **options: object) -> Store:
        where = root or self.root
        where.mkdir(exist_ok=True)
        fields: dict[str, object] = {
            "enabled": True,
            "ingestible": True,
            "priority": 0,
            "fill_fraction": 1.0,
            "max_bytes": 0,
            "max_inodes": 0,
            "file_mode": 0o644,
            "directory_mode": 0o755,
            "staging_mode": 0o2770,
            "owner": "",
            "read_only": False,
            "client_root": "",
        }
        store = Store(
            name=name,
            store_uid="",
            root=str(where),
            store_class=StoreClass.ONLINE,
            failure_domain="box",
            capabilities=Capabilities(),
            **(fields | options),  # type: ignore[arg-type]
        )
        async with self.kit.database.transaction() as connection:
            return await stores.add_store(self.kit, connection, store)

    async def set(self, name: str = "main", **changes: object) -> None:
        async with self.kit.database.transaction() as connection:
            changed = await stores.update_store(connection, name, changes)
        self.house.store_changed(changed)

    async def begin(
        self, *specs: UploadSpec, store: str = "main", subject: str = "alice", token_id: str = "t1"
    ) -> Begun:
        return await begin_uploads(self.kit, store, list(specs), token_id=token_id, subject=subject)

    def staged(self, begun: Begun, upload_id: str) -> Path:
        return Path(begun.grant.staging_path) / upload_id

    async def commit(
        self, claims: Mapping[str, Claims], *, store: str = "main", seconds: float = 60
    ) -> dict[str, Status]:
        found = await self.house.committer.commit(store, claims, seconds=seconds)
        return {status.upload_id: status for status in found}

    async def put(
        self,
        name: str,
        content: bytes | Mapping[str, bytes],
        *,
        dataset_uid: str = "",
        meanwhile: Callable[[], object] = lambda: None,
        **options: str,
    ) -> Status:
        """Begins, stages and commits one file or tree. `meanwhile`: what happens before the commit."""
        make = a_file if isinstance(content, bytes) else a_tree
        spec = make(name, content, dataset_uid=dataset_uid)  # type: ignore[operator]
        begun = await self.begin(spec, **options)  # type: ignore[arg-type]
        if begun.errors:
            raise begun.errors[spec.upload_id]
        place = self.staged(begun, spec.upload_id)
        stage(place, content)
        meanwhile()
        store = options.get("store", "main")
        return (await self.commit({spec.upload_id: claims_of(place, content)}, store=store))[spec.upload_id]

    async def reserved(self, name: str = "main") -> int:
        found = await stores.get_store(self.kit, name)
        return found.promised.to_come.data_bytes

    async def grantable(self, name: str = "main") -> int:
        found = await stores.get_store(self.kit, name)
        assert found.room is not None
        return found.room.grantable_bytes

    def left_over(self) -> list[str]:
        """What lies in staging and sealed."""
        return sorted(
            str(path.relative_to(self.own))
            for area in (layout.STAGING, layout.SEALED)
            for path in (self.own / area).rglob("*")
        )


def a_file(name: str, content: bytes = b"", **options: object) -> UploadSpec:
    fields: dict[str, object] = {"size_bytes": len(content), "inode_count": 1, "algorithm": "sha256"}
    return UploadSpec(str(uuid.uuid4()), name, DatasetKind.FILE, **(fields | options))  # type: ignore[arg-type]


def a_tree(name: str, content: Mapping[str, bytes], **options: object) -> UploadSpec:
    size = sum(map(len, content.values()))
    fields: dict[str, object] = {
        "size_bytes": size,
        "inode_count": 2 * len(content) + 2,
        "algorithm": "sha256",
    }
    return UploadSpec(str(uuid.uuid4()), name, DatasetKind.DIRECTORY, **(fields | options))  # type: ignore[arg-type]


def stage(place: Path, content: bytes | Mapping[str, bytes]) -> None:
    """Paths ending in a slash are empty directories."""
    if isinstance(content, bytes):
        place.write_bytes(content)
        return
    place.mkdir()
    for path, data in content.items():
        if path.endswith("/"):
            (place / path).mkdir(parents=True)
        else:
            (place / path).parent.mkdir(parents=True, exist_ok=True)
            (place / path).write_bytes(data)


def claims_of(place: Path, content: bytes | Mapping[str, bytes], facts: str = "{}") -> Claims:
    if isinstance(content, bytes):
        return Claims(Checksum("sha256", hashlib.sha256(content).digest()), len(content), 1, facts)
    members = hash_tree(place, "sha256")
    return Claims(tree_digest("sha256", members), sum(m.size_bytes for m in members), len(members), facts)


@asynccontextmanager
async def a_lab(
    dsn: str,
    root: Path,
    *,
    refused: Iterable[Feature] = (),
    faults: Faults = NO_FAULTS,
    filesystem: FileSystem | None = None,
) -> AsyncIterator[Lab]:
    await migrate(dsn, "store", MIGRATIONS, "auto")
    async with Database.open(dsn, schema="store", pool_size=8, application_name="test") as database:
        async with database.transaction() as connection:
            keys = await ticket_queries.secrets_of(connection, os.urandom(32))
            revoked = await ticket_queries.revoked(connection)
        kit = Kit(
            database=database,
            clock=SystemClock(),
            ids=SystemIds(),
            faults=faults,
            logger=get_logger("store"),
            settings=StoreSettings(),
            filesystem=filesystem or FileSystem(frozenset(refused)),
            threads=Threads(2),
            tickets=TicketOffice(keys, revoked, timedelta(hours=1)),
        )
        house = House.of(kit)
        try:
            yield Lab(house, root)
        finally:
            await house.committer.close()
            kit.threads.close()
            kit.roots.close()
