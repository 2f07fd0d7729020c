"""A batch of datasets as columns: what it may contain. Pure: nothing is looked up."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from operator import itemgetter
from typing import Any

from google.protobuf.message import DecodeError

from librarian.api.catalog.v1 import catalog_pb2 as pb
from librarian.api.common.v1 import common_pb2
from librarian.checksums import Checksum
from librarian.errors import BatchTooLarge, InvalidInput, InvalidName, InvalidSize, LibrarianError
from librarian.manifests import MAX_MEMBERS, DatasetKind
from librarian.names import MAX_NAME_BYTES, check_name, check_store_name, name_key, printable
from svckit.statements import ORIGIN_TYPE

from .naming import Identity

MAX_BATCH = 5000
# Bounds that keep every row indexable: PostgreSQL takes no index entry past 2,704 bytes.
MAX_TEXT_BYTES = 255
MAX_TAGS_BYTES = 16_384
# The years 1 to 9999, which is what a Timestamp may say.
MIN_TIME_US = -62_135_596_800_000_000
MAX_TIME_US = 253_402_300_799_999_999

_UID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_CHECKED = (
    "uid",
    "name",
    "kind",
    "digest_algorithm",
    "digest",
    "size_bytes",
    "member_count",
    "uploader",
    "traceparent",
    "site",
    "create_time_us",
    "tags_json",
    "origin",
)


@dataclass(frozen=True, slots=True)
class Batch:
    """Datasets that may be published as far as the batch itself can tell; index i of every column speaks
    of dataset i, `positions[i]` is where it stood in the request.
    """

    positions: Sequence[int]
    uids: Sequence[str]
    names: Sequence[str]
    keys: Sequence[str]
    kinds: Sequence[int]
    algorithms: Sequence[str]
    digests: Sequence[bytes]
    sizes: Sequence[int]
    member_counts: Sequence[int]
    uploaders: Sequence[str]
    create_times: Sequence[int]
    tags: Sequence[str | None]
    origins: Sequence[bytes | None]
    traceparents: Sequence[str]
    sites: Sequence[str]
    stores: Sequence[str]

    def identity(self, index: int) -> Identity:
        return Identity(
            self.uids[index],
            self.names[index],
            self.kinds[index],
            self.algorithms[index],
            self.digests[index],
        )

    def choose(self, indexes: Sequence[int]) -> Batch:
        """These datasets, in this order."""
        if not indexes:
            return Batch(*(() for _ in fields(self)))
        if len(indexes) == 1:
            only = indexes[0]
            return Batch(*((getattr(self, field.name)[only],) for field in fields(self)))
        take: Callable[[Any], Any] = itemgetter(*indexes)
        return Batch(*(take(getattr(self, field.name)) for field in fields(self)))


def read_columns(
    columns: pb.DatasetColumns, stores: Sequence[str]
) -> tuple[Batch, dict[int, LibrarianError]]:
    """The batch that may go on, and why each of the others (by position) may not.

    Raises InvalidInput or BatchTooLarge where the columns as a whole make no sense.
    """
    _check_lengths(columns, stores)
    given = {field.name: list(getattr(columns, field.name)) for field in columns.DESCRIPTOR.fields}
    count = len(stores)
    keys = [""] * count
    tags: list[str | None] = [None] * count
    origins: list[bytes | None] = [None] * count
    bad: dict[int, LibrarianError] = {}
    for index, row in enumerate(zip(*(given[field] for field in _CHECKED), stores, strict=True)):
        uid, name, kind, algorithm, digest, size, members, uploader, traceparent, site, time_us, *rest = row
        tags_json, origin, store = rest
        try:
            keys[index] = checked_key(name)
            check_uid(uid)
            _check_content(kind, algorithm, digest, size, members)
            check_texts(uploader=uploader, traceparent=traceparent, site=site)
            check_time("create_time_us", time_us)
            tags[index] = _checked_tags(tags_json)
            origins[index] = _checked_origin(origin)
            check_store_name(store)
        except LibrarianError as error:
            error.metadata.setdefault("name", printable(name))
            bad[index] = error
    whole = Batch(
        positions=range(count),
        uids=given["uid"],
        names=given["name"],
        keys=keys,
        kinds=given["kind"],
        algorithms=given["digest_algorithm"],
        digests=given["digest"],
        sizes=given["size_bytes"],
        member_counts=given["member_count"],
        uploaders=given["uploader"],
        create_times=given["create_time_us"],
        tags=tags,
        origins=origins,
        traceparents=given["traceparent"],
        sites=given["site"],
        stores=stores,
    )
    good = [index for index in range(count) if index not in bad]
    return whole.choose(good) if bad else whole, bad


def checked_key(name: str) -> str:
    """The key of a name that a dataset may have. Raises InvalidName."""
    check_name(name)
    key = name_key(name)
    if key is not name and len(key.encode()) > MAX_NAME_BYTES:
        raise InvalidName(
            f"the name {printable(name)!r} is longer than {MAX_NAME_BYTES} bytes when normalised",
            name=printable(name),
        )
    return key


def is_uid(text: str) -> bool:
    """Whether this is a canonical lower-case UUID, the only spelling a uid has."""
    return _UID.fullmatch(text) is not None


def is_storable(text: str) -> bool:
    """Whether PostgreSQL can hold the text: JSON can spell NUL and lone surrogates, which it cannot."""
    try:
        return "\0" not in text and (text.isascii() or bool(text.encode()))
    except UnicodeEncodeError:
        return False


def check_uid(uid: str) -> None:
    """Raises InvalidInput."""
    if not is_uid(uid):
        raise InvalidInput(
            f"{printable(uid)!r} is not a uid",
            remedy="a uid is a UUID in canonical lower-case form",
            uid=printable(uid),
        )


def _check_lengths(columns: pb.DatasetColumns, stores: Sequence[str]) -> None:
    count = len(stores)
    if count > MAX_BATCH:
        raise BatchTooLarge(
            f"{count} datasets are more than one batch may have",
            remedy=f"send at most {MAX_BATCH} in a batch",
            limit=MAX_BATCH,
        )
    lengths = {field.name: len(getattr(columns, field.name)) for field in columns.DESCRIPTOR.fields}
    for name, length in lengths.items():
        if length != count:
            raise InvalidInput(
                f"the column {name} has {length} values for {count} datasets",
                remedy="send one value a dataset in every column",
                field=name,
            )


def _check_content(kind: int, algorithm: str, digest: bytes, size: int, member_count: int) -> None:
    Checksum(algorithm, digest).checked()
    if size < 0:
        raise InvalidSize(f"size_bytes is {size}", remedy="a size is zero or more", size_bytes=size)
    if kind == DatasetKind.FILE:
        allowed = member_count == 1
    elif kind == DatasetKind.DIRECTORY:
        allowed = 0 <= member_count <= MAX_MEMBERS
    else:
        raise InvalidInput(f"{kind} is not a kind of dataset", remedy="say FILE or DIRECTORY", kind=kind)
    if not allowed:
        raise InvalidSize(
            f"member_count is {member_count}",
            remedy=f"a file has 1, a directory 0 to {MAX_MEMBERS}",
            member_count=member_count,
        )


def check_texts(**values: str) -> None:
    """Raises InvalidInput."""
    for field, value in values.items():
        if "\0" in value or (len(value) > MAX_TEXT_BYTES // 4 and len(value.encode()) > MAX_TEXT_BYTES):
            raise InvalidInput(
                f"{field} {printable(value)!r} cannot be kept",
                remedy=f"at most {MAX_TEXT_BYTES} bytes, without NUL characters",
                field=field,
            )


def check_time(field: str, time_us: int) -> None:
    """Raises InvalidInput."""
    if not MIN_TIME_US <= time_us <= MAX_TIME_US:
        raise InvalidInput(
            f"{field} {time_us} is not a time of the years 1 to 9999",
            remedy="give microseconds since 1970-01-01T00:00:00Z",
            **{field: time_us},
        )


@lru_cache(maxsize=1024)
def _checked_tags(text: str) -> str | None:
    """The tags, where PostgreSQL takes them; None for none. Raises InvalidInput."""
    if not text:
        return None
    try:
        tags = json.loads(text) if len(text) <= MAX_TAGS_BYTES else None
    except (ValueError, RecursionError):
        tags = None
    if not isinstance(tags, dict) or not all(_is_pair(key, value) for key, value in tags.items()):
        raise InvalidInput(
            f"tags_json {printable(text)!r} cannot be kept",
            remedy=f"a JSON object of strings to strings, without NUL, at most {MAX_TAGS_BYTES} characters",
        )
    return text if tags else None


def _is_pair(key: str, value: object) -> bool:
    return isinstance(value, str) and is_storable(key + value)


def _checked_origin(raw: bytes) -> bytes | None:
    """The bytes as received, where they can be told again; None for none. Raises InvalidInput."""
    if not raw:
        return None
    try:
        found = common_pb2.Signed.FromString(raw).type
    except DecodeError:
        found = ""
    if found != ORIGIN_TYPE:
        raise InvalidInput(
            "the origin is not a serialised Signed of type librarian.origin",
            remedy="send the bytes as the site of birth signed them",
        )
    return raw
