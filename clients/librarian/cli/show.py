"""librarian show: everything about one dataset."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from librarian.cli import options
from librarian.cli.output import Column, Output, Verdict

if TYPE_CHECKING:
    from librarian.api.catalog.v1 import catalog_pb2
    from librarian.api.common.v1 import common_pb2
    from librarian.client import Librarian

SHOWN_MEMBERS = 20


def command(
    name: options.Name,
    *,
    member: Annotated[
        str,
        typer.Option(
            metavar="GLOB", help="Only members whose paths match; all of those.", show_default=False
        ),
    ] = "",
    members: Annotated[
        bool, typer.Option("--members/--no-members", help="List the members, or leave them out.")
    ] = True,
    all_members: Annotated[
        bool, typer.Option("--all", "-a", help=f"All members, not the first {SHOWN_MEMBERS}.")
    ] = False,
    site: options.Site = "",
    as_json: options.Json = False,
) -> None:
    """Show one dataset with its copies, here and at other sites, and its members."""
    from librarian.cli.jsonform import message_value
    from librarian.cli.run import run

    async def body(client: Librarian, output: Output) -> None:
        dataset = await client.show(name.rstrip("/"))
        if output.as_json:
            value = message_value(dataset)
            if members:
                value["members"] = [message_value(one) async for one in client.members(dataset, member)]
            output.value(value)
            return
        _print_dataset(dataset, output)
        _print_replicas(dataset, output)
        _print_remote_replicas(dataset, output)
        if members and dataset.kind == 2:
            limit = None if all_members or member else SHOWN_MEMBERS
            await _print_members(client, dataset, member, limit, output)

    run(body, site=site, as_json=as_json)


def _print_dataset(dataset: catalog_pb2.Dataset, output: Output) -> None:
    from librarian.cli.texts import counted, size_text, time_text
    from librarian.messages import checksum_from_proto, datetime_of
    from librarian.names import printable

    kind = "directory" if dataset.kind == 2 else "file"
    items = f", {counted(dataset.member_count, 'member')}" if dataset.kind == 2 else ""
    facts = [
        ("uid", dataset.uid),
        ("kind", f"{kind}, {size_text(dataset.size_bytes)} ({dataset.size_bytes:,} bytes){items}"),
        ("digest", str(checksum_from_proto(dataset.digest))),
        ("created", time_text(datetime_of(dataset.create_time))),
        ("published", time_text(datetime_of(dataset.publish_time))),
        ("by", f"{printable(dataset.uploader)} at {dataset.site}"),
        ("tags", "  ".join(f"{key}={value}" for key, value in sorted(dataset.tags.items()))),
        ("trace", dataset.traceparent),
    ]
    output.line(output.bold(printable(dataset.name)))
    for fact, text in facts:
        if text:
            output.line(f"  {fact:<9}  {text}")


def _print_replicas(dataset: catalog_pb2.Dataset, output: Output) -> None:
    from librarian.api.common.v1 import common_pb2
    from librarian.cli.texts import label, time_text
    from librarian.messages import datetime_of

    output.line()
    if not dataset.replicas:
        where = "no copies here" if dataset.remote_replicas else "no copies"
        output.line(output.judged(where, Verdict.BAD))
        return
    rows = [
        [
            replica.store,
            label(common_pb2.ReplicaState.Name(replica.state), "REPLICA_STATE_"),
            time_text(datetime_of(replica.verify_time)) if replica.HasField("verify_time") else "never",
            replica.state_reason,
        ]
        for replica in dataset.replicas
    ]
    output.table([Column("COPY ON"), Column("STATE"), Column("VERIFIED"), Column("WHY")], rows)


def _print_remote_replicas(dataset: catalog_pb2.Dataset, output: Output) -> None:
    from librarian.cli.texts import time_text
    from librarian.messages import datetime_of
    from librarian.names import printable

    if not dataset.remote_replicas:
        return
    rows = [
        [
            printable(replica.site),
            printable(replica.store),
            printable(replica.store_class),
            printable(replica.failure_domain),
            time_text(datetime_of(replica.verify_time)),
            printable(replica.via_site) if replica.via_site != replica.site else "",
        ]
        for replica in dataset.remote_replicas
    ]
    columns = ["COPY AT", "STORE", "CLASS", "DIES WITH", "VERIFIED", "TOLD BY"]
    output.line()
    output.table([Column(title) for title in columns], rows)


async def _print_members(
    client: Librarian, dataset: catalog_pb2.Dataset, glob: str, limit: int | None, output: Output
) -> None:
    rows: list[list[str]] = []
    async for member in client.members(dataset, glob):
        if limit is not None and len(rows) == limit:
            break
        rows.append(_member_row(member))
    output.line()
    columns = [Column("SIZE", right=True), Column("MODIFIED"), Column("CHECKSUM"), Column("MEMBER")]
    output.table(columns, rows)
    more = dataset.member_count - len(rows)
    if limit is not None and more > 0:
        output.note(f"and {more:,} more: --all lists them, --member GLOB chooses")


def _member_row(member: common_pb2.Member) -> list[str]:
    from datetime import UTC, datetime

    from librarian.cli.texts import size_text, time_text
    from librarian.names import printable

    path = printable(member.path)
    if member.kind == 3:
        path = f"{path} -> {printable(member.link_target)}"
    elif member.kind == 2:
        path = f"{path}/"
    return [
        size_text(member.size_bytes) if member.kind == 1 else "",
        time_text(datetime.fromtimestamp(member.mtime_ns / 1e9, UTC)),
        f"{member.checksum.value.hex()[:12]}…" if member.kind == 1 else "",
        path,
    ]
