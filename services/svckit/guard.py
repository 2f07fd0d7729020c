"""The one wrapper around every RPC a service serves: who, may they, trace, time, and how it ended.

Handlers are wrapped once, when they are registered, rather than by an interceptor at each call: the cost
is one coroutine around the servicer's own. Errors a servicer raises become statuses here.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from time import perf_counter
from typing import Any, NoReturn

import grpc
from grpc.aio import AbortError, InternalError

from librarian.errors import Code, DeadlineExceeded, LibrarianError, RoleMayNot, TokenMissing
from svckit.auth import Caller, Role, Verifier, known_subject, set_caller
from svckit.clock import Ids
from svckit.roles import METHOD_ROLES, OPEN_METHODS, is_probe
from svckit.status import code_of, cut, hidden, is_our_fault, trailers_of
from svckit.telemetry import Logger, Metrics
from svckit.tracing import Tracing, is_traceparent, set_traceparent

CallMetadata = Mapping[str, str | bytes]
Context = grpc.aio.ServicerContext[Any, Any]
Behaviour = Callable[[Any, Context], Any]
# Tells who is calling, from the metadata and the full method name; may have to ask a database. Raises
# Unauthenticated.
Authenticator = Callable[[CallMetadata, str], Caller | Awaitable[Caller]]

_BEARER = "Bearer "
_LOGGED_BYTES = 2000
_UNKNOWN = ("unknown", "unknown")


def service_tokens(verifier: Verifier) -> Authenticator:
    """Callers show a service token: `authorization: Bearer …`."""

    def authenticate(metadata: CallMetadata, _method: str) -> Caller:
        return verifier.verify(bearer_token(metadata))

    return authenticate


def bearer_token(metadata: CallMetadata) -> str:
    """Raises TokenMissing."""
    value = metadata.get("authorization", "")
    if not isinstance(value, str) or not value.startswith(_BEARER):
        raise TokenMissing("the call carries no token")
    return value.removeprefix(_BEARER)


class Guard:
    """Shared by all handlers of one port."""

    def __init__(
        self,
        *,
        authenticate: Authenticator,
        metrics: Metrics,
        tracing: Tracing,
        ids: Ids,
        logger: Logger,
        unary_seconds: float,
        method_roles: Mapping[str, frozenset[Role]] = METHOD_ROLES,
    ) -> None:
        self._authenticate = authenticate
        self._metrics = metrics
        self._tracing = tracing
        self._ids = ids
        self._logger = logger
        self._unary_seconds = unary_seconds
        self._method_roles = method_roles
        self._tells_success = logger.is_enabled_for(10)

    def knows(self, method: str) -> bool:
        return method in self._method_roles or method in OPEN_METHODS

    def refusing(self, method: str) -> Any:
        """A handler for a method nobody has a role for. Made anew each time, and counted under one name:
        callers cannot fill the memory with names they invent.
        """
        return grpc.stream_stream_rpc_method_handler(self._guarded(_nothing, method, _UNKNOWN))

    def wrap(self, method: str, handler: Any) -> Any:
        """`handler` (a grpc.RpcMethodHandler of asyncio functions) as it may be served."""
        if is_probe(method):
            return handler
        if not self.knows(method):
            return self.refusing(method)
        if handler.request_streaming:
            behaviour = handler.stream_stream or handler.stream_unary
        else:
            behaviour = handler.unary_stream or handler.unary_unary
        unary = not (handler.request_streaming or handler.response_streaming)
        served = _pumped(behaviour) if handler.response_streaming else behaviour
        if self._tracing.enabled:
            served = _traced(served, self._tracing, method)
        if unary:
            served = _limited(served, self._unary_seconds)
        make = _MAKERS[handler.request_streaming, handler.response_streaming]
        guarded = self._guarded(served, method, _labels_of(method))
        return make(guarded, handler.request_deserializer, handler.response_serializer)

    def _guarded(self, behaviour: Behaviour, method: str, labels: tuple[str, str]) -> Behaviour:
        authenticate = self._authenticate
        roles = self._method_roles.get(method, frozenset())
        succeeded = self._metrics.rpc_seconds.labels(*labels, "OK")
        tells_success = self._tells_success
        needs_caller = method not in OPEN_METHODS

        async def serve(request: Any, context: Context) -> Any:
            started = perf_counter()
            try:
                metadata: CallMetadata = dict(context.invocation_metadata() or ())
                set_traceparent(_traceparent_in(metadata))
                if needs_caller:
                    found = authenticate(metadata, method)
                    caller = found if found.__class__ is Caller else await found  # type: ignore[misc]
                    set_caller(caller)
                    _check_role(caller, method, roles)
                response = await behaviour(request, context)
            except BaseException as error:  # noqa: BLE001 - each kind ends the call in its own way
                await self._fail(error, context, method, labels, started)
            seconds = perf_counter() - started
            succeeded.observe(seconds)
            if tells_success:
                self._logger.debug("rpc_served", method=method, caller=known_subject(), seconds=seconds)
            return response

        return serve

    async def _fail(
        self, error: BaseException, context: Context, method: str, labels: tuple[str, str], started: float
    ) -> NoReturn:
        if isinstance(error, InternalError):
            # gRPC could not hand on an answer: the client is gone, or its deadline has passed.
            error = asyncio.CancelledError()
        told = error if isinstance(error, LibrarianError) else _only_ours(error)
        if told is not None and not _is_bug(told):
            code = code_of(told).name
        elif isinstance(error, asyncio.CancelledError):
            code = "DEADLINE_EXCEEDED" if context.time_remaining() == 0 else "CANCELLED"
        elif isinstance(error, AbortError):
            code = _name_of(context.code())
        else:
            code = "INTERNAL"
        seconds = perf_counter() - started
        self._metrics.rpc_seconds.labels(*labels, code).observe(seconds)
        if not isinstance(error, Exception) or isinstance(error, AbortError):
            self._logger.debug("rpc_ended_early", method=method, code=code, seconds=seconds)
            raise error
        if told is None or _is_bug(told):
            told = hidden(self._ids.new_uid())
            fields = {"method": method, "caller": known_subject(), "error_id": told.metadata["error_id"]}
            self._logger.error("rpc_failed", **fields, exc_info=error)
        else:
            log = self._logger.warning if is_our_fault(told) else self._logger.info
            log(
                "rpc_refused",
                method=method,
                caller=known_subject(),
                code=code,
                reason=told.reason,
                message=cut(told.message, _LOGGED_BYTES),
            )
        message, trailers = trailers_of(told)
        try:
            await context.abort(code_of(told), message, trailers)
        except InternalError as gone:
            raise asyncio.CancelledError from gone


_MAKERS: dict[tuple[bool, bool], Callable[..., Any]] = {
    (False, False): grpc.unary_unary_rpc_method_handler,
    (False, True): grpc.unary_stream_rpc_method_handler,
    (True, False): grpc.stream_unary_rpc_method_handler,
    (True, True): grpc.stream_stream_rpc_method_handler,
}


async def _nothing(_request: Any, _context: Context) -> None:
    """Never reached: no role may."""


def _labels_of(method: str) -> tuple[str, str]:
    _, service, name = method.split("/")
    return service, name


def _traceparent_in(metadata: CallMetadata) -> str:
    value = metadata.get("traceparent")
    return value if value and isinstance(value, str) and is_traceparent(value) else ""


def _pumped(behaviour: Behaviour) -> Behaviour:
    """A stream of answers as one coroutine, so that the servicer's generator is closed as soon as the
    call ends, not when it is collected.
    """

    async def pump(request: Any, context: Context) -> None:
        answers = behaviour(request, context)
        if not isinstance(answers, AsyncIterator):
            await answers
            return
        try:
            async for answer in answers:
                await context.write(answer)
        finally:
            if isinstance(answers, AsyncGenerator):
                await answers.aclose()

    return pump


def _traced(behaviour: Behaviour, tracing: Tracing, method: str) -> Behaviour:
    async def traced(request: Any, context: Context) -> Any:
        with tracing.span(method[1:], server=True):
            return await behaviour(request, context)

    return traced


def _limited(behaviour: Behaviour, limit: float) -> Behaviour:
    """A caller that sets no deadline does not get to wait for ever."""

    async def limited(request: Any, context: Context) -> Any:
        if context.time_remaining() is not None:
            return await behaviour(request, context)
        scope = asyncio.timeout(limit)
        try:
            async with scope:
                return await behaviour(request, context)
        except TimeoutError as error:
            if scope.expired():
                raise DeadlineExceeded(f"not done within {limit:g} s") from error
            raise

    return limited


def _check_role(caller: Caller, method: str, roles: frozenset[Role]) -> None:
    if caller.role in roles:
        return
    name = method.rpartition("/")[2]
    allowed = ", ".join(role for role in Role if role in roles)
    raise RoleMayNot(
        f"{caller.subject} has role {caller.role}, and {name} is for {allowed or 'nobody'}",
        role=caller.role,
        method=name,
    )


def _only_ours(error: BaseException) -> LibrarianError | None:
    """What a task group collected, where all of it is ours: the first."""
    if not isinstance(error, BaseExceptionGroup):
        return None
    ours, others = error.split(LibrarianError)
    if ours is None or others is not None:
        return None
    first: BaseException = ours
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    return first if isinstance(first, LibrarianError) else None


def _is_bug(error: LibrarianError) -> bool:
    """One that says nothing about its cause, unless another service has written that down already."""
    return error.code in {Code.INTERNAL, Code.UNKNOWN} and "error_id" not in error.metadata


def _name_of(code: Any) -> str:
    return code.name if isinstance(code, grpc.StatusCode) else str(code)
