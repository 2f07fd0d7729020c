"""A bare grpc.aio byte stream into a hash, in a process of its own: the limit of streaming between sites.

`python -m tests.bench.streams ALGORITHM` prints its port; each stream's digest goes back.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from librarian.checksums import new_hasher

_METHOD = "/bench.Bare/Take"
_CHUNK_BYTES = 1 << 20
_OPTIONS = [("grpc.max_receive_message_length", 4 << 20)]


def bare_stream_bytes_per_second(source: Path) -> float:
    """Read, streamed, hashed on the other side."""
    command = [sys.executable, "-m", "tests.bench.streams", "sha256"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            seconds = asyncio.run(_send(int(process.stdout.readline()), source))
            return source.stat().st_size / seconds
        finally:
            process.terminate()


async def _send(port: int, source: Path) -> float:
    async def chunks() -> AsyncIterator[bytes]:
        with source.open("rb", buffering=0) as file:
            while chunk := file.read(_CHUNK_BYTES):
                yield chunk

    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=_OPTIONS) as channel:
        begin = time.perf_counter()
        await channel.stream_unary(_METHOD)(chunks())
        return time.perf_counter() - begin


async def _serve(algorithm: str) -> None:
    async def take(requests: AsyncIterator[bytes], _context: Any) -> bytes:
        hasher = new_hasher(algorithm)
        async for chunk in requests:
            hasher.update(chunk)
        return hasher.digest()

    server = grpc.aio.server(options=_OPTIONS)
    handler = grpc.method_handlers_generic_handler(
        "bench.Bare", {"Take": grpc.stream_unary_rpc_method_handler(take)}
    )
    server.add_generic_rpc_handlers((handler,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(port, flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(_serve(*sys.argv[1:]))
