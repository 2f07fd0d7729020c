"""A bare TCP receiver in a process of its own: socket -> write -> hash -> fsync -> the digest goes back.

`python -m tests.bench.sink DIRECTORY ALGORITHM` prints its port and takes one file a connection.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from librarian.checksums import new_hasher
from tests.bench.plain import CHUNK_BYTES, write_all


def send_file(port: int, source: Path) -> bytes:
    """The digest of what the sink has received and made durable."""
    buffer = memoryview(bytearray(CHUNK_BYTES))
    with socket.create_connection(("127.0.0.1", port)) as door:
        reading = os.open(source, os.O_RDONLY)
        try:
            while count := os.readv(reading, [buffer]):
                door.sendall(buffer[:count])
        finally:
            os.close(reading)
        door.shutdown(socket.SHUT_WR)
        return door.recv(64)


@contextmanager
def running_sink(directory: Path, algorithm: str) -> Iterator[int]:
    """Its port."""
    command = [sys.executable, "-m", "tests.bench.sink", str(directory), algorithm]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.terminate()


def _receive(door: socket.socket, destination: Path, algorithm: str) -> None:
    hasher = new_hasher(algorithm)
    buffer = memoryview(bytearray(CHUNK_BYTES))
    writing = os.open(destination, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    try:
        while count := door.recv_into(buffer):
            write_all(writing, buffer[:count])
            hasher.update(buffer[:count])
        os.fsync(writing)
    finally:
        os.close(writing)
    door.sendall(hasher.digest())


def _main(directory: str, algorithm: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        print(server.getsockname()[1], flush=True)
        while True:
            door, _ = server.accept()
            with door:
                _receive(door, Path(directory) / "received", algorithm)


if __name__ == "__main__":
    _main(*sys.argv[1:])
