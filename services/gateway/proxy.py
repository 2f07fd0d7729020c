"""The handlers of every proxied RPC: whose call it is, where it goes, what goes along, and the way there."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any, TypeAlias

import grpc
import grpc.aio

from gateway import forward
from gateway.backends import Backend
from gateway.forward import Context
from gateway.metadata import Pair, to_service
from gateway.methods import PROXIED_METHODS, Method
from gateway.opencalls import OpenCalls
from gateway.routing import Router
from svckit.auth import Caller, Role, Signer, current_caller
from svckit.channels import call_metadata
from svckit.faults import Faults

# Looks at a request before it is forwarded; raises LibrarianError to refuse it.
Check = Callable[[bytes, Backend], Awaitable[None]]
# Answers a unary request at the gateway itself.
Answering = Callable[[bytes, Context], Awaitable[bytes]]

Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"

_TRACEPARENT = "traceparent"


class Proxy(grpc.GenericRpcHandler):
    """A generic handler for all methods of all services behind the gateway."""

    def __init__(
        self,
        router: Router,
        signer: Signer,
        calls: OpenCalls,
        peer_calls: OpenCalls,
        faults: Faults,
        *,
        checks: dict[str, Check],
        answering: dict[str, Answering],
    ) -> None:
        """`checks` and `answering`: by path, for the few methods that are more than forwarded."""
        self._router = router
        self._signer = signer
        self._calls = calls
        self._peer_calls = peer_calls
        self._faults = faults
        self._checks = checks
        self._handlers = {method.path: self._forwarding(method) for method in PROXIED_METHODS.values()}
        for path, answer in answering.items():
            self._handlers[path] = grpc.unary_unary_rpc_method_handler(self._answering(answer))

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Handler | None:
        """Called by gRPC for each call, and by the guard once a method."""
        return self._handlers.get(handler_call_details.method)

    def outgoing(self, caller: Caller, backend: Backend, incoming: Iterable[Pair]) -> Sequence[Pair]:
        """Metadata of the call to a service: our word for who calls, the trace as it stands here (so the
        service's span lies under ours), and what the client's own metadata may bring.
        """
        kept = [pair for pair in to_service(incoming) if pair[0] != _TRACEPARENT]
        return [*call_metadata(self._signer.mint(caller, backend.audience)), *kept]

    def _forwarding(self, method: Method) -> Handler:
        make, send = _KINDS[method.client_streaming, method.server_streaming]
        check = self._checks.get(method.path)

        async def serve(request: Any, context: Context) -> Any:
            caller = current_caller()
            incoming = context.invocation_metadata() or ()
            with self._watched(caller):
                backend = await self._router.route(method, incoming)
                if check is not None:
                    await check(request, backend)
                self._faults.hit("gateway.before_forward")
                outgoing = self.outgoing(caller, backend, incoming)
                answer = await send(backend, method.path, request, outgoing, context)
                self._faults.hit("gateway.after_forward")
                return answer

        handler: Handler = make(serve)
        return handler

    def _answering(self, answer: Answering) -> Answering:
        async def serve(request: bytes, context: Context) -> bytes:
            with self._watched(current_caller()):
                return await answer(request, context)

        return serve

    def _watched(self, caller: Caller) -> AbstractContextManager[None]:
        calls = self._peer_calls if caller.role is Role.PEER else self._calls
        return calls.watch(caller.token_id)


_KINDS: dict[tuple[bool, bool], tuple[Any, Any]] = {
    (False, False): (grpc.unary_unary_rpc_method_handler, forward.unary_unary),
    (False, True): (grpc.unary_stream_rpc_method_handler, forward.unary_stream),
    (True, False): (grpc.stream_unary_rpc_method_handler, forward.stream_unary),
    (True, True): (grpc.stream_stream_rpc_method_handler, forward.stream_stream),
}
