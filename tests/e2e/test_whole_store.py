"""What stops a whole store, and what expires: on a site of its own."""

from __future__ import annotations

import asyncio
import tomllib
import uuid
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest
from support.eventually import eventually_blocking
from support.leftovers import nothing_left_behind
from support.raw_ingest import RawIngest

from librarian.api.common.v1 import common_pb2
from librarian.api.store.v1 import store_pb2
from librarian.api.transfer.v1 import transfer_pb2
from librarian.blocking import Librarian
from librarian.errors import LibrarianError, NoStore, StoreDisabled, StoreFull, StoreIdentity
from librarian.testing.site import Site, remove_home, temporary_home

SETTINGS = """
[transfer]
ingest_lifetime_seconds = 2
[worker]
poll_seconds = 0.3
"""


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    site = Site(temporary_home(), settings=SETTINGS)
    try:
        yield site.start()
    finally:
        site.stop()
        remove_home(site.home)


@pytest.fixture
def librarian(site: Site) -> Iterator[Librarian]:
    with site.blocking_client() as librarian:
        yield librarian


def test_too_large_for_the_store(librarian: Librarian, tmp_path: Path) -> None:
    librarian.update_store(store_pb2.Store(name="main", max_bytes=1_000_000), ["max_bytes"])
    try:
        (tmp_path / "big").write_bytes(b"x" * 2_000_000)
        with pytest.raises(StoreFull) as told:
            librarian.put(tmp_path / "big", "big")
        assert told.value.remedy
        (tmp_path / "small").write_bytes(b"x" * 1000)
        librarian.put(tmp_path / "small", "small")
    finally:
        librarian.update_store(store_pb2.Store(name="main", max_bytes=0), ["max_bytes"])
    eventually_blocking(lambda: put_works(librarian, tmp_path / "big", "big"))
    eventually_blocking(lambda: nothing_left_behind(librarian))


@pytest.mark.parametrize("field", ["ingestible", "enabled"])
def test_no_store_takes_anything(librarian: Librarian, book: Path, field: str) -> None:
    """The store itself refuses where what transfer knows of it is a moment old."""
    librarian.update_store(store_pb2.Store(name="main", **{field: False}), [field])
    try:
        with pytest.raises((NoStore, StoreDisabled)) as told:
            librarian.put(book, f"not-{field}")
        assert told.value.remedy
        eventually_blocking(lambda: nothing_left_behind(librarian))
    finally:
        librarian.update_store(store_pb2.Store(name="main", **{field: True}), [field])
    eventually_blocking(lambda: put_works(librarian, book, f"again-{field}"))


def put_works(librarian: Librarian, path: Path, name: str) -> bool:
    try:
        librarian.put(path, name)
    except (NoStore, StoreDisabled, StoreFull, StoreIdentity) as error:
        raise AssertionError(error.message) from error
    return True


def test_an_unmounted_store_fails_closed(
    site: Site, librarian: Librarian, book: Path, tmp_path: Path
) -> None:
    librarian.put(book, "before")
    away = site.store_root.with_name("away")
    site.store_root.rename(away)
    site.store_root.mkdir()
    try:
        for call in (
            lambda: librarian.put(book, "into-nothing"),
            lambda: librarian.get("before", tmp_path / "out"),
            lambda: list(librarian.scan("main")),
            lambda: librarian.verify("before"),
        ):
            with pytest.raises(LibrarianError) as told:
                call()
            assert told.value.reason in {"STORE_IDENTITY", "NO_STORE"}, told.value.message
        # Not one byte was written where the file system is not.
        assert list(site.store_root.iterdir()) == []
    finally:
        site.store_root.rmdir()
        away.rename(site.store_root)
    assert librarian.show("before").replicas[0].state == common_pb2.REPLICA_STATE_AVAILABLE
    eventually_blocking(lambda: put_works(librarian, book, "after"))


def test_another_store_in_its_place_fails_closed(site: Site, librarian: Librarian, book: Path) -> None:
    identity = site.store_root / ".librarian" / "store.json"
    ours = identity.read_text()
    [store] = librarian.stores()
    identity.write_text(ours.replace(store.store_uid, str(uuid.uuid4())))
    try:
        with pytest.raises(LibrarianError) as told:
            librarian.put(book, "onto-another")
        assert told.value.reason in {"STORE_IDENTITY", "NO_STORE"}
    finally:
        identity.write_text(ours)
    eventually_blocking(lambda: put_works(librarian, book, "onto-ours"))


def test_a_client_that_dies_leaves_nothing_for_long(site: Site, librarian: Librarian) -> None:
    """Its staging area and its reservation expire."""
    abandoned = RawIngest(site, "abandoned", b"half of it")
    abandoned.begin()
    abandoned.close()
    [store] = librarian.stores()
    assert store.usage.reserved_bytes > 0
    eventually_blocking(lambda: nothing_left_behind(librarian), what="expired")
    assert not abandoned.staged.exists()
    [ingest] = [found for found in librarian.ingests() if found.name == "abandoned"]
    assert ingest.state == transfer_pb2.INGEST_STATE_EXPIRED


async def forget(site: Site, name: str) -> None:
    """As if the catalogue had been restored from a backup that is older than the dataset."""
    settings = tomllib.loads((site.home / "run" / "catalog.toml").read_text())
    connection = await asyncpg.connect(settings["catalog"]["dsn"])
    try:
        uid = await connection.fetchval("SELECT uid FROM catalog.datasets WHERE name = $1", name)
        for table, column in (("replicas", "dataset_uid"), ("members", "dataset_uid"), ("datasets", "uid")):
            await connection.execute(f"DELETE FROM catalog.{table} WHERE {column} = $1", uid)
    finally:
        await connection.close()


def test_what_the_catalogue_has_forgotten_is_found_and_registered(
    site: Site, librarian: Librarian, book: Path
) -> None:
    librarian.put(book, "forgotten/book")
    librarian.put(book, "forgotten/not")
    asyncio.run(forget(site, "forgotten/book"))
    [finding] = [found for found in librarian.scan("main") if found.path.startswith("forgotten/")]
    assert (finding.reason, finding.path) == ("UNCATALOGUED", "forgotten/book")
    site.cli("register", "main", "--glob", "forgotten/*")
    assert not [found for found in librarian.scan("main") if found.path.startswith("forgotten/")]
    assert [dataset.name for dataset in librarian.ls("forgotten/")] == ["forgotten/book", "forgotten/not"]
    read = list(librarian.verify_store("main"))
    assert {told.report.state for told in read} == {common_pb2.REPLICA_STATE_AVAILABLE}
    assert {"forgotten/book", "forgotten/not"} <= {told.name for told in read}
