"""Everything the catalog says to PostgreSQL: one function a statement, named for its purpose.

Statements are written in Core, compiled once and run on bare asyncpg. Nothing here begins or ends a
transaction: what belongs into one is given the connection of one.
"""

from . import log, members, publishing, reading, receipts, replicas, sums, upkeep

__all__ = ["log", "members", "publishing", "reading", "receipts", "replicas", "sums", "upkeep"]
