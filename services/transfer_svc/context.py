"""What the use cases of this service work with; made once at start."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from svckit.auth import Caller, Role
from svckit.clock import Clock, Ids
from svckit.database import Database
from svckit.faults import Faults
from svckit.telemetry import Logger
from transfer_svc.querykit import Owner
from transfer_svc.stores import Stores
from transfer_svc.values import Ingest

if TYPE_CHECKING:
    from librarian.api.catalog.v1.catalog_pb2_grpc import CatalogServiceAsyncStub

_OWN_ONLY = frozenset({Role.READER, Role.INGESTER})


@dataclass(frozen=True, slots=True)
class Channels:
    """NOTIFY channels, named after the schema: a database may hold several sites. `work` says that
    something is to be done; `final` carries the ids of ingests and of jobs at disks that have ended, and of
    batches of which a delivery has, joined by commas; `docks` says that a job at a disk was asked for.
    """

    work: str
    final: str
    docks: str

    @classmethod
    def of_schema(cls, schema: str) -> Channels:
        return cls(f"{schema}_work", f"{schema}_final", f"{schema}_docks")


@dataclass(frozen=True, slots=True)
class Context:
    """`lifetime`: how long an OPEN ingest may be without news."""

    database: Database
    channels: Channels
    catalog: CatalogServiceAsyncStub
    stores: Stores
    clock: Clock
    ids: Ids
    faults: Faults
    logger: Logger
    site: str
    lifetime: timedelta


def owner_of(caller: Caller) -> Owner:
    """Ingesters act on their own ingests, operators on all; both only below their name prefix."""
    regex = ""
    if caller.name_prefix:
        from librarian.globs import compile_glob

        regex = compile_glob(caller.name_prefix).sql_regex
    return Owner(caller.subject, everyone=caller.role not in _OWN_ONLY, name_regex=regex)


def may_act(caller: Caller, ingest: Ingest) -> bool:
    """As `owner_of`, for one ingest at hand. Deliveries are nobody's among the clients."""
    mine = caller.role not in _OWN_ONLY or caller.subject == ingest.uploader
    return mine and not ingest.target_uid and caller.may_see(ingest.name)
