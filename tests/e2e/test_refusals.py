"""Bad input: each a clear error with a remedy, nothing lost, nothing left behind."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest
from support.eventually import eventually_blocking
from support.raw_ingest import RawIngest

from librarian.api.transfer.v1 import transfer_pb2, transfer_pb2_grpc
from librarian.blocking import Librarian
from librarian.errors import (
    InvalidName,
    LibrarianError,
    LinkOutside,
    NameOutsidePrefix,
    PathTaken,
    RoleMayNot,
    SourceChanged,
    SpecialFile,
    TokenInvalid,
    Unauthenticated,
)
from librarian.testing.shared import SharedSite


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


def test_a_tree_with_an_unreadable_file(librarian: Librarian, librarian_site: SharedSite, book: Path) -> None:
    """Root reads everything, unless it gives the right to do so away."""
    meek = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
    (book / "M_index.yaml").chmod(0)
    put = subprocess.run(
        [
            *meek,
            sys.executable,
            "-m",
            "librarian.cli",
            "put",
            book,
            librarian_site.new_name("book"),
            "--json",
        ],
        env=librarian_site.environment,
        capture_output=True,
        check=False,
    )
    (book / "M_index.yaml").chmod(0o644)
    assert put.returncode == 1, put.stderr
    told = json.loads(put.stderr)
    assert told["reason"] == "UNREADABLE"
    assert "M_index.yaml" in told["message"]
    assert list(librarian.ls(librarian_site.prefix)) == []


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


@pytest.fixture
def raw(librarian_site: SharedSite) -> Iterator[RawIngest]:
    """Begun, its bytes staged."""
    ingest = RawIngest(librarian_site, librarian_site.new_name("raw"), b"some bytes")
    ingest.begin()
    yield ingest
    ingest.close()


def failure(ingest: transfer_pb2.Ingest) -> str:
    assert ingest.state == transfer_pb2.INGEST_STATE_FAILED
    assert ingest.error.message
    return ingest.error.reason


def test_a_wrong_checksum_claimed(librarian: Librarian, librarian_site: SharedSite, raw: RawIngest) -> None:
    assert failure(raw.commit(digest=b"\0" * 32)) == "CHECKSUM_MISMATCH"
    assert list(librarian.ls(librarian_site.prefix)) == []
    assert not (librarian_site.store_root / librarian_site.prefix).exists()
    eventually_blocking(lambda: not raw.staged.exists())


def test_nothing_staged(raw: RawIngest) -> None:
    raw.staged.unlink()
    assert failure(raw.commit()) == "NOTHING_STAGED"


def test_more_staged_than_declared(raw: RawIngest) -> None:
    raw.staged.write_bytes(b"x" * 100_000)
    assert failure(raw.commit()) in {"UPLOAD_TOO_LARGE", "CHECKSUM_MISMATCH"}


def test_a_directory_staged_where_a_file_was_declared(raw: RawIngest) -> None:
    raw.staged.unlink()
    raw.staged.mkdir()
    assert failure(raw.commit()) == "KIND_MISMATCH"


def test_a_late_writer_cannot_change_what_was_verified(
    librarian: Librarian, librarian_site: SharedSite, raw: RawIngest
) -> None:
    """One that keeps the staged file open is found out, or writes into what is no longer the dataset."""
    with raw.staged.open("r+b") as late:
        ingest = raw.commit()
        late.write(b"SOME BYTES")
    kept = librarian_site.store_root / librarian_site.new_name("raw")
    if ingest.state == transfer_pb2.INGEST_STATE_PUBLISHED:
        assert kept.read_bytes() == b"some bytes"
    else:
        assert failure(ingest) == "STAGED_FILE_CHANGED"
        assert not kept.exists()


def test_sizes_that_are_none(librarian_site: SharedSite) -> None:
    with grpc.insecure_channel(librarian_site.address.removeprefix("grpc://")) as channel:
        stub = transfer_pb2_grpc.TransferServiceStub(channel)
        specs = [
            transfer_pb2.IngestSpec(name=librarian_site.new_name(str(size)), kind=1, size_bytes=size)
            for size in (-1, 2**62)
        ]
        answer = stub.BeginIngests(
            transfer_pb2.BeginIngestsRequest(request_id=str(uuid.uuid4()), items=specs),
            metadata=[("authorization", f"Bearer {librarian_site.token}")],
            timeout=10,
        )
    reasons = [verdict.error.reason for verdict in answer.verdicts]
    assert reasons == ["INVALID_SIZE", "STORE_FULL"]


def test_a_file_that_changes_while_it_is_read(
    librarian: Librarian, librarian_site: SharedSite, tmp_path: Path
) -> None:
    source = tmp_path / "growing"
    source.write_bytes(b"x" * (64 << 20))
    growing = threading.Event()

    def grow() -> None:
        with source.open("ab") as file:
            while not growing.wait(0.001):
                file.write(b"more")
                file.flush()

    grower = threading.Thread(target=grow)
    grower.start()
    try:
        with pytest.raises(SourceChanged, match="growing"):
            librarian.put(source, librarian_site.new_name("growing"))
    finally:
        growing.set()
        grower.join()
    assert list(librarian.ls(librarian_site.prefix)) == []
    # Now that nothing writes to it any more, the same command succeeds.
    librarian.put(source, librarian_site.new_name("growing"))


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
