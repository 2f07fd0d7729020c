"""Byte-level forwarding of one call, for each of the four kinds of gRPC method.

Messages are never parsed. Each is handed on before the next is asked for, so a slow reader slows its
writer through HTTP/2's own windows and nothing piles up here. Deadline, cancellation, initial and
trailing metadata and the status with its details cross unchanged.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any, NoReturn

import grpc
import grpc.aio

from gateway.backends import Backend, wire_broke
from gateway.metadata import Pair, to_client

Context = grpc.aio.ServicerContext[bytes, bytes]

# The server sees a broken client first as an end of its stream and only some loop turns later as a
# cancellation. Handing on the end at once would make a torn stream look complete to the service.
HALF_CLOSE_GRACE_SECONDS = 0.005


async def unary_unary(
    backend: Backend, path: str, request: bytes, metadata: Sequence[Pair], context: Context
) -> bytes:
    """One message there, one back."""
    method: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = backend.channel.unary_unary(path)
    call = method(request, metadata=metadata, timeout=context.time_remaining())
    return await _answer(backend, call, context)


async def stream_unary(
    backend: Backend,
    path: str,
    requests: AsyncIterator[bytes],
    metadata: Sequence[Pair],
    context: Context,
) -> bytes:
    """Many messages there, one back."""
    method: grpc.aio.StreamUnaryMultiCallable[bytes, bytes] = backend.channel.stream_unary(path)
    call = method(_until_end(requests), metadata=metadata, timeout=context.time_remaining())
    return await _answer(backend, call, context)


async def unary_stream(
    backend: Backend, path: str, request: bytes, metadata: Sequence[Pair], context: Context
) -> None:
    """One message there, many back."""
    method: grpc.aio.UnaryStreamMultiCallable[bytes, bytes] = backend.channel.unary_stream(path)
    call = method(request, metadata=metadata, timeout=context.time_remaining())
    await _answers(backend, call, context)


async def stream_stream(
    backend: Backend,
    path: str,
    requests: AsyncIterator[bytes],
    metadata: Sequence[Pair],
    context: Context,
) -> None:
    """Many messages both ways, independently of one another."""
    method: grpc.aio.StreamStreamMultiCallable[bytes, bytes] = backend.channel.stream_stream(path)
    call = method(_until_end(requests), metadata=metadata, timeout=context.time_remaining())
    await _answers(backend, call, context)


async def _until_end(requests: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    async for message in requests:
        yield message
    await asyncio.sleep(HALF_CLOSE_GRACE_SECONDS)


async def _answer(backend: Backend, call: Any, context: Context) -> bytes:
    try:
        response: bytes = await call
        await _head(call, context)
        context.set_trailing_metadata(to_client(await call.trailing_metadata()))
    except grpc.aio.AioRpcError as error:
        await _fail(backend, error, context)
    finally:
        call.cancel()
    return response


async def _answers(backend: Backend, call: Any, context: Context) -> None:
    try:
        await _head(call, context)
        async for message in call:
            await context.write(message)
        context.set_trailing_metadata(to_client(await call.trailing_metadata()))
    except grpc.aio.AioRpcError as error:
        await _fail(backend, error, context)
    finally:
        call.cancel()


async def _head(call: Any, context: Context) -> None:
    head = to_client(await call.initial_metadata())
    if head:
        await context.send_initial_metadata(head)


async def _fail(backend: Backend, error: grpc.aio.AioRpcError, context: Context) -> NoReturn:
    """Ends the client's call as the service ended ours; a wire that broke is told in our own words."""
    if wire_broke(error):
        raise backend.no_answer() from error
    await context.abort(error.code(), error.details() or "", to_client(error.trailing_metadata()))
