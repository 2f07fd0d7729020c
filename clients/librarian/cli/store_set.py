"""librarian store set: change what may be changed of a store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from librarian.cli import options, store_options
from librarian.cli.output import Output

if TYPE_CHECKING:
    from librarian.client import Librarian


def command(
    name: store_options.StoreName,
    *,
    enabled: Annotated[
        bool | None,
        typer.Option("--enabled/--disabled", help="Read and written at all.", show_default=False),
    ] = None,
    ingestible: store_options.Ingestible = None,
    store_class: store_options.Class = "",
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
    site: options.Site = "",
    as_json: options.Json = False,
) -> None:
    """Change a store. Only what is given changes."""
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
        ingestible=ingestible,
    )
    if enabled is not None:
        wanted["enabled"] = enabled
    if not wanted:
        raise typer.BadParameter("say what shall change: librarian store set --help lists it")

    async def body(client: Librarian, output: Output) -> None:
        from librarian.api.store.v1 import store_pb2
        from librarian.cli.jsonform import message_value
        from librarian.cli.store_ls import print_stores

        changed = await client.update_store(store_pb2.Store(name=name, **wanted), sorted(wanted))
        if output.as_json:
            output.value(message_value(changed))
        else:
            print_stores([changed], output)

    run(body, site=site, as_json=as_json)
