"""What rsync is told, and what it tells."""

from __future__ import annotations

import pytest

from librarian.errors import (
    InvalidConfig,
    LandingInvalid,
    LibrarianError,
    ReadFailed,
    SourceVanished,
    StoreFull,
    Unavailable,
)
from transfer_svc.movers import rsyncprocess
from transfer_svc.movers.rsyncaddress import RsyncAddress, agreed_address
from transfer_svc.movers.rsyncerrors import error_of
from transfer_svc.movers.rsyncprocess import command, run


@pytest.mark.parametrize(
    "text",
    [
        "rsync://b.example:8730/stores/x/.librarian/staging/a-1",
        "rsync://u@[::1]/stores",
        "b.example:/data/with space",
        "u@b:/data",
    ],
)
def test_plain_addresses_are_taken_as_they_are(text: str) -> None:
    assert str(RsyncAddress.parse(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/local/path",
        "b:relative",
        "-e sh:/x",
        "--rsh=sh:/x",
        "b:/x/../../etc",
        "b:/x/./y",
        "b:/x\n",
        "b:/$(id)",
        "b:/`id`",
        "b:/x;id",
        "b:/*",
        "-oProxyCommand=id@b:/x",
        "u@-b:/x",
        "rsync://b/",
        "RSYNC://b/m",
        "rsync://b//etc",
        "rsync://b/m/../n",
        "rsync://-b/m",
        "rsync://b:x/m",
        "b::module/x",
    ],
)
def test_what_could_mean_something_else_is_refused(text: str) -> None:
    with pytest.raises(LandingInvalid):
        RsyncAddress.parse(text)


@pytest.mark.parametrize(
    ("text", "root", "good"),
    [
        ("b:/data/x", "b:/data", True),
        ("b:/data", "b:/data/", True),
        ("b:/database", "b:/data", False),
        ("c:/data/x", "b:/data", False),
        ("rsync://b/data/x", "b:/data", False),
        ("rsync://b/data/x", "rsync://b:874/data", False),
        ("rsync://b/m/x", "rsync://b/m", True),
        ("b:/anything", "", True),
    ],
)
def test_a_landing_lies_below_what_was_agreed_part_by_part(text: str, root: str, good: bool) -> None:  # noqa: FBT001
    if good:
        assert agreed_address(text, root)
        return
    with pytest.raises(LandingInvalid):
        agreed_address(text, root)


FULL = (
    'rsync: [receiver] write failed on "/u" (in mod): No space left on device (28)\n'
    "rsync error: error in file IO (code 11) at receiver.c(401) [receiver=3.2.7]\n"
    "rsync: [sender] read error: Connection reset by peer (104)\n"
)


@pytest.mark.parametrize(
    ("code", "told", "found"),
    [
        (11, FULL, StoreFull),
        (12, FULL, StoreFull),
        (11, 'rsync: [Receiver] mkdir "x/u" (in mod) failed: No such file or directory (2)', LandingInvalid),
        (23, 'rsync: [sender] link_stat "/a" failed: No such file or directory (2)', SourceVanished),
        (23, 'rsync: [sender] read errors mapping "/a": Input/output error (5)', ReadFailed),
        (23, 'rsync: [sender] send_files failed to open "/a": Permission denied (13)', ReadFailed),
        (24, "file has vanished", SourceVanished),
        (5, "@ERROR: Unknown module 'x'", LandingInvalid),
        (5, "@ERROR: max connections (4) reached -- try again later", Unavailable),
        (10, "rsync: [sender] failed to connect to b: Connection refused (111)", Unavailable),
        (255, "ssh: connect to host b port 22: No route to host", Unavailable),
        (1, "rsync: --info=progress2: unknown option", InvalidConfig),
    ],
)
def test_troubles_are_told_apart(code: int, told: str, found: type[LibrarianError]) -> None:
    error = error_of(code, told, "obs/1")
    assert type(error) is found
    assert error is not None
    assert told.splitlines()[0][:40] in error.message


def test_sources_are_no_options_and_a_limit_is_rsyncs_own() -> None:
    arguments = command(["/s/-rf"], RsyncAddress.parse("b:/d"), ["--recursive"], 6_250_000)
    assert arguments[arguments.index("--") + 1 :] == ["/s/-rf", "b:/d/"]
    assert "--bwlimit=6103" in arguments
    assert "--protect-args" in arguments
    assert not [one for one in command(["/s"], RsyncAddress.parse("b:/d"), []) if "bwlimit" in one]


async def test_without_rsync_it_is_said_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rsyncprocess, "BINARY", "no-such-rsync")
    with pytest.raises(Unavailable, match="not installed") as caught:
        await run(command(["/s"], RsyncAddress.parse("b:/d"), []), lambda _: None)
    assert "install rsync" in caught.value.remedy
