"""The wire of tests and demos carries, is thin, is cut, is silent and is mended."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from librarian.testing.link import Link


@pytest.fixture
def echo() -> Iterator[str]:
    """The address of a server that says everything back."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve(connection: socket.socket) -> None:
        with connection:
            try:
                while data := connection.recv(65536):
                    connection.sendall(data)
            except OSError:
                pass

    def accept() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    host, port = server.getsockname()
    yield f"{host}:{port}"
    server.shutdown(socket.SHUT_RDWR)
    server.close()
    thread.join(5)


def _dial(link: Link) -> socket.socket:
    host, _, port = link.address.rpartition(":")
    connection = socket.create_connection((host, int(port)), timeout=5)
    connection.settimeout(5)
    return connection


def _said_back(connection: socket.socket, data: bytes) -> bytes:
    connection.sendall(data)
    found = b""
    while len(found) < len(data):
        part = connection.recv(65536)
        if not part:
            break
        found += part
    return found


def _is_dead(connection: socket.socket) -> bool:
    try:
        connection.sendall(b"x")
        return not connection.recv(1)
    except ConnectionError:
        return True


def test_it_carries_both_ways_and_counts(echo: str) -> None:
    with Link() as link:
        link.lead_to(f"grpc://{echo}")
        with _dial(link) as connection:
            assert _said_back(connection, b"x" * 100_000) == b"x" * 100_000
        assert link.carried_bytes == link.returned_bytes == 100_000


def test_a_thin_one_takes_its_time(echo: str) -> None:
    with Link(8_000_000) as link:
        link.lead_to(echo)
        with _dial(link) as connection:
            began = time.monotonic()
            _said_back(connection, b"x" * 300_000)
            # 300 kB at 1 MB/s, less the burst; a busy machine only makes it longer.
            assert time.monotonic() - began > 0.2


def test_cut_and_mended(echo: str) -> None:
    with Link() as link:
        link.lead_to(echo)
        with _dial(link) as connection:
            assert _said_back(connection, b"before") == b"before"
            link.cut()
            assert _is_dead(connection)
        with _dial(link) as connection:
            assert _is_dead(connection)
        link.mend()
        with _dial(link) as connection:
            assert _said_back(connection, b"after") == b"after"


def test_hushed_it_tells_nobody(echo: str) -> None:
    with Link() as link:
        link.lead_to(echo)
        with _dial(link) as connection:
            assert _said_back(connection, b"before") == b"before"
            link.hush()
            connection.sendall(b"meanwhile")
            connection.settimeout(0.2)
            with pytest.raises(TimeoutError):
                connection.recv(1)
            connection.settimeout(5)
            link.mend()
            assert connection.recv(9) == b"meanwhile"


def test_it_breaks_after_the_byte_it_is_told_to(echo: str) -> None:
    with Link() as link:
        link.lead_to(echo)
        link.snap(carried=10)
        with _dial(link) as connection:
            assert _said_back(connection, b"x" * 6) == b"x" * 6
            assert len(_said_back(connection, b"y" * 6)) < 6
            assert _is_dead(connection)
        assert link.carried_bytes == 10
        # Once; and what is planned can be called off.
        link.snap(returned=3)
        link.snap()
        with _dial(link) as connection:
            assert _said_back(connection, b"whole") == b"whole"
