"""The settable fields of a route, for `route add` and `route set`, and how routes are named."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from librarian.cli import parse

Which = Annotated[
    str,
    typer.Argument(
        metavar="ROUTE",
        help="Its id, the beginning of it, or its destination where no other route goes there.",
        show_default=False,
    ),
]
Priority = Annotated[
    int | None,
    typer.Option(metavar="N", min=-100, max=100, help="Higher goes first: -100 to 100.", show_default=False),
]
MaxActive = Annotated[
    int | None,
    typer.Option(
        metavar="N", min=0, help="Datasets under way at once; 0: the usual 2,000.", show_default=False
    ),
]
Limit = Annotated[
    str,
    typer.Option(
        "--limit", metavar="RATE", help="Bandwidth, as 5MB/s; none for no limit.", show_default=False
    ),
]
Landing = Annotated[
    str | None,
    typer.Option(
        metavar="PREFIX",
        help="Where bytes may land at a peer. posix: a directory both sites see; rsync: HOST:/PATH or "
        "rsync://HOST:PORT/MODULE/PATH.",
        show_default=False,
    ),
]


def fields(
    *, priority: int | None, max_active: int | None, limit: str, landing: str | None
) -> dict[str, Any]:
    """Those that were given, by the proto's names."""
    given = {
        "priority": priority,
        "max_active": max_active,
        "max_bytes_per_second": parse.rate(limit, "--limit") if limit else None,
        "landing": landing,
    }
    return {field: value for field, value in given.items() if value is not None}
