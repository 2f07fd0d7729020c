"""What comes with an offer, to values: items and their origins, checked one by one."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Sequence

from librarian.api.common.v1.common_pb2 import Checksum, Origin
from librarian.api.federation.v1 import federation_pb2 as pb
from librarian.errors import InvalidInput, LibrarianError, OriginInvalid, SignatureInvalid
from svckit.statements import KeyRing, read_origin, verify_origin
from transfer_svc.receiving.judging import Birth, Content, Offered, check_birth, check_offered


def digest_of(request: pb.OfferRequest) -> bytes:
    """Of what a batch is: its items and where they shall go. Introductions may come and go."""
    told = pb.OfferRequest(batch_id=request.batch_id, items=request.items, store=request.store)
    return hashlib.sha256(told.SerializeToString(deterministic=True)).digest()


def check_uids(items: Sequence[pb.OfferItem]) -> None:
    """Raises InvalidInput: no uid at all, or the same twice; such a batch cannot be talked about."""
    seen: set[str] = set()
    for item in items:
        if not is_uid(item.uid):
            raise InvalidInput(f"{item.uid[:80]!r} is no uid", remedy="offer canonical UUIDs", field="uid")
        if item.uid in seen:
            raise InvalidInput(f"{item.uid} is offered twice in one batch", uid=item.uid)
        seen.add(item.uid)


def is_uid(text: str) -> bool:
    """Canonical, in lower case."""
    try:
        return str(uuid.UUID(text)) == text
    except ValueError:
        return False


def read_items(
    items: Sequence[pb.OfferItem], ring: KeyRing | None
) -> tuple[list[Offered], dict[int, LibrarianError]]:
    """Items that are right in themselves, and what is wrong with the others, by position. `ring`: whose
    origins are believed; None: they come from this very site, and are.

    Checks a thousand signatures: not on the event loop.
    """
    good: list[Offered] = []
    wrong: dict[int, LibrarianError] = {}
    for position, item in enumerate(items):
        try:
            good.append(_offered(position, item, ring))
        except LibrarianError as error:
            wrong[position] = error
    return good, wrong


def content_of(item: pb.OfferItem | Origin) -> Content:
    return _content(item.name, item.kind, item.digest, item.size_bytes, item.member_count)


def _content(name: str, kind: int, digest: Checksum, size_bytes: int, member_count: int) -> Content:
    return Content(name, kind, digest.algorithm, digest.value, size_bytes, member_count)


def _offered(position: int, item: pb.OfferItem, ring: KeyRing | None) -> Offered:
    content, tags = content_of(item), dict(item.tags)
    check_offered(item.uid, content, tags)
    try:
        origin = read_origin(item.origin) if ring is None else verify_origin(item.origin, ring)
    except SignatureInvalid as error:
        raise OriginInvalid(f"{item.name}: {error.message}", name=item.name, uid=item.uid) from error
    birth = Birth(
        site=origin.site,
        uid=origin.uid,
        content=content_of(origin),
        uploader=origin.uploader,
        create_time_us=origin.create_time_us,
        traceparent=origin.traceparent,
    )
    check_birth(birth, item.uid, content)
    return Offered(position, item.uid, content, tags, item.origin.SerializeToString(), birth)
