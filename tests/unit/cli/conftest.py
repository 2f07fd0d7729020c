from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.client_site import ClientSite
from support.client_site.commands import Run, Said

from librarian.cli.program import run_program


@pytest.fixture
def site(tmp_path: Path) -> Iterator[ClientSite]:
    """On a loop of its own: commands have theirs."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    site = ClientSite(tmp_path / "site")
    asyncio.run_coroutine_threadsafe(site.__aenter__(), loop).result()
    yield site
    asyncio.run_coroutine_threadsafe(site.__aexit__(), loop).result()
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No command finds a site, or leaves a journal, outside of the test."""
    for variable in (
        "LIBRARIAN_ADDRESS",
        "LIBRARIAN_TOKEN",
        "LIBRARIAN_SITE",
        "LIBRARIAN_HOME",
        "XDG_CONFIG_HOME",
    ):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "user"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("TZ", "UTC")


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Run:
    """Runs a command as the program would."""

    def run(*arguments: object) -> Said:
        capfd.readouterr()
        code = run_program([str(argument) for argument in arguments])
        out, err = capfd.readouterr()
        return Said(code, out, err)

    return run


@pytest.fixture
def lib(site: ClientSite, run: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    """As `run`, with the site to be found."""
    monkeypatch.setenv("LIBRARIAN_ADDRESS", f"grpc://{site.address}")
    monkeypatch.setenv("LIBRARIAN_TOKEN", "t")
    return run
