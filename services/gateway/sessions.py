"""Sessions that other sites open by Hello. Pure: nothing of one is stored.

A nonce is a time, 16 random bytes, and a MAC over both by a key that only this site's gateways have: any of
them knows its own again, after a restart too, and none can be made up.
"""

from __future__ import annotations

import hmac
from datetime import UTC, datetime, timedelta

from librarian.errors import PeerSessionEnded

RANDOM_BYTES = 16
SESSION = timedelta(hours=1)
# Of one clock that was set back a little; more than that ends sessions.
_LEEWAY = timedelta(seconds=5)
_TIME_BYTES = 8
_MAC_BYTES = 16
_NONCE_BYTES = _TIME_BYTES + RANDOM_BYTES + _MAC_BYTES


def make_nonce(key: bytes, random: bytes, now: datetime) -> bytes:
    """`random`: 16 bytes that were never used before."""
    content = int(now.timestamp() * 1000).to_bytes(_TIME_BYTES, "big") + random
    return content + _mac(key, content)


def check_nonce(key: bytes, nonce: bytes, now: datetime) -> None:
    """Raises PeerSessionEnded: too old, of a clock that was since set back, or no nonce of ours."""
    content, mac = nonce[:-_MAC_BYTES], nonce[-_MAC_BYTES:]
    if len(nonce) != _NONCE_BYTES or not hmac.compare_digest(_mac(key, content), mac):
        raise PeerSessionEnded("this site opened no such session")
    opened = datetime.fromtimestamp(int.from_bytes(content[:_TIME_BYTES], "big") / 1000, UTC)
    if not -_LEEWAY <= now - opened < SESSION:
        raise PeerSessionEnded(f"the session of {opened:%Y-%m-%dT%H:%M:%SZ} has ended")


def _mac(key: bytes, content: bytes) -> bytes:
    return hmac.digest(key, b"librarian session\0" + content, "sha256")[:_MAC_BYTES]
