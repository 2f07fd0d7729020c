"""Every statement about disks and their past."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from transfer_svc.shipping.tables import disks


async def labels(connection: AsyncConnection, disk_ids: Sequence[str]) -> dict[str, str]:
    """By disk id, of those that are known."""
    statement = select(disks.c.disk_id, disks.c.label).where(disks.c.disk_id.in_(disk_ids))
    return {row.disk_id: row.label for row in await connection.execute(statement)}
