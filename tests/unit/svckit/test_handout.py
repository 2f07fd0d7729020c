"""Who is given which secret of a site."""

from __future__ import annotations

import ast
import stat
from pathlib import Path

import pytest

from librarian.errors import Conflict, Refused
from svckit import init
from svckit.auth import ISSUERS, Signer, Verifier
from svckit.handout import HOLDERS, hand_out, read_passwords
from svckit.keys import load_private_key

SERVICES = Path(init.__file__).parents[1]
PUBLIC = {"gateway.pub", "transfer.pub", "worker.pub"}
LOGIN = {"password", "pgpass"}


def tree(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_private_keys_are_only_where_something_is_signed(tmp_path: Path) -> None:
    hand_out(tmp_path)
    given = {
        holder.service: {path.name for path in (tmp_path / holder.service).iterdir()} for holder in HOLDERS
    }
    assert given == {
        "catalog": PUBLIC | LOGIN,
        "store": PUBLIC | LOGIN,
        "transfer": PUBLIC | LOGIN | {"transfer.key", "site.key"},
        "worker": PUBLIC | LOGIN | {"worker.key", "site.key"},
        "gateway": PUBLIC | LOGIN | {"gateway.key", "site.key"},
    }


def test_nobody_else_may_read_them(tmp_path: Path) -> None:
    root = tmp_path / "secrets"
    hand_out(root)
    for path in root.rglob("*"):
        public = path.is_dir() or path.suffix == ".pub"
        assert public or stat.S_IMODE(path.stat().st_mode) == 0o600, path
    assert {stat.S_IMODE(path.stat().st_mode) for path in (root, *root.iterdir())} == {0o700}


def test_each_can_do_its_work_with_what_it_was_given(tmp_path: Path) -> None:
    hand_out(tmp_path)
    for issuer in ISSUERS:
        token = Signer.load(tmp_path / issuer, issuer).mint_own("store")
        assert Verifier.load(tmp_path / "store", "store").verify(token).subject == issuer
    assert load_private_key(tmp_path / "worker" / "site.key")


def test_each_password_is_its_own_and_in_both_forms(tmp_path: Path) -> None:
    hand_out(tmp_path)
    passwords = read_passwords(tmp_path / "database")
    admin = (tmp_path / "database" / "password").read_text()
    assert len({*passwords.values(), admin}) == 5
    for holder in HOLDERS:
        mine = passwords[holder.schema]
        assert (tmp_path / holder.service / "password").read_text() == mine
        assert (tmp_path / holder.service / "pgpass").read_text() == f"*:*:*:*:{mine}\n"
        assert len(mine) >= 32
        assert not set(mine) & set(":\\\n$%@/ ")


def test_again_changes_nothing_and_puts_back_what_is_missing(tmp_path: Path) -> None:
    hand_out(tmp_path)
    before = tree(tmp_path)
    hand_out(tmp_path)
    assert tree(tmp_path) == before
    for lost in ("catalog/gateway.pub", "worker/site.key", "database/store.password"):
        (tmp_path / lost).unlink()
    hand_out(tmp_path)
    assert tree(tmp_path) == before


def test_no_two_sites_have_anything_in_common(tmp_path: Path) -> None:
    hand_out(tmp_path / "a")
    hand_out(tmp_path / "b")
    assert not set(tree(tmp_path / "a").values()) & set(tree(tmp_path / "b").values())


def test_a_copy_that_differs_is_not_overwritten(tmp_path: Path) -> None:
    hand_out(tmp_path)
    (tmp_path / "gateway" / "gateway.key").write_text("mine")
    with pytest.raises(Conflict, match=r"gateway/gateway\.key"):
        hand_out(tmp_path)
    assert (tmp_path / "gateway" / "gateway.key").read_text() == "mine"


def test_the_command_names_what_it_cannot_write(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert init.main(["secrets", str(tmp_path / "file")]) == 1
    assert "file" in capsys.readouterr().err


def test_the_command_tells_no_secret(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert init.main(["secrets", str(tmp_path)]) == 0
    said = "".join(capsys.readouterr())
    assert not [secret for secret in read_passwords(tmp_path / "database").values() if secret in said]


PROCESSES = {
    "catalog_svc": {"catalog"},
    "store_svc": {"store"},
    "transfer_svc": {"transfer", "worker"},
    "gateway": {"gateway"},
}


@pytest.mark.parametrize("package", PROCESSES)
def test_who_signs_for_the_site_is_given_its_key(package: str) -> None:
    """The packages whose code reads `site_key_file` are those of the processes that are given the key."""
    reads = any(
        isinstance(node, ast.Attribute) and node.attr == "site_key_file"
        for file in (SERVICES / package).rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
    )
    given = {holder.service for holder in HOLDERS if holder.site_key}
    assert reads == bool(given & PROCESSES[package])


def test_an_empty_password_is_none(tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "store.password").touch(mode=0o600)
    with pytest.raises(Refused, match=r"store\.password is empty"):
        hand_out(tmp_path)
