"""The settable fields of a store, for `store add` and `store set`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from librarian.cli import parse

StoreName = Annotated[str, typer.Argument(metavar="STORE", help="The store's name.", show_default=False)]
Class = Annotated[
    str,
    typer.Option("--class", metavar="CLASS", help="online, archive, disk or scratch.", show_default=False),
]
FailureDomain = Annotated[
    str, typer.Option(metavar="TEXT", help="The box or medium it dies with.", show_default=False)
]
Priority = Annotated[
    int | None, typer.Option(metavar="N", help="Placement order: lower first.", show_default=False)
]
FillFraction = Annotated[
    float | None,
    typer.Option(metavar="0..1", help="No new data past this share of the capacity.", show_default=False),
]
MaxBytes = Annotated[
    str, typer.Option(metavar="SIZE", help="Own limit, as 20TB; 0 for none.", show_default=False)
]
MaxInodes = Annotated[int | None, typer.Option(metavar="N", help="Own limit.", show_default=False)]
FileMode = Annotated[str, typer.Option(metavar="MODE", help="Octal, as 0644.", show_default=False)]
DirectoryMode = Annotated[
    str, typer.Option(metavar="MODE", help="Of directories made, as 0755.", show_default=False)
]
StagingMode = Annotated[
    str, typer.Option(metavar="MODE", help="Of the staging area, as 2770.", show_default=False)
]
Owner = Annotated[
    str | None,
    typer.Option(metavar="USER:GROUP", help="Whom committed data belongs to.", show_default=False),
]
ReadOnly = Annotated[
    bool | None,
    typer.Option(
        "--read-only/--writable", help="Take write permission from committed files.", show_default=False
    ),
]
ClientRoot = Annotated[
    str | None,
    typer.Option(metavar="DIR", help="The root as client hosts see it.", show_default=False),
]
RsyncRoot = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS",
        help="The root as peers reach it by rsync: host:/path or rsync://host/module; '' for not at all.",
        show_default=False,
    ),
]
Ingestible = Annotated[
    bool | None,
    typer.Option("--ingestible/--not-ingestible", help="Takes new data.", show_default=False),
]


def fields(
    *,
    store_class: str,
    failure_domain: str,
    priority: int | None,
    fill_fraction: float | None,
    max_bytes: str,
    max_inodes: int | None,
    file_mode: str,
    directory_mode: str,
    staging_mode: str,
    owner: str | None,
    read_only: bool | None,
    client_root: str | None,
    rsync_root: str | None,
    ingestible: bool | None,
) -> dict[str, Any]:
    """Those that were given, by the proto's names."""
    given = {
        "store_class": _class(store_class) if store_class else None,
        "failure_domain": failure_domain or None,
        "priority": priority,
        "fill_fraction": _fraction(fill_fraction),
        "max_bytes": parse.size(max_bytes, "--max-bytes") if max_bytes else None,
        "max_inodes": max_inodes,
        "file_mode": parse.mode(file_mode, "--file-mode") if file_mode else None,
        "directory_mode": parse.mode(directory_mode, "--directory-mode") if directory_mode else None,
        "staging_mode": parse.mode(staging_mode, "--staging-mode") if staging_mode else None,
        "owner": owner,
        "read_only": read_only,
        "client_root": client_root,
        "rsync_root": rsync_root,
        "ingestible": ingestible,
    }
    return {field: value for field, value in given.items() if value is not None}


def _class(text: str) -> int:
    from librarian.api.store.v1 import store_pb2

    try:
        return store_pb2.StoreClass.Value(f"STORE_CLASS_{text.upper()}")
    except ValueError:
        raise typer.BadParameter(f"--class: {text!r} is none of online, archive, disk, scratch") from None


def _fraction(value: float | None) -> float | None:
    if value is not None and not 0 < value <= 1:
        raise typer.BadParameter("--fill-fraction: more than 0, at most 1")
    return value
