"""How the services behind the gateway are, by the health check each of them answers."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from gateway.backends import Backend
from librarian.api.gateway.v1.gateway_pb2 import ServiceHealth

CHECK_SECONDS = 1.5

_SERVING = health_pb2.HealthCheckResponse.SERVING


async def health_of(named: Iterable[tuple[str, Backend]]) -> list[ServiceHealth]:
    """One for each, in order, asked all at once; takes CHECK_SECONDS at most."""
    return list(await asyncio.gather(*(_check(name, backend) for name, backend in named)))


async def _check(name: str, backend: Backend) -> ServiceHealth:
    stub = health_pb2_grpc.HealthStub(backend.channel)
    try:
        answer = await stub.Check(health_pb2.HealthCheckRequest(), timeout=CHECK_SECONDS)
    except grpc.aio.AioRpcError as error:
        return ServiceHealth(service=name, detail=_why(error))
    if answer.status == _SERVING:
        return ServiceHealth(service=name, serving=True)
    return ServiceHealth(service=name, detail="it is starting or stopping")


def _why(error: grpc.aio.AioRpcError) -> str:
    if error.code() is grpc.StatusCode.UNAVAILABLE:
        return "it does not answer: is it running?"
    if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
        return f"no answer within {CHECK_SECONDS} s"
    return f"the health check failed: {error.code().name}"
