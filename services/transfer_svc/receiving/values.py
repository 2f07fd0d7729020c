"""Deliveries as this service's code passes them on. The order of fields is that of the columns read."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Bringer:
    """Who brings: a peer, or with an empty `peer` this site's own workers. Tickets are for `token_id` and
    `subject`.
    """

    peer: str
    token_id: str
    subject: str


@dataclass(frozen=True, slots=True)
class Delivery:
    """A delivery, with what its ingest tells: `store`, `verified_bytes`, and `trouble_json`, its error."""

    delivery_id: str
    peer: str
    batch_id: str
    uid: str
    name: str
    size_bytes: int
    state: int
    upload_id: str
    receipt: bytes | None
    error_json: str
    accept_time: datetime
    update_time: datetime
    store: str
    verified_bytes: int
    trouble_json: str


@dataclass(frozen=True, slots=True)
class Ended:
    """What became of the upload of deliveries. `state`: a final DeliveryState."""

    upload_id: str
    state: int
    receipt: bytes | None = None
    error_json: str = ""
