"""The commands as a person and as a script use them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from support.data import contents

from librarian.testing.shared import SharedSite


def test_the_readme_from_put_to_verify(librarian_site: SharedSite, book: Path, tmp_path: Path) -> None:
    name = librarian_site.new_name("run42")
    cli = librarian_site.cli
    put = json.loads(cli("put", book, name, "--tag", "kind=science", "--json").stdout)
    assert (put["outcome"], put["name"], put["error"]) == ("PUBLISHED", name, None)
    listed = json.loads(cli("ls", librarian_site.prefix, "--json").stdout)
    assert [dataset["name"] for dataset in listed] == [name]
    assert listed[0]["digest"] == put["digest"]
    assert isinstance(listed[0]["size_bytes"], int)
    found = json.loads(cli("find", librarian_site.prefix + "**", "--tag", "kind=science", "--json").stdout)
    assert [dataset["uid"] for dataset in found] == [put["uid"]]
    shown = json.loads(cli("show", name, "--json").stdout)
    assert shown["name"] == name
    assert cli("get", name, tmp_path / "back").returncode == 0
    assert contents(tmp_path / "back") == contents(book)
    assert json.loads(cli("verify", name, "--json").stdout)["available_count"] == 1
    assert json.loads(cli("history", name, "--json").stdout)
    assert json.loads(cli("status", "--json").stdout)["site"] == "test"
    for root in ("dtn.example:/data", ""):
        cli("store", "set", "main", "--rsync-root", root)
        assert json.loads(cli("store", "ls", "--json").stdout)[0]["rsync_root"] == root
    # Without --json there is something for people, and nothing on stderr of a quiet success.
    for command in (
        ["ls", librarian_site.prefix],
        ["show", name],
        ["history", name],
        ["status"],
        ["store", "ls"],
    ):
        told = cli(*command)
        assert told.stdout.strip()


def test_get_is_as_cp_r(librarian_site: SharedSite, book: Path, tmp_path: Path) -> None:
    name = librarian_site.new_name("run42")
    librarian_site.cli("put", book, name)
    (tmp_path / "there").mkdir()
    librarian_site.cli("get", name, tmp_path / "there")
    librarian_site.cli("get", name, tmp_path / "new")
    assert contents(tmp_path / "there" / "run42") == contents(tmp_path / "new") == contents(book)
    out = subprocess.run(
        [*_librarian(), "get", name, "-", "--member", "M_index.yaml"],
        env=librarian_site.environment,
        capture_output=True,
        check=True,
    )
    assert out.stdout == b"book: true\n"


def test_exit_codes_can_be_trusted(librarian_site: SharedSite, book: Path, tmp_path: Path) -> None:
    cli = librarian_site.cli
    name = librarian_site.new_name("book")
    assert cli("put", book, name).returncode == 0
    (book / "more").touch()
    refused = cli("put", book, name, "--json", check=False)
    assert refused.returncode == 1
    assert refused.stdout == ""
    told = json.loads(refused.stderr)
    assert told["reason"] == "NAME_TAKEN"
    assert told["message"]
    assert told["remedy"]
    assert cli("put", book, check=False).returncode == 2
    assert cli("no-such-command", check=False).returncode == 2
    victim = librarian_site.store_root / name / "data" / "det00.g3"
    good = victim.read_bytes()
    victim.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    verified = cli("verify", name, check=False)
    assert verified.returncode == 3
    assert "det00.g3" in verified.stdout
    victim.write_bytes(good)
    assert cli("verify", name, check=False).returncode == 0
    nowhere = subprocess.run(
        [*_librarian(), "ls", "--json"],
        env={**os.environ, "LIBRARIAN_ADDRESS": "grpc://127.0.0.1:1", "LIBRARIAN_TOKEN": "x"},
        capture_output=True,
        check=False,
    )
    assert nowhere.returncode == 4
    assert json.loads(nowhere.stderr)["remedy"]


def test_register_what_lies_there(librarian_site: SharedSite, book: Path) -> None:
    cli = librarian_site.cli
    there = librarian_site.store_root / librarian_site.prefix / "old"
    for number in range(3):
        for relative, content in contents(book).items():
            path = there / f"run{number}" / relative
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, bytes):
                path.write_bytes(content)
    before = {path: path.stat().st_mtime_ns for path in there.rglob("*")}
    command = (
        "register",
        "main",
        librarian_site.prefix + "old",
        "--glob",
        librarian_site.prefix + "old/*",
    )
    first = json.loads(cli(*command, "--json").stdout)
    assert (first["found_count"], first["registered_count"], first["refused_count"]) == (3, 3, 0)
    again = json.loads(cli(*command, "--json").stdout)
    assert (again["registered_count"], again["already_count"]) == (0, 3)
    # Adopted in place: nothing was copied or touched.
    assert {path: path.stat().st_mtime_ns for path in there.rglob("*")} == before
    assert len(json.loads(cli("ls", librarian_site.prefix, "--json").stdout)) == 3
    assert cli("verify", librarian_site.new_name("old/run1")).returncode == 0


def test_scan_tells_and_touches_nothing(librarian_site: SharedSite, book: Path) -> None:
    cli = librarian_site.cli
    for name in ("kept", "missing", "changed"):
        cli("put", book, librarian_site.new_name(name))
    root = librarian_site.store_root / librarian_site.prefix
    (root / "missing").rename(root / "dark")
    (root / "changed" / "M_index.yaml").write_text("longer than before\n")
    scanned = cli("store", "scan", "main", "--json", check=False)
    assert scanned.returncode == 3
    findings = {
        (finding["reason"], finding["path"].removeprefix(librarian_site.prefix).split("/")[0])
        for finding in json.loads(scanned.stdout)["findings"]
        if finding["path"].startswith(librarian_site.prefix)
    }
    assert findings == {("MISSING", "missing"), ("DARK", "dark"), ("CHANGED", "changed")}
    (root / "dark").rename(root / "missing")
    (root / "changed" / "M_index.yaml").write_text("book: true\n")


def _librarian() -> list[str]:
    return [sys.executable, "-m", "librarian.cli"]
