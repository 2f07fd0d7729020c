"""What the statements share: columns as rows, whose ingests they are, and the bare driver."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from sqlalchemy import (
    Boolean,
    ColumnElement,
    TableValuedAlias,
    Text,
    and_,
    any_,
    bindparam,
    column,
    func,
    or_,
    true,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.types import TypeEngine

from transfer_svc.tables import ingests

if TYPE_CHECKING:
    from asyncpg import Connection

# A bare connection, in a transaction or not.
Bare: TypeAlias = "Connection[Any]"


def arrays(**types: TypeEngine[Any] | type[TypeEngine[Any]]) -> TableValuedAlias:
    """Rows made of parallel arrays, each a parameter by its column's name: one statement, any number."""
    parameters = [bindparam(name, type_=ARRAY(kind)) for name, kind in types.items()]
    columns = [column(name, kind) for name, kind in types.items()]
    return func.unnest(*parameters).table_valued(*columns, name="given").render_derived()


def by_id(parameter: str = "ids") -> ColumnElement[bool]:
    return ingests.c.ingest_id == any_(bindparam(parameter, type_=ARRAY(Text)))


# Brought by a client, not by another site.
_BY_CLIENT: Final = ingests.c.target_uid == ""


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose ingests a caller may act on: its own, or all; and below its name prefix, a regex. Deliveries
    are nobody's.
    """

    subject: str
    everyone: bool
    name_regex: str = ""

    def clause(self) -> ColumnElement[bool]:
        mine = true() if self.everyone else ingests.c.uploader == self.subject
        below = ingests.c.name.op("~")(self.name_regex) if self.name_regex else true()
        return and_(_BY_CLIENT, mine, below)

    def parameters(self) -> dict[str, Any]:
        """Those of `OWNED`. The empty regex matches all."""
        return {"subject": self.subject, "everyone": self.everyone, "name_regex": self.name_regex}


OWNED: Final = and_(
    _BY_CLIENT,
    or_(bindparam("everyone", type_=Boolean), ingests.c.uploader == bindparam("subject")),
    ingests.c.name.op("~")(bindparam("name_regex", type_=Text)),
)


async def bare(connection: AsyncConnection) -> Bare:
    """The driver's own connection, inside the transaction that `connection` has begun."""
    driver: Bare | None = (await connection.get_raw_connection()).driver_connection
    assert driver is not None
    assert driver.is_in_transaction(), "SQLAlchemy begins with its first statement"
    return driver
