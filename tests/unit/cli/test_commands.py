"""Commands as scripts run them: exit codes, JSON on stdout, errors on stderr."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from support.client_site import ClientSite
from support.client_site.commands import Run
from support.eventually import eventually_blocking

from librarian.api.common.v1 import common_pb2
from librarian.cli.exits import ExitCode
from librarian.errors import RoleMayNot, Unavailable

COMMANDS = [
    "up", "demo", "status", "doctor", "put", "get", "ls", "find", "show", "history", "explain", "verify",
    "register",
    "store add", "store ls", "store set", "store drain", "store scan",
    "route add", "route ls", "route set", "route pause", "route resume", "route rm",
    "transfer ls", "transfer show", "transfer watch", "transfer retry", "transfer cancel",
    "transfer prioritize",
    "token issue", "token ls", "token revoke", "config check",
]  # fmt: skip


@pytest.fixture
def kept(lib: Run, tmp_path: Path) -> Path:
    """A directory and a file to keep."""
    (tmp_path / "book").mkdir()
    (tmp_path / "book/a.fits").write_bytes(b"a" * 1000)
    (tmp_path / "book/b.txt").write_bytes(b"b")
    (tmp_path / "single").write_bytes(b"content")
    return tmp_path


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_tells_its_usage(run: Run, command: str) -> None:
    said = run(*command.split(), "--help")
    assert said.code == ExitCode.DONE
    assert said.out.startswith(f"Usage: librarian {command}")
    assert command in {"up", "demo"} or "--json" in said.out


def test_help_lists_the_commands(run: Run) -> None:
    said = run("--help")
    assert all(command.split()[0] in said.out for command in COMMANDS)
    assert run().code == ExitCode.WRONG_USAGE


def test_help_is_quick_because_it_imports_little() -> None:
    script = (
        "import sys; from librarian.cli.program import run_program; code = run_program(['--help']); "
        "heavy = {'asyncio', 'grpc', 'google.protobuf', 'rich'} & sys.modules.keys(); assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["put"],
        ["put", "x"],
        ["put", "x", "y", "--each", "--created", "7d"],
        ["find", "--larger", "big"],
        ["ls", "--order", "random"],
        ["verify"],
        ["verify", "x", "--store", "y"],
        ["register", "main"],
        ["store", "set", "main"],
        ["store", "add", "main", "--root", "/x", "--class", "fast"],
        ["get", "x", "-", "--json"],
    ],
)
def test_wrong_usage(run: Run, arguments: list[str]) -> None:
    said = run(*arguments)
    assert said.code == ExitCode.WRONG_USAGE
    assert said.out == ""
    assert said.err
    assert run(*arguments, "--json").error["reason"] == "WRONG_USAGE"


def test_put_and_the_same_again(lib: Run, kept: Path) -> None:
    said = lib("put", kept / "book", "obs/book", "--tag", "kind=science", "--json")
    assert (said.code, said.err) == (ExitCode.DONE, "")
    value = said.value
    assert value["outcome"] == "PUBLISHED"
    assert value["kind"] == "DATASET_KIND_DIRECTORY"
    assert value["digest"].startswith("sha256:")
    assert (value["size_bytes"], value["member_count"], value["store"]) == (1001, 2, "main")
    assert value["error"] is None
    again = lib("put", kept / "book", "obs/book", "--json")
    assert again.value["outcome"] == "ALREADY_THERE"
    assert again.value["uid"] == value["uid"]
    words = lib("put", kept / "single", "obs/single")
    assert words.out.startswith("kept obs/single: 7 B, ")


def test_a_refusal(lib: Run, kept: Path) -> None:
    lib("put", kept / "book", "name")
    said = lib("put", kept / "single", "name", "--json")
    assert said.code == ExitCode.FAILED
    assert said.out == ""
    assert said.error["reason"] == "NAME_TAKEN"
    assert set(said.error) == {"reason", "message", "remedy", "metadata"}
    words = lib("put", kept / "single", "name")
    assert words.err.startswith("error: name is there already with other content")
    assert "what to do: " in words.err


def test_put_each_tells_of_every_entry(lib: Run, kept: Path) -> None:
    each = kept / "each"
    each.mkdir()
    for index in range(5):
        (each / f"f{index}").write_bytes(b"%d" % index)
    said = lib("put", "--each", each, "p/", "--json")
    assert said.code == ExitCode.DONE
    assert [value["name"] for value in said.value] == [f"p/f{index}" for index in range(5)]
    os.mkfifo(each / "fifo")
    said = lib("put", "--each", each, "p", "--json")
    assert said.code == ExitCode.FAILED
    assert [value["outcome"] for value in said.value] == ["ALREADY_THERE"] * 5 + ["FAILED"]
    assert said.value[-1]["error"]["reason"] == "SPECIAL_FILE"
    assert said.error["message"] == "1 of 6 were refused"
    words = lib("put", "--each", each, "p")
    assert "fifo" in words.err
    assert "5 there already, 1 refused" in words.out


def test_lists_are_arrays(lib: Run, site: ClientSite, kept: Path) -> None:
    assert lib("ls", "--json").value == []
    lib("put", "--each", kept / "book", "p")
    said = lib("ls", "p/", "--json")
    assert [value["name"] for value in said.value] == ["p/a.fits", "p/b.txt"]
    assert said.value[0]["size_bytes"] == 1000
    assert lib("ls", "p/", "--names").out == "p/a.fits\np/b.txt\n"
    table = lib("ls", "p/", "-l")
    assert table.out.splitlines()[1].split()[:2] == ["1.00", "kB"]
    assert table.out.splitlines()[1].endswith("main    p/a.fits")
    assert table.err == "2 datasets, 1.00 kB\n"
    lib("ls", "p/", "--at", "nersc", "--not-at", "princeton")
    found = site.catalog.filters[-1]
    assert (found.name_prefix, found.has_site, found.lacks_site) == ("p/", "nersc", "princeton")
    assert lib("ls", "none/").err == "no datasets\n"


def test_find_asks_for_all_conditions(lib: Run, site: ClientSite) -> None:
    said = lib(
        "find", "a/**", "--tag", "k=v", "--uploader", "u", "--larger", "1kB", "--smaller", "1MiB",
        "--after", "2026-01-01T00:00Z", "--before", "2026-02-01T00:00Z", "--on", "main", "--not-on", "old",
        "--at", "nersc", "--not-at", "princeton", "--state", "corrupt", "--json",
    )  # fmt: skip
    assert said.value == []
    [found] = site.catalog.filters
    assert found.name_glob == "a/**"
    assert dict(found.tags) == {"k": "v"}
    assert (found.min_size_bytes, found.max_size_bytes) == (1000, 1 << 20)
    assert found.created_after.ToJsonString() == "2026-01-01T00:00:00Z"
    assert (found.has_store, found.lacks_store) == ("main", "old")
    assert (found.has_site, found.lacks_site) == ("nersc", "princeton")
    assert found.has_replica_state == common_pb2.REPLICA_STATE_CORRUPT
    assert lib("find", "--state", "shiny").code == ExitCode.FAILED


def test_show_has_members(lib: Run, kept: Path) -> None:
    lib("put", kept / "book", "obs/book")
    value = lib("show", "obs/book/", "--json").value
    assert [member["path"] for member in value["members"]] == ["a.fits", "b.txt"]
    assert value["replicas"][0]["state"] == "REPLICA_STATE_AVAILABLE"
    assert lib("show", value["uid"], "--json").value["name"] == "obs/book"
    assert "members" not in lib("show", "obs/book", "--no-members", "--json").value
    words = lib("show", "obs/book", "--member", "*.fits").out
    assert "a.fits" in words
    assert "b.txt" not in words
    assert lib("show", "nothing", "--json").error["reason"] == "DATASET_NOT_FOUND"


def test_get(lib: Run, kept: Path) -> None:
    lib("put", kept / "book", "obs/book")
    out = kept / "out"
    out.mkdir()
    said = lib("get", "obs/book", out, "--json")
    assert said.value["path"] == str(out / "book")
    assert said.value["member_count"] == 2
    assert lib("get", "obs/book", out).out.startswith(f"{out}/book is there already and verified")
    (out / "book/a.fits").write_bytes(b"mine")
    refused = lib("get", "obs/book", out, "--json")
    assert refused.code == ExitCode.FAILED
    assert refused.error["reason"] == "DESTINATION_EXISTS"
    assert lib("get", "obs/book", out, "--force").code == ExitCode.DONE
    assert lib("get", "obs/book", "-", "--member", "b*").out == "b"


def test_what_is_corrupt_has_its_exit_code(lib: Run, site: ClientSite, kept: Path) -> None:
    uid = lib("put", kept / "single", "single", "--json").value["uid"]
    (site.state.kept / uid).write_bytes(b"contenT")
    said = lib("get", "single", kept / "copy", "--json")
    assert said.code == ExitCode.DATA_LOSS
    assert said.error["reason"] == "REPLICA_CORRUPT"
    assert lib("get", "single", "-").code == ExitCode.DATA_LOSS


def test_unreachable(
    run: Run, lib: Run, site: ClientSite, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    site.state.fail["ListDatasets"] = [Unavailable("the catalog is down")] * 10
    assert lib("ls").code == ExitCode.UNREACHABLE
    monkeypatch.setenv("LIBRARIAN_ADDRESS", "grpc://127.0.0.1:1")
    said = run("ls", "--json")
    assert said.code == ExitCode.UNREACHABLE
    assert "127.0.0.1:1 does not answer" in said.error["message"]
    assert said.error["remedy"]
    monkeypatch.delenv("LIBRARIAN_ADDRESS")
    assert "librarian up" in run("ls").err


def test_history_status_and_stores(lib: Run, site: ClientSite, kept: Path) -> None:
    lib("put", kept / "single", "single")
    events = lib("history", "single", "--json").value
    assert [event["cursor"]["sequence"] for event in events] == [1, 2, 3]
    assert "replica verified" in lib("history", "single").out
    dataset = site.state.datasets["single"]
    dataset.origin.key_id = "abc"
    dataset.remote_replicas.add(site="nersc", store="tape", store_class="archive", via_site="princeton")
    born, *later = lib("history", "single", "--json").value
    assert [event["cursor"] for event in later] == [event["cursor"] for event in events]
    assert (born["type"], born["cursor"], born["time"]) == (
        "DATASET_BORN",
        None,
        lib("show", "single", "--json").value["create_time"],
    )
    assert json.loads(born["details_json"]) == {"site": "here", "uploader": "tester", "key_id": "abc"}
    assert "dataset born here uploader tester, signed by key abc" in " ".join(
        lib("history", "single").out.split()
    )
    assert "nersc    tape   archive" in lib("show", "single").out
    assert "main,nersc:tape" in lib("ls", "-l").out
    dataset.ClearField("replicas")
    assert "no copies here" in lib("show", "single").out
    status = lib("status", "--json").value
    assert status["site"] == "here"
    assert status["services"][0] == {"service": "catalog", "serving": True, "detail": ""}
    assert status["stores"][0]["usage"]["grantable_bytes"] == 10**11
    assert status["open_ingests"] == []
    words = lib("status").out
    assert "here at grpc://127.0.0.1" in words
    assert "no open ingests" in words
    assert lib("store", "ls", "--json").value[0]["name"] == "main"


def test_status_tells_what_it_can(lib: Run, site: ClientSite) -> None:
    site.state.fail["ListStores"] = [RoleMayNot("not you")]
    said = lib("status", "--json")
    assert said.code == ExitCode.DONE
    assert said.value["troubles"]["stores"]["reason"] == "ROLE_MAY_NOT"
    assert said.value["summary"]["dataset_count"] == 0


def test_doctor(run: Run, lib: Run, site: ClientSite, monkeypatch: pytest.MonkeyPatch) -> None:
    said = lib("doctor", "--json")
    assert said.code == ExitCode.DONE
    checks = {check["check"]: check for check in said.value}
    assert list(checks) == [
        "settings",
        "connection",
        "token",
        "clock",
        "services",
        "stores",
        "bytes",
        "journal",
    ]
    assert all(check["verdict"] == "GOOD" for check in said.value)
    assert "by the file system" in checks["bytes"]["message"]
    assert [upload.ingest.state for upload in site.state.uploads.values()] == [5]
    site.state.offer_staging = False
    words = lib("doctor").out
    assert "through the gateway" in words
    assert "what to do: let this host reach the store's data door" in words
    monkeypatch.setenv("LIBRARIAN_ADDRESS", "grpc://127.0.0.1:1")
    said = run("doctor")
    assert said.code == ExitCode.FAILED
    assert "does not answer" in said.out


def test_config_check(run: Run, lib: Run, tmp_path: Path) -> None:
    assert lib("config", "check", "--json").value["source"] == "LIBRARIAN_ADDRESS"
    (tmp_path / "site.toml").write_text("[store]\nfooo = 1\n")
    said = run("config", "check", tmp_path / "site.toml", "--json")
    assert said.code == ExitCode.FAILED
    assert any(problem["key"] == "store.fooo" for problem in said.value["problems"])


def test_a_closed_pipe_is_no_error(site: ClientSite, tmp_path: Path) -> None:
    for index in range(300):
        (tmp_path / f"f{index}").write_bytes(b"%d" % index)
        site.state.keep(f"{'n' * 200}/{index:03}", tmp_path / f"f{index}")
    environment = {
        **os.environ,
        "LIBRARIAN_ADDRESS": f"grpc://{site.address}",
        "LIBRARIAN_TOKEN": "t",
    }
    program = subprocess.Popen(
        [sys.executable, "-m", "librarian.cli", "ls", "--json"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment,
    )  # fmt: skip
    assert program.stdout is not None
    assert program.stdout.read(2) == b"[\n"
    program.stdout.close()
    _, err = program.communicate(timeout=30)
    assert err == b""
    assert program.returncode == ExitCode.DONE


@pytest.mark.parametrize("as_json", [False, True])
def test_an_interrupted_put_says_how_to_go_on(site: ClientSite, tmp_path: Path, *, as_json: bool) -> None:
    site.state.offer_staging = False
    (tmp_path / "file").write_bytes(b"x" * 3_000_000)
    reached = threading.Event()
    site.state.on["WriteUpload"] = reached.set
    site.state.break_after = [1] + [0] * 1000
    environment = {**os.environ, "LIBRARIAN_ADDRESS": f"grpc://{site.address}", "LIBRARIAN_TOKEN": "t"}
    command = [sys.executable, "-m", "librarian.cli", "put", str(tmp_path / "file"), "big"]
    program = subprocess.Popen(
        [*command, "--json"] if as_json else command,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment, text=True,
    )  # fmt: skip
    assert reached.wait(30)
    eventually_blocking(lambda: site.state.calls["WriteUpload"] >= 2)
    program.send_signal(signal.SIGINT)
    out, err = program.communicate(timeout=30)
    assert program.returncode == ExitCode.INTERRUPTED
    assert out == ""
    assert "the same command goes on from there" in err
    assert "Traceback" not in err
    if as_json:
        assert '"reason": "INTERRUPTED"' in err
    site.state.break_after = []
    done = subprocess.run([*command, "--json"], capture_output=True, text=True, env=environment, check=True)
    assert '"outcome": "PUBLISHED"' in done.stdout
    assert len(site.state.uploads) == 1
