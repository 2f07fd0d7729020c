"""What can be wrong with running a site on one machine. Below the one tree of `librarian.errors`."""

from __future__ import annotations

from librarian.errors import Conflict, InternalError, InvalidInput, Refused


class PostgresMissing(Refused):
    reason = "POSTGRES_MISSING"
    default_remedy = (
        "install librarian[embedded], or name a PostgreSQL 15 or later in LIBRARIAN_DATABASE_DSN "
        "(postgresql://user:password@host/database)"
    )


class PostgresNeedsUser(Refused):
    reason = "POSTGRES_NEEDS_USER"
    default_remedy = (
        "start it as a user other than root, allow user namespaces or install setpriv (util-linux), "
        "or name an existing PostgreSQL in LIBRARIAN_DATABASE_DSN"
    )


class PostgresFailed(InternalError):
    reason = "POSTGRES_FAILED"


class DatabaseRefused(Refused):
    reason = "DATABASE_REFUSED"
    default_remedy = "see that LIBRARIAN_DATABASE_DSN names a PostgreSQL that runs and lets this user in"


class OtherDatabase(Conflict):
    reason = "OTHER_DATABASE"


class RunDirectoryTaken(Refused):
    reason = "RUN_DIRECTORY_TAKEN"


class PortTaken(Conflict):
    reason = "PORT_TAKEN"
    default_remedy = "stop what listens there, or choose another with --port"


class SiteHasName(Conflict):
    reason = "SITE_HAS_NAME"
    default_remedy = "start it without --name, or give another --home for another site"


class InvalidSiteFile(InvalidInput):
    reason = "INVALID_SITE_FILE"


class ServiceFailed(InternalError):
    reason = "SERVICE_FAILED"
