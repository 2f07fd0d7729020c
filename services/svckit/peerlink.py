"""Calls to other sites: one channel and one session to each, tokens that fit it, and our own errors back.

A session begins with Hello, which tells the receiver's clock and a nonce; tokens are minted for both, so
that neither side's clock need be right. It is renewed when it ages and when the receiver says that it ended.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, NoReturn, Self

import grpc
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from librarian.api.federation.v1.federation_pb2 import HelloRequest, HelloResponse
from librarian.api.federation.v1.federation_pb2_grpc import FederationServiceStub, PairingServiceStub
from librarian.api.store.v1.store_pb2 import WriteUploadResponse
from librarian.api.store.v1.store_pb2_grpc import StoreServiceStub
from librarian.connection.address import Address, parse_address
from librarian.errors import (
    LibrarianError,
    PeerKeyUnknown,
    PeerSessionEnded,
    RoleMayNot,
    Unavailable,
    WrongSite,
)
from librarian.rpc import channel_options, error_from_rpc
from svckit.channels import UNARY_SECONDS, Pairs, call_metadata
from svckit.clock import Clock, SystemClock
from svckit.peertokens import LIFETIME, mint_peer_token

if TYPE_CHECKING:
    from librarian.api.federation.v1.federation_pb2_grpc import (
        FederationServiceAsyncStub,
        PairingServiceAsyncStub,
    )
    from librarian.api.store.v1.store_pb2_grpc import StoreServiceAsyncStub

HELLO_SECONDS = 15.0
# Of a session's time, the part after which the next one is opened.
_RENEWAL = 0.8
_WRITE_UPLOAD = "/librarian.api.store.v1.StoreService/WriteUpload"
_OPTIONS = (
    # A link that is back is found within seconds; one that swallows what is sent is given up as fast.
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.min_reconnect_backoff_ms", 5_000),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    ("grpc.keepalive_time_ms", 10_000),
)


@dataclass(frozen=True, slots=True)
class PeerAddress:
    """`name`: the site that must be there. `insecure`: in the clear beyond this machine, and meant so."""

    name: str
    address: str
    insecure: bool = False


@dataclass(frozen=True, slots=True)
class SiteSigner:
    """In whose name calls are made. `former`: the key before, for peers that do not know `key` yet."""

    site: str
    key: Ed25519PrivateKey
    former: Ed25519PrivateKey | None = None
    clock: Clock = field(default_factory=SystemClock)


@dataclass(frozen=True, slots=True, eq=False)
class Session:
    """`time`: the receiver's clock when our monotonic clock said `at`; `offset`: it less our own clock."""

    nonce: bytes
    time: datetime
    at: float
    renew_at: float
    offset: timedelta
    key: Ed25519PrivateKey

    def receiver_time(self, monotonic: float) -> datetime:
        return self.time + timedelta(seconds=monotonic - self.at)


class PeerLinks:
    """One link to each address, made when first asked for. An async context manager."""

    def __init__(
        self,
        *,
        site: str,
        key: Ed25519PrivateKey,
        former: Ed25519PrivateKey | None = None,
        clock: Clock | None = None,
    ) -> None:
        """`site`, `key`: whose word the calls are. `former`: the key before that one, while peers may not
        have heard of the rotation.
        """
        self._signer = SiteSigner(site, key, former, clock or SystemClock())
        self._links: dict[str, PeerLink] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        links, self._links = self._links, {}
        for link in links.values():
            await link.close()

    def to(self, peer: PeerAddress) -> PeerLink:
        """The same link for the same address. Raises InvalidInput for an address that cannot be used.

        Where a peer has moved, calls under way on the link before end as they will.
        """
        found = self._links.get(peer.name)
        if found is None or found.peer != peer:
            found = self._links[peer.name] = PeerLink(peer, self._signer)
        return found


class PeerLink:
    """To one site at one address. Calls raise LibrarianError: Unavailable where it does not answer,
    WrongSite where another site does, PeerPaused and the like as it says.
    """

    def __init__(self, peer: PeerAddress, signer: SiteSigner) -> None:
        self.peer = peer
        self.session: Session | None = None
        self._signer = signer
        self._address = parse_address(peer.address, insecure=peer.insecure)
        self._channel = _open_channel(self._address)
        # As a channel, for the stubs.
        self._calls: Any = _SessionChannel(self, self._channel)
        self._opening: asyncio.Task[Session] | None = None
        self._key = signer.key
        self._minted: tuple[float, str] | None = None

    async def close(self) -> None:
        if self._opening is not None:
            self._opening.cancel()
            await asyncio.wait([self._opening])
        await self._channel.close()

    @cached_property
    def federation(self) -> FederationServiceAsyncStub:
        stub: FederationServiceAsyncStub = FederationServiceStub(self._calls)
        return stub

    @cached_property
    def store(self) -> StoreServiceAsyncStub:
        """Calls need the metadata `librarian-store` and `librarian-ticket`."""
        stub: StoreServiceAsyncStub = StoreServiceStub(self._calls)
        return stub

    @cached_property
    def pairing(self) -> PairingServiceAsyncStub:
        stub: PairingServiceAsyncStub = PairingServiceStub(self._calls)
        return stub

    async def write_upload(self, metadata: Pairs) -> grpc.aio.StreamUnaryCall[bytes, WriteUploadResponse]:
        """A bare call of StoreService.WriteUpload that takes serialised WriteUploadRequests. What it raises
        (grpc.aio.AioRpcError) is for `error`.
        """
        method: grpc.aio.StreamUnaryMultiCallable[bytes, WriteUploadResponse] = self._channel.stream_unary(
            _WRITE_UPLOAD, response_deserializer=WriteUploadResponse.FromString
        )
        return method(metadata=(*await self.metadata(), *metadata))

    def error(self, error: grpc.aio.AioRpcError, session: Session | None = None) -> LibrarianError:
        """As our class. The session that the receiver calls ended is not used again: that of the call, or
        the present one where it is not given.
        """
        if error.code() is grpc.StatusCode.UNAVAILABLE and not _told_by_a_service(error):
            # The end of what gRPC says is what the system said: "Connection refused".
            why = (error.details() or "").rpartition(": ")[2]
            return Unavailable(
                f"{self.peer.name} does not answer at {self._address.text}: {why}",
                remedy="it is tried again; `librarian peer ls` tells how the link is",
                peer=self.peer.name,
            )
        found = error_from_rpc(error)
        if isinstance(found, PeerSessionEnded | PeerKeyUnknown) and session in {None, self.session}:
            if isinstance(found, PeerKeyUnknown):
                self._key = self._other_key()
            self.session = None
        return found

    async def metadata(self) -> Pairs:
        """Of one call within a session, which is opened where there is none."""
        session = await self.live_session()
        now = self._signer.clock.monotonic()
        if self._minted is None or now >= self._minted[0]:
            token = mint_peer_token(
                session.key,
                issuer=self._signer.site,
                audience=self.peer.name,
                nonce=session.nonce,
                now=session.receiver_time(now),
            )
            self._minted = (now + LIFETIME.total_seconds() / 2, token)
        return call_metadata(self._minted[1])

    def may_help_again(self, error: LibrarianError) -> bool:
        """Whether the same call with a new session, or by the former key, is worth one more try."""
        return isinstance(error, PeerSessionEnded) or (
            isinstance(error, PeerKeyUnknown) and self._signer.former is not None
        )

    async def live_session(self) -> Session:
        """Those who need one at the same time share one Hello, and its failure."""
        session = self.session
        if session is not None and self._signer.clock.monotonic() < session.renew_at:
            return session
        if self._opening is None or self._opening.done():
            self._opening = asyncio.create_task(self._open_session())
            self._opening.add_done_callback(_looked_at)
        return await asyncio.shield(self._opening)

    async def _open_session(self) -> Session:
        clock = self._signer.clock
        asked = clock.monotonic()
        request = HelloRequest(site=self._signer.site)
        try:
            answer: HelloResponse = await PairingServiceStub(self._channel).Hello(
                request, timeout=HELLO_SECONDS
            )
        except grpc.aio.AioRpcError as error:
            raise self.error(error) from error
        if answer.site != self.peer.name:
            raise WrongSite(
                f"at {self._address.text} is the site {answer.site[:80]!r}, not {self.peer.name}",
                peer=self.peer.name,
                found=answer.site[:80],
            )
        at = clock.monotonic()
        time = answer.time.ToDatetime(UTC)
        self._minted = None
        self.session = Session(
            nonce=answer.nonce,
            time=time,
            at=at,
            renew_at=at + answer.session_seconds * _RENEWAL,
            offset=time + timedelta(seconds=(at - asked) / 2) - clock.now(),
            key=self._key,
        )
        # The next session tries the present key again: the peer may have heard of it by then.
        self._key = self._signer.key
        return self.session

    def _other_key(self) -> Ed25519PrivateKey:
        used = self.session.key if self.session is not None else self._signer.key
        former = self._signer.former
        return former if former is not None and used is self._signer.key else self._signer.key


class _SessionChannel:
    """What generated stubs are made on. A call whose session has ended is made once more in a new one."""

    def __init__(self, link: PeerLink, channel: grpc.aio.Channel) -> None:
        self._link = link
        self._channel = channel

    def unary_unary(self, method: str, *args: Any, **kwargs: Any) -> Callable[..., Any]:
        invoke = self._channel.unary_unary(method, *args, **kwargs)
        link = self._link

        async def call(
            request: Any,
            *,
            timeout: float | None = None,  # noqa: ASYNC109 - the stub's own word
            metadata: Any = None,
            **options: Any,
        ) -> Any:
            async def once() -> Any:
                pairs = (*await link.metadata(), *(metadata or ()))
                session = link.session
                try:
                    return await invoke(request, timeout=timeout or UNARY_SECONDS, metadata=pairs, **options)
                except grpc.aio.AioRpcError as error:
                    raise link.error(error, session) from error

            try:
                return await once()
            except LibrarianError as error:
                if not link.may_help_again(error):
                    raise
            return await once()

        return call

    def stream_unary(self, method: str, *_args: Any, **_kwargs: Any) -> Callable[..., Any]:
        return _not_for_peers(method)

    unary_stream = stream_unary
    stream_stream = stream_unary


def _not_for_peers(method: str) -> Callable[..., NoReturn]:
    """Sites stream nothing to one another but bytes, for which there is `write_upload`."""

    def refuse(*_args: Any, **_kwargs: Any) -> NoReturn:
        raise RoleMayNot(f"{method} is not for peers", method=method)

    return refuse


def _open_channel(address: Address) -> grpc.aio.Channel:
    options = {**dict(channel_options(http_proxy=address.secure)), **dict(_OPTIONS)}
    pairs = list(options.items())
    if not address.secure:
        return grpc.aio.insecure_channel(address.target, options=pairs)
    return grpc.aio.secure_channel(address.target, grpc.ssl_channel_credentials(), options=pairs)


def _looked_at(opening: asyncio.Task[Session]) -> None:
    """Everyone who waited for it may be gone when it fails."""
    if not opening.cancelled():
        opening.exception()


def _told_by_a_service(error: grpc.aio.AioRpcError) -> bool:
    return any(key == "grpc-status-details-bin" for key, _ in error.trailing_metadata() or ())
