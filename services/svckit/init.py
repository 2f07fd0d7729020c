"""Before the first start of a site in containers: its keys and passwords, then its database roles.

    python -m svckit.init secrets DIR
    python -m svckit.init roles DIR/database --dsn postgresql://postgres@db/librarian
    python -m svckit.init rotate-key DIR

The first two may be run again at any time: what is there stays. The first makes what svckit.handout
describes. The second makes a role and a schema for each service and sets their passwords; that of the DSN's
own user comes from the DSN, PGPASSWORD or PGPASSFILE. The third replaces the site's own key, each time; peers
learn of it. `librarian up` does the first two by itself, and `librarian peer rotate-key` the third.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from librarian.errors import InvalidConfig, LibrarianError, Unavailable
from svckit.handout import hand_out, read_passwords, rotate_site_key
from svckit.provision import provision_site

# As `librarian up` has it.
DSN_VARIABLE = "LIBRARIAN_DATABASE_DSN"
_RETRY_SECONDS = 0.5


def main(argv: Sequence[str] | None = None) -> int:
    """0 done, 1 refused or failed, 2 wrong usage."""
    options = _parser().parse_args(argv)
    try:
        if options.what == "secrets":
            hand_out(options.directory)
            _say(f"keys and passwords are in {options.directory}")
        elif options.what == "rotate-key":
            fresh = rotate_site_key(options.directory, now=datetime.now(UTC), again=options.again)
            _say(f"the site's key is {fresh} once transfer, worker and gateway have it and are restarted")
        else:
            roles = asyncio.run(_make_roles(options.directory, options.dsn, options.wait))
            _say(f"the database has the roles {', '.join(roles)}")
    except LibrarianError as error:
        print(f"{error.message}\n{error.remedy}".strip(), file=sys.stderr)  # noqa: T201 - a command
        return 1
    except OSError as error:
        print(f"{error.filename}: {error.strerror}", file=sys.stderr)  # noqa: T201 - a command
        return 1
    return 0


async def _make_roles(directory: Path, dsn: str, wait_seconds: float) -> list[str]:
    """Asks again for `wait_seconds` while the database does not answer: it may be starting."""
    if not dsn:
        raise InvalidConfig("no database is named", remedy=f"give --dsn, or set {DSN_VARIABLE}")
    passwords = read_passwords(directory)
    give_up = time.monotonic() + wait_seconds
    while True:
        try:
            return await provision_site(dsn, passwords)
        except Unavailable:
            if time.monotonic() >= give_up:
                raise
        await asyncio.sleep(_RETRY_SECONDS)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m svckit.init", description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="what", required=True)
    secrets = commands.add_parser("secrets", help="make keys and passwords")
    secrets.add_argument("directory", type=Path, metavar="DIR")
    rotation = commands.add_parser("rotate-key", help="replace the site's own key")
    rotation.add_argument("directory", type=Path, metavar="DIR")
    rotation.add_argument("--again", action="store_true", help="also soon after the last time")
    roles = commands.add_parser("roles", help="make the database's roles and schemas")
    roles.add_argument("directory", type=Path, metavar="DIR", help="DIR/database of `secrets`")
    roles.add_argument(
        "--dsn",
        default=os.environ.get(DSN_VARIABLE, ""),
        help=f"of the site's database, by a role that may create roles; else {DSN_VARIABLE}",
    )
    roles.add_argument(
        "--wait", type=float, default=60.0, metavar="SECONDS", help="for the database to answer; default 60"
    )
    return parser


def _say(text: str) -> None:
    print(text)  # noqa: T201 - a command


if __name__ == "__main__":
    sys.exit(main())
