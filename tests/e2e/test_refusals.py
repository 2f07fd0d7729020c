"""Bad input: each a clear error with a remedy, nothing lost, nothing left behind."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from support.eventually import eventually_blocking

from librarian.blocking import Librarian
from librarian.errors import (
    InvalidName,
    LibrarianError,
    LinkOutside,
    NameOutsidePrefix,
    PathTaken,
    RoleMayNot,
    SpecialFile,
    TokenInvalid,
    Unauthenticated,
    Unreadable,
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
