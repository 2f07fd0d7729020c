"""Bad input: each a clear error with a remedy, nothing lost, nothing left behind."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from support.eventually import eventually_blocking

from librarian.api.store.v1 import store_pb2
from librarian.api.transfer.v1 import transfer_pb2
from librarian.blocking import Librarian
from librarian.errors import (
    InvalidName,
    LibrarianError,
    LinkOutside,
    NameOutsidePrefix,
    NoStore,
    PathTaken,
    RoleMayNot,
    SpecialFile,
    StoreFull,
    StoreIdentity,
    TokenInvalid,
    Unauthenticated,
    Unreadable,
)
from librarian.testing.shared import SharedSite
from librarian.testing.site import Site

OPEN_STATES = [
    transfer_pb2.INGEST_STATE_OPEN,
    transfer_pb2.INGEST_STATE_COMMITTING,
    transfer_pb2.INGEST_STATE_STORED,
]


def nothing_left_behind(librarian: Librarian, store: str = "main") -> bool:
    """No ingest open, nothing reserved, nothing staged."""
    [found] = [each for each in librarian.stores() if each.name == store]
    staging = Path(found.root) / ".librarian" / "staging"
    assert not [path for batch in staging.iterdir() for path in batch.iterdir()], "staged"
    assert not list(librarian.ingests(OPEN_STATES)), "open"
    assert found.usage.reserved_bytes == 0, "reserved"
    return True


@pytest.mark.parametrize(
    "name",
    [
        "",
        "/absolute",
        "a/../b",
        "..",
        ".",
        "a//b",
        "a/./b",
        "a/",
        "a\0b",
        "x" * 3000,
        "a/" + "y" * 256,
        ".librarian/x",
    ],
)
def test_names_that_are_none(librarian: Librarian, book: Path, name: str) -> None:
    with pytest.raises(InvalidName) as told:
        librarian.put(book, name)
    assert told.value.remedy


def test_a_name_that_is_no_utf8(librarian: Librarian, book: Path) -> None:
    with pytest.raises(InvalidName):
        librarian.put(book, os.fsdecode(b"caf\xe9"))


def _fifo(path: Path) -> None:
    os.mkfifo(path / "data" / "pipe")


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        # Bound by a short relative path: the test's directory may be too long for a socket.
        here = Path.cwd()
        os.chdir(path / "data")
        try:
            server.bind("pipe")
        finally:
            os.chdir(here)


def _outside(path: Path) -> None:
    (path / "data" / "pipe").symlink_to("../../elsewhere")


@pytest.mark.parametrize(
    ("spoil", "error"), [(_fifo, SpecialFile), (_socket, SpecialFile), (_outside, LinkOutside)]
)
def test_a_tree_with_what_cannot_be_kept(
    librarian: Librarian,
    librarian_site: SharedSite,
    book: Path,
    spoil: Callable[[Path], None],
    error: type[LibrarianError],
) -> None:
    spoil(book)
    with pytest.raises(error, match="data/pipe"):
        librarian.put(book, librarian_site.new_name("book"))
    assert list(librarian.ls(librarian_site.prefix)) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_tree_with_an_unreadable_file(librarian: Librarian, librarian_site: SharedSite, book: Path) -> None:
    (book / "M_index.yaml").chmod(0)
    with pytest.raises(Unreadable, match=r"M_index\.yaml"):
        librarian.put(book, librarian_site.new_name("book"))


def test_a_path_taken_by_something_uncatalogued(
    librarian: Librarian, librarian_site: SharedSite, book: Path
) -> None:
    (librarian_site.store_root / librarian_site.prefix).mkdir()
    theirs = librarian_site.store_root / librarian_site.new_name("taken")
    theirs.mkdir()
    (theirs / "precious").write_text("not ours")
    with pytest.raises(PathTaken, match="taken"):
        librarian.put(book, librarian_site.new_name("taken"))
    assert (theirs / "precious").read_text() == "not ours"
    in_the_way = librarian_site.store_root / librarian_site.new_name("file")
    in_the_way.write_text("a file where a directory would have to be")
    with pytest.raises(PathTaken):
        librarian.put(book, librarian_site.new_name("file/below"))
    assert list(librarian.ls(librarian_site.prefix)) == []


def test_tokens_and_roles(librarian: Librarian, librarian_site: SharedSite, book: Path) -> None:
    def as_(role: str, prefix: str = "") -> Librarian:
        secret = librarian.issue_token("somebody", role, name_prefix=prefix).secret
        return Librarian.connect(address=librarian_site.address, token=secret)

    nobody = Librarian.connect(address=librarian_site.address, token="made-up")
    with nobody, pytest.raises(TokenInvalid):
        list(nobody.ls())
    with as_("reader") as reader:
        assert list(reader.ls(librarian_site.prefix)) == []
        with pytest.raises(RoleMayNot, match="reader"):
            reader.put(book, librarian_site.new_name("x"))
    with as_("ingester", librarian_site.prefix + "mine/**") as ingester:
        ingester.put(book, librarian_site.new_name("mine/x"))
        with pytest.raises(NameOutsidePrefix):
            ingester.put(book, librarian_site.new_name("theirs/x"))
        with pytest.raises(RoleMayNot):
            ingester.drain_store("main")
        with pytest.raises(RoleMayNot):
            ingester.issue_token("me", "admin")


def test_a_revoked_token_is_out_within_a_second(librarian: Librarian, librarian_site: SharedSite) -> None:
    issued = librarian.issue_token("somebody", "reader")
    with Librarian.connect(address=librarian_site.address, token=issued.secret) as reader:
        list(reader.ls(librarian_site.prefix))
        librarian.revoke_token(issued.token.token_id)

        def refused() -> bool:
            try:
                list(reader.ls(librarian_site.prefix))
            except Unauthenticated:
                return True
            return False

        eventually_blocking(refused, timeout=1.0, what="refused after being revoked")


class TestOneStore:
    """What stops a whole store is tried on a site of its own."""

    @pytest.fixture(scope="class")
    def site(self, librarian_server_factory: Callable[..., Site]) -> Site:
        return librarian_server_factory(
            settings="[transfer]\ningest_lifetime_seconds = 2\n[worker]\npoll_seconds = 0.3\n"
        )

    def test_too_large_for_the_store(self, site: Site, tmp_path: Path) -> None:
        with site.blocking_client() as librarian:
            limit = store_pb2.Store(name="main", max_bytes=1_000_000)
            librarian.update_store(limit, ["max_bytes"])
            try:
                (tmp_path / "big").write_bytes(b"x" * 2_000_000)
                with pytest.raises(StoreFull) as told:
                    librarian.put(tmp_path / "big", "big")
                assert told.value.remedy
                (tmp_path / "small").write_bytes(b"x" * 1000)
                librarian.put(tmp_path / "small", "small")
            finally:
                librarian.update_store(store_pb2.Store(name="main", max_bytes=0), ["max_bytes"])
            librarian.put(tmp_path / "big", "big")
            eventually_blocking(lambda: nothing_left_behind(librarian))

    def test_no_store_takes_anything(self, site: Site, book: Path) -> None:
        with site.blocking_client() as librarian:
            librarian.drain_store("main")
            with pytest.raises(NoStore):
                librarian.put(book, "drained")
            librarian.drain_store("main", drain=False)
            librarian.update_store(store_pb2.Store(name="main", enabled=False), ["enabled"])
            with pytest.raises(NoStore):
                librarian.put(book, "disabled")
            librarian.update_store(store_pb2.Store(name="main", enabled=True), ["enabled"])
            librarian.put(book, "now")

    def test_an_unmounted_and_a_swapped_store(self, site: Site, book: Path, tmp_path: Path) -> None:
        away = site.store_root.with_name("away")
        with site.blocking_client() as librarian:
            librarian.put(book, "before")
            site.store_root.rename(away)
            site.store_root.mkdir()
            try:
                for call in (
                    lambda: librarian.put(book, "into-nothing"),
                    lambda: librarian.get("before", tmp_path / "out"),
                    lambda: list(librarian.scan("main")),
                ):
                    with pytest.raises((StoreIdentity, NoStore, LibrarianError)) as told:
                        call()
                    assert told.value.reason in {"STORE_IDENTITY", "NO_STORE"}, told.value.message
                # Not one byte was written where the file system is not.
                assert list(site.store_root.iterdir()) == []
            finally:
                site.store_root.rmdir()
                away.rename(site.store_root)
            librarian.put(book, "after")

    def test_a_client_that_dies_leaves_nothing_for_long(self, site: Site, tmp_path: Path) -> None:
        """Its staging area and its reservation expire."""
        with site.blocking_client() as librarian:
            asked = transfer_pb2.IngestSpec(name="abandoned", kind=1, size_bytes=1000, algorithm="sha256")
            address = site.address.removeprefix("grpc://")
            import grpc

            from librarian.api.transfer.v1 import transfer_pb2_grpc

            with grpc.insecure_channel(address) as channel:
                stub = transfer_pb2_grpc.TransferServiceStub(channel)
                answer = stub.BeginIngests(
                    transfer_pb2.BeginIngestsRequest(request_id="abandoned-1", items=[asked]),
                    metadata=[("authorization", f"Bearer {site.token}")],
                    timeout=10,
                )
            [verdict] = answer.verdicts
            staged = Path(answer.grants[0].staging_path) / verdict.open.ingest_id
            staged.write_bytes(b"half of it")
            eventually_blocking(lambda: nothing_left_behind(librarian), timeout=30, what="expired")
            assert not staged.exists()
            [ingest] = [found for found in librarian.ingests() if found.name == "abandoned"]
            assert ingest.state == transfer_pb2.INGEST_STATE_EXPIRED
