"""Addresses and socket files."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from librarian.errors import AlreadyRunning, InvalidConfig
from svckit.addresses import is_loopback, prepare_socket, split_host_port, unix_path


@pytest.fixture
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # Short enough for a socket.
    return tmp_path_factory.mktemp("s")


def test_unix_paths() -> None:
    assert unix_path("unix:/run/a.sock") == unix_path("unix:///run/a.sock") == Path("/run/a.sock")
    assert unix_path("localhost:1") is None


def test_hosts_and_ports() -> None:
    assert split_host_port("0.0.0.0:80") == ("0.0.0.0", 80)
    assert split_host_port("[::1]:80") == ("::1", 80)
    for wrong in ("", "host", "host:", ":x", "host:99999"):
        with pytest.raises(InvalidConfig):
            split_host_port(wrong)


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("a.b", False),
    ],
)
def test_loopback(host: str, *, loopback: bool) -> None:
    assert is_loopback(host) is loopback


def test_the_directory_is_ours_alone(directory: Path) -> None:
    prepare_socket(directory / "new" / "a.sock")
    assert (directory / "new").stat().st_mode & 0o777 == 0o700


def test_a_dead_socket_is_replaced_and_a_live_one_is_not(directory: Path) -> None:
    path = directory / "a.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        with pytest.raises(AlreadyRunning, match="already listens"):
            prepare_socket(path)
    assert path.exists()
    prepare_socket(path)
    assert not path.exists()


def test_what_is_no_socket_stays(directory: Path) -> None:
    path = directory / "precious"
    path.write_text("data")
    with pytest.raises(InvalidConfig, match="is no socket"):
        prepare_socket(path)
    assert path.read_text() == "data"


def test_a_path_too_long_is_told(directory: Path) -> None:
    with pytest.raises(InvalidConfig, match="longer than 107 bytes"):
        prepare_socket(directory / ("x" * 120) / "a.sock")
