"""The secrets of a site, laid out by who may have them.

DIR/site/        all of it: what is backed up, and what the rest is copied from
DIR/database/    for the one who makes the database's roles: the administrator's password and theirs
DIR/SERVICE/     what that process is given and no other: public keys, what it signs with, its password

Each directory but the first is the content of one mounted volume or Kubernetes Secret. `password` holds
the password bare, `pgpass` the same in libpq's form, for PGPASSFILE.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from librarian.errors import Conflict
from svckit.auth import ISSUERS
from svckit.keys import ensure_keys, ensure_password, write_new
from svckit.provision import SCHEMAS
from svckit.sitekeys import former_file, rotate

SITE = "site"
DATABASE = "database"
# Of the account that makes the roles; who has a PostgreSQL of their own does not use it.
_ADMIN = "postgres"


@dataclass(frozen=True, slots=True)
class Holder:
    """A process of a site: the part of the database it works in, and whether it signs in the site's name."""

    service: str
    schema: str
    site_key: bool = False

    @property
    def keys(self) -> tuple[str, ...]:
        """The private keys it is given. The site's own key signs origins, receipts and talk with peers."""
        own = (self.service,) if self.service in ISSUERS else ()
        return (*own, SITE) if self.site_key else own


HOLDERS = (
    Holder("catalog", "catalog"),
    Holder("store", "store"),
    Holder("transfer", "transfer", site_key=True),
    Holder("worker", "transfer", site_key=True),
    Holder("gateway", "gateway", site_key=True),
)


def hand_out(root: Path) -> None:
    """Makes what is missing below `root`; what is there stays. Raises Conflict where a copy is not what
    DIR/site/ has, Refused where a file cannot be used.
    """
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    site = root / SITE
    ensure_keys(site, (*ISSUERS, SITE))
    passwords = {name: ensure_password(site / f"{name}.password") for name in (*SCHEMAS, _ADMIN)}
    _give(root / DATABASE, _login(passwords[_ADMIN]))
    _give(root / DATABASE, {f"{schema}.password": passwords[schema].encode() for schema in SCHEMAS})
    for holder in HOLDERS:
        directory = root / holder.service
        public = {f"{name}.pub": (site / f"{name}.pub").read_bytes() for name in ISSUERS}
        private = {f"{name}.key": (site / f"{name}.key").read_bytes() for name in holder.keys}
        former = former_file(site / f"{SITE}.key")
        if holder.site_key and former.exists():
            private[former.name] = former.read_bytes()
        _give(directory, {**public, **private, **_login(passwords[holder.schema])})


def rotate_site_key(root: Path, *, now: datetime, again: bool = False) -> str:
    """A new key of the site below `root`, handed out; answers its id. The one before stays beside it, as the
    former. Raises Refused as `rotate` does, Conflict as `hand_out`.
    """
    site_key = root / SITE / f"{SITE}.key"
    fresh = rotate(site_key, now=now, again=again)
    for holder in HOLDERS:
        if holder.site_key:
            for name in (site_key.name, former_file(site_key).name):
                (root / holder.service / name).unlink(missing_ok=True)
    hand_out(root)
    return fresh


def read_passwords(directory: Path) -> dict[str, str]:
    """{schema: password} of DIR/database/."""
    return {schema: (directory / f"{schema}.password").read_text().strip() for schema in SCHEMAS}


def _login(password: str) -> dict[str, bytes]:
    return {"password": password.encode(), "pgpass": f"*:*:*:*:{password}\n".encode()}


def _give(directory: Path, files: Mapping[str, bytes]) -> None:
    for name, content in files.items():
        path = directory / name
        if not path.exists():
            write_new(path, content, 0o600)
        if path.read_bytes() != content:
            raise Conflict(
                f"{path} is not what {SITE}/ has", remedy=f"remove {path} and run this again", path=path
            )
