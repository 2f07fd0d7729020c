"""What a listing asks, as a shape (which conditions) and values (with what). Pure.

Statements are compiled once for each shape; the values change from call to call.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from google.protobuf.timestamp_pb2 import Timestamp

from librarian.api.catalog.v1 import catalog_pb2 as pb
from librarian.errors import InvalidInput, InvalidPageToken
from librarian.globs import compile_glob
from librarian.messages import datetime_of, microseconds
from librarian.names import printable

from .columns import MAX_TIME_US, MIN_TIME_US, is_storable, is_uid
from .lifecycle import ReplicaState
from .naming import after_prefix

Value = str | int | list[str]
Cursor = Sequence[str | int | float | bool | None]


class Order(IntEnum):
    """As catalog.v1.DatasetOrder."""

    NAME = 1
    CREATE_TIME = 2
    CREATE_TIME_DESC = 3


@dataclass(frozen=True, slots=True)
class Names:
    """The names that start with any of the given and match all the globs: a range and what it leaves open.

    `low` is inclusive, `high` exclusive and None where nothing is above.
    """

    low: str = ""
    high: str | None = None
    regexes: tuple[str, ...] = ()

    def starting_with(self, prefix: str) -> Names:
        high = after_prefix(prefix)
        if self.high is not None and (high is None or self.high < high):
            high = self.high
        return Names(max(self.low, prefix), high, self.regexes)

    def matching(self, glob: str) -> Names:
        """Raises InvalidGlob. `satp3/**` is a range and nothing else."""
        compiled = compile_glob(glob)
        ranged = self.starting_with(compiled.literal_prefix)
        # After a literal that ends with a slash, `**` matches whatever follows in a name.
        if compiled.literal_prefix.endswith("/") and glob == compiled.literal_prefix + "**":
            return ranged
        return Names(ranged.low, ranged.high, (*ranged.regexes, compiled.sql_regex))


@dataclass(frozen=True, slots=True)
class Shape:
    """Which conditions a statement has. `low` and `high` bound the names from below and above; with
    `resumed` the listing goes on after a row, and in name order `low` is that row's.
    """

    order: Order
    resumed: bool = False
    low: bool = False
    high: bool = False
    regexes: bool = False
    others: frozenset[str] = frozenset()

    @property
    def served_by_index(self) -> bool:
        """Whether every row met in index order belongs to the page: then one plan is best for all values."""
        if self.order is Order.NAME:
            return not (self.regexes or self.others)
        return not (self.low or self.high or self.regexes) and self.others <= {"after", "before"}


@dataclass(frozen=True, slots=True)
class Listing:
    shape: Shape
    values: dict[str, Value]


def plan(wanted: pb.DatasetFilter, order: int, limit: str, cursor: Cursor | None) -> Listing:
    """`limit` is the glob of the caller's token ("" for none); `cursor` the keys of the last row sent.

    Raises InvalidInput, InvalidGlob, InvalidPageToken.
    """
    by = _order(order)
    names = Names().starting_with(_text("name_prefix", wanted.name_prefix))
    for glob in filter(None, (wanted.name_glob, limit)):
        names = names.matching(glob)
    values = _other_values(wanted)
    others = frozenset(values)
    resumed = cursor is not None
    if cursor is not None and by is Order.NAME:
        last = _name_cursor(cursor)
        # A token is not a secret: it may not lead below what the filter and the caller's prefix allow.
        resumed = last >= names.low
        names = Names(max(last, names.low), names.high, names.regexes)
    elif cursor is not None:
        values |= _time_cursor(cursor)
    if names.low:
        values["low"] = names.low
    if names.high is not None:
        values["high"] = names.high
    if names.regexes:
        values["regexes"] = list(names.regexes)
    shape = Shape(
        by,
        resumed=resumed,
        low=bool(names.low),
        high=names.high is not None,
        regexes=bool(names.regexes),
        others=others,
    )
    return Listing(shape, values)


def last_keys(order: int, *, uid: str, name: str, create_time_us: int) -> Cursor:
    """What a page token remembers of the last row sent."""
    return [name] if _order(order) is Order.NAME else [create_time_us, uid]


def binding(wanted: pb.DatasetFilter, order: int, limit: str) -> bytes:
    """What must stay the same from page to page."""
    return b"%d\0%s\0%s" % (_order(order), limit.encode(), wanted.SerializeToString(deterministic=True))


def _order(order: int) -> Order:
    try:
        return Order(order or Order.NAME)
    except ValueError:
        raise InvalidInput(f"{order} is not an order datasets can be listed in") from None


def _name_cursor(cursor: Cursor) -> str:
    match list(cursor):
        case [str(name)] if is_storable(name):
            return name
    raise _foreign_cursor()


def _time_cursor(cursor: Cursor) -> dict[str, Value]:
    match list(cursor):
        case [int(time_us), str(uid)] if MIN_TIME_US <= time_us <= MAX_TIME_US and is_uid(uid):
            return {"last_time": time_us, "last_uid": uid}
    raise _foreign_cursor()


def _foreign_cursor() -> InvalidPageToken:
    return InvalidPageToken("the page token does not hold the keys of this listing's order")


_TEXTS = ("uploader", "has_store", "lacks_store", "has_site", "lacks_site", "expected_store")


def _other_values(wanted: pb.DatasetFilter) -> dict[str, Value]:
    values: dict[str, Value] = _tag_values(wanted)
    for field in _TEXTS:
        if text := _text(field, getattr(wanted, field)):
            values[field] = text
    if wanted.HasField("min_size_bytes"):
        values["min_size_bytes"] = wanted.min_size_bytes
    if wanted.HasField("max_size_bytes"):
        values["max_size_bytes"] = wanted.max_size_bytes
    if wanted.HasField("created_after"):
        values["after"] = _first_microsecond(wanted.created_after)
    if wanted.HasField("created_before"):
        values["before"] = _first_microsecond(wanted.created_before)
    if wanted.has_replica_state:
        values["has_replica_state"] = _replica_state(wanted.has_replica_state)
    return values


def _tag_values(wanted: pb.DatasetFilter) -> dict[str, Value]:
    values: dict[str, Value] = {}
    for key, value in wanted.tags.items():
        _text("tags", key + value)
    if equal := {key: value for key, value in wanted.tags.items() if value}:
        values["tags_equal"] = json.dumps(equal, ensure_ascii=False, sort_keys=True)
    if present := sorted(key for key, value in wanted.tags.items() if not value):
        values["tags_present"] = present
    return values


def _replica_state(state: int) -> int:
    try:
        return ReplicaState(state).value
    except ValueError:
        raise InvalidInput(f"{state} is not a state of a replica") from None


def _first_microsecond(moment: Timestamp) -> int:
    """Of those not before the moment, which may be finer: a half-open window then keeps its meaning."""
    return microseconds(datetime_of(moment)) + (moment.nanos % 1000 > 0)


def _text(field: str, value: str) -> str:
    if "\0" in value:
        raise InvalidInput(
            f"the filter's {field} {printable(value)!r} contains a NUL character",
            remedy="no name, tag, store or uploader has one",
            field=field,
        )
    return value
