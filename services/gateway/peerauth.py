"""Other sites at the door: a JWT for a session, signed by a key that this site has pinned."""

from __future__ import annotations

from collections import OrderedDict

from gateway.peerbook import PeerBook
from gateway.sessions import check_nonce
from librarian.errors import LibrarianError, PeerSessionEnded, PeerUnknown
from svckit.auth import Caller
from svckit.clock import Clock
from svckit.peertokens import PeerClaim, PeerToken, read_claim, verify_peer_token
from svckit.telemetry import Logger

_REMEMBERED = 1024


class PeerAuthentication:
    """`session_key`: what the nonces of this site's gateways are made with."""

    def __init__(
        self, own_site: str, book: PeerBook, clock: Clock, logger: Logger, *, session_key: bytes
    ) -> None:
        self._own_site = own_site
        self._book = book
        self._clock = clock
        self._logger = logger
        self._session_key = session_key
        # Checking a signature costs 0.2 ms; who its bearer is, and whether it may call, is asked each time.
        self._verified: OrderedDict[str, tuple[PeerClaim, PeerToken]] = OrderedDict()

    async def __call__(self, token: str, method: str) -> Caller:
        """Raises PeerTokenInvalid, PeerSessionEnded, PeerKeyUnknown, PeerUnknown, PeerPaused, Unavailable."""
        known = self._verified.get(token)
        claim = known[0] if known is not None else None
        try:
            claim = claim or read_claim(token)
            return await self._check(token, claim, known[1] if known is not None else None)
        except LibrarianError as error:
            self._logger.warning(
                "peer_refused",
                site=claim.issuer if claim is not None else "",
                key_id=claim.key_id if claim is not None else "",
                method=method,
                reason=error.reason,
                message=error.message,
            )
            raise

    async def _check(self, token: str, claim: PeerClaim, verified: PeerToken | None) -> Caller:
        now = self._clock.now()
        peer = (await self._book.peers()).by_name.get(claim.issuer)
        if peer is None:
            raise PeerUnknown(f"{self._own_site} knows no site {claim.issuer!r}")
        key = peer.session_key(claim.key_id, now)
        if verified is None:
            verified = verify_peer_token(token, key, issuer=peer.name, audience=self._own_site, now=now)
            self._remember(token, claim, verified)
        elif now >= verified.expires:
            # Another call with it, or a change of peers, may have forgotten it meanwhile.
            self._verified.pop(token, None)
            raise PeerSessionEnded(f"the token of {peer.name} is past its time")
        check_nonce(self._session_key, verified.nonce, now)
        peer.check_running(self._own_site)
        return peer.caller

    def forget(self) -> None:
        """Every signature is checked again, and peers are read again."""
        self._verified.clear()
        self._book.forget()

    def _remember(self, token: str, claim: PeerClaim, verified: PeerToken) -> None:
        self._verified[token] = (claim, verified)
        if len(self._verified) > _REMEMBERED:
            self._verified.popitem(last=False)
