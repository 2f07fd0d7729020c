"""Page tokens of keyset listings.

A token holds the sort keys of the last row sent and a digest that binds it to the request it came
from: with another filter or order it is refused rather than silently answering nonsense.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Sequence

from librarian.errors import InvalidInput, InvalidPageToken

JsonValue = str | int | float | bool | None

_DIGEST_BYTES = 12
# Two names of 2048 bytes, escaped and in base64, with room to spare.
_TOKEN_CHARS = 16_384


def encode_page_token(keys: Sequence[JsonValue], *, binding: bytes) -> str:
    """`binding`: whatever of the request must stay the same from page to page, in a stable form."""
    payload = json.dumps(list(keys), ensure_ascii=False, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(_digest(payload, binding) + payload).decode().rstrip("=")


def decode_page_token(token: str, *, binding: bytes) -> list[JsonValue]:
    """The keys of `token`. Raises InvalidPageToken: garbled, or of another request."""
    if len(token) > _TOKEN_CHARS:
        raise InvalidPageToken("the page token is too long")
    try:
        raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
    except (binascii.Error, ValueError) as error:
        raise InvalidPageToken("the page token is garbled") from error
    digest, payload = raw[:_DIGEST_BYTES], raw[_DIGEST_BYTES:]
    if digest != _digest(payload, binding):
        raise InvalidPageToken("the page token belongs to another request")
    # The digest is no signature: whoever reads this can make a token of anything.
    try:
        keys = json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise InvalidPageToken("the page token is garbled") from error
    if not isinstance(keys, list) or any(isinstance(key, list | dict) for key in keys):
        raise InvalidPageToken("the page token is garbled")
    return keys


def page_size(requested: int, *, default: int = 100, maximum: int = 1000) -> int:
    """Rows to send: 0 means `default`; more than `maximum` is cut to it; negative is refused."""
    if requested < 0:
        raise InvalidInput(f"page_size is {requested}", remedy=f"use 1 to {maximum}, or 0 for {default}")
    return min(requested, maximum) or default


def _digest(payload: bytes, binding: bytes) -> bytes:
    bound = len(binding).to_bytes(8, "big") + binding + payload
    return hashlib.sha256(bound).digest()[:_DIGEST_BYTES]
