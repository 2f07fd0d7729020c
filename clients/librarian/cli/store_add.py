"""librarian store add: a directory becomes a store."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from librarian.cli import options, store_options
from librarian.cli.output import Output

if TYPE_CHECKING:
    from librarian.api.store.v1 import store_pb2
    from librarian.client import Librarian


def command(
    name: store_options.StoreName,
    *,
    root: Annotated[
        Path, typer.Option(help="The directory, as the store service sees it.", show_default=False)
    ],
    store_class: store_options.Class = "online",
    failure_domain: store_options.FailureDomain = "",
    priority: store_options.Priority = None,
    fill_fraction: store_options.FillFraction = None,
    max_bytes: store_options.MaxBytes = "",
    max_inodes: store_options.MaxInodes = None,
    file_mode: store_options.FileMode = "",
    directory_mode: store_options.DirectoryMode = "",
    staging_mode: store_options.StagingMode = "",
    owner: store_options.Owner = None,
    read_only: store_options.ReadOnly = None,
    client_root: store_options.ClientRoot = None,
    rsync_root: store_options.RsyncRoot = None,
    ingestible: store_options.Ingestible = None,
    service: Annotated[
        str, typer.Option(metavar="NAME", help="Store service, where there are several.", show_default=False)
    ] = "",
    site: options.Site = "",
    as_json: options.Json = False,
) -> None:
    """Make a directory a store. What lies in it stays as it is: `librarian register` adopts it."""
    from librarian.cli.run import run

    wanted = store_options.fields(
        store_class=store_class,
        failure_domain=failure_domain,
        priority=priority,
        fill_fraction=fill_fraction,
        max_bytes=max_bytes,
        max_inodes=max_inodes,
        file_mode=file_mode,
        directory_mode=directory_mode,
        staging_mode=staging_mode,
        owner=owner,
        read_only=read_only,
        client_root=client_root,
        rsync_root=rsync_root,
        ingestible=True if ingestible is None else ingestible,
    )

    async def body(client: Librarian, output: Output) -> None:
        from librarian.api.store.v1 import store_pb2
        from librarian.cli.jsonform import message_value

        store = store_pb2.Store(name=name, root=str(root.absolute()), enabled=True, **wanted)
        added = await client.add_store(store, service=service)
        if output.as_json:
            output.value(message_value(added))
        else:
            output.line(_told(added))

    run(body, site=site, as_json=as_json)


def _told(store: store_pb2.Store) -> str:
    from librarian.cli.texts import size_text

    can = store.capabilities
    abilities = {
        "reflinks": can.reflink,
        "hard links": can.hard_links,
        "renames without replacing": can.rename_noreplace,
        "symbolic links": can.symlinks,
        "chown": can.chown,
    }
    lacks = [ability for ability, there in abilities.items() if not there]
    text = f"store {store.name} at {store.root}: {size_text(store.usage.grantable_bytes)} of room"
    text += f", file system {can.file_system}" if can.file_system else ""
    return f"{text}; it lacks {', '.join(lacks)} and does without" if lacks else text
