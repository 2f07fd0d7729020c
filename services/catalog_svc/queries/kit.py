"""What the statements share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from sqlalchemy import ARRAY, ColumnElement, Text, Uuid, bindparam, cast, column, func, literal_column
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.selectable import TableValuedAlias
from sqlalchemy.types import TypeEngine

from catalog_svc.tables import LIVE, datasets

if TYPE_CHECKING:
    import asyncpg

# A bare connection, in a transaction or not.
Bare: TypeAlias = "asyncpg.Connection[Any]"
Rows: TypeAlias = "list[asyncpg.Record]"

UID = Uuid(as_uuid=False)
# Written out: a parameter would hide from the planner that the partial indexes apply.
is_live: ColumnElement[bool] = datasets.c.state == literal_column(str(LIVE))


async def bare(connection: AsyncConnection) -> Bare:
    """The driver's own connection, inside of the transaction that `connection` is in."""
    driver: Bare | None = (await connection.get_raw_connection()).driver_connection
    assert driver is not None
    assert driver.is_in_transaction(), "SQLAlchemy begins with its first statement"
    return driver


def given(**columns: TypeEngine[Any]) -> TableValuedAlias:
    """Columns of equal length, given as one array parameter each, as a table.

    Its `ordinal` counts from 1.
    """
    arrays = [bindparam(name, type_=ARRAY(type_)) for name, type_ in columns.items()]
    return (
        func.unnest(*arrays)
        .table_valued(
            *(column(name, type_) for name, type_ in columns.items()), with_ordinality="ordinal", name="given"
        )
        .render_derived()
    )


def array(name: str, type_: TypeEngine[Any]) -> ColumnElement[Any]:
    """An array parameter."""
    return bindparam(name, type_=ARRAY(type_))


def as_text(uid: ColumnElement[str]) -> ColumnElement[str]:
    """A uid as its canonical text: cheaper to make there than here."""
    return cast(uid, Text)
