"""The blocking twin: everything the asyncio client can do, and nothing else."""

from __future__ import annotations

import asyncio
import inspect
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.client_site import ClientSite

import librarian.blocking
from librarian import PutOutcome, client
from librarian.errors import DatasetNotFound

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def threaded_site(tmp_path: Path) -> Iterator[ClientSite]:
    """On a loop of its own, because the test blocks."""
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


@pytest.fixture
def lib(threaded_site: ClientSite) -> Iterator[librarian.blocking.Librarian]:
    address = f"grpc://{threaded_site.address}"
    with librarian.blocking.Librarian.connect(address=address, token="t") as lib:
        yield lib


def test_put_list_and_get(lib: librarian.blocking.Librarian, tmp_path: Path) -> None:
    for index in range(5):
        (tmp_path / f"f{index}").write_bytes(b"%d" % index)
        result = lib.put(tmp_path / f"f{index}", f"names/{index}")
        assert result.outcome is PutOutcome.PUBLISHED
    assert [dataset.name for dataset in lib.ls("names/")] == [f"names/{index}" for index in range(5)]
    assert [dataset.name for dataset in lib.ls("names/", limit=3)] == [f"names/{index}" for index in range(3)]
    assert lib.get("names/3", tmp_path / "out").path.read_bytes() == b"3"
    assert b"".join(lib.read("names/4")) == b"4"
    assert [event.cursor.sequence for event in lib.history("names/1")] == [1, 2, 3]


def test_an_iterator_may_be_left_early(lib: librarian.blocking.Librarian, tmp_path: Path) -> None:
    for index in range(6):
        (tmp_path / "each" / f"f{index}").parent.mkdir(exist_ok=True)
        (tmp_path / "each" / f"f{index}").write_bytes(b"x")
    assert sum(1 for _ in lib.put_each(tmp_path / "each", "e")) == 6
    for dataset in lib.ls():
        assert dataset.name == "e/f0"
        break
    assert lib.status().site == "here"


def test_errors_are_the_same_classes(lib: librarian.blocking.Librarian) -> None:
    with pytest.raises(DatasetNotFound):
        lib.show("nothing")
    with pytest.raises(DatasetNotFound):
        list(lib.history("nothing"))


def test_it_must_be_opened() -> None:
    closed = librarian.blocking.Librarian.connect(address="grpc://127.0.0.1:1", token="t")
    with pytest.raises(RuntimeError, match="with Librarian"):
        closed.status()


def test_it_can_do_what_the_asyncio_client_can() -> None:
    for name, method in inspect.getmembers(client.Librarian, inspect.isfunction):
        if not name.startswith("_"):
            twin = getattr(librarian.blocking.Librarian, name)
            assert inspect.signature(twin) == inspect.signature(method)
            assert not inspect.iscoroutinefunction(twin)


def test_its_types_are_current() -> None:
    script = ROOT / "scripts" / "blocking_stub.py"
    done = subprocess.run(
        [sys.executable, str(script), "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_importing_the_package_imports_no_grpc() -> None:
    script = (
        "import librarian, sys; librarian.Progress(); assert 'grpc' not in sys.modules; "
        "from librarian import Librarian; assert 'grpc' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
