"""librarian store ls: the stores, their room and their troubles."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from librarian.cli import options
from librarian.cli.output import Column, Output, Verdict

if TYPE_CHECKING:
    from librarian.api.store.v1 import store_pb2
    from librarian.client import Librarian


def command(*, site: options.Site = "", as_json: options.Json = False) -> None:
    """List the stores in placement order."""
    from librarian.cli.jsonform import message_value
    from librarian.cli.run import run

    async def body(client: Librarian, output: Output) -> None:
        stores = await client.stores()
        if output.as_json:
            output.value([message_value(store) for store in stores])
        else:
            print_stores(stores, output)

    run(body, site=site, as_json=as_json)


def print_stores(stores: Sequence[store_pb2.Store], output: Output) -> None:
    from librarian.api.store.v1 import store_pb2
    from librarian.cli.texts import count_text, label, size_text

    if not stores:
        output.line("no stores: `librarian store add NAME --root DIR` makes one")
        return
    columns = [
        Column("STORE"),
        Column("CLASS"),
        Column("STATE"),
        Column("ROOM", right=True),
        Column("OF", right=True),
        Column("HELD", right=True),
        Column("DATASETS", right=True),
        Column("ROOT"),
    ]
    rows = [
        [
            store.name,
            label(store_pb2.StoreClass.Name(store.store_class), "STORE_CLASS_"),
            state_of(store),
            size_text(store.usage.grantable_bytes),
            size_text(store.usage.capacity_bytes),
            size_text(store.usage.held_bytes),
            count_text(store.usage.held_count),
            store.root,
        ]
        for store in stores
    ]
    output.table(columns, rows)
    for store in stores:
        if store.trouble:
            output.line(f"{output.judged(store.name, Verdict.BAD)}: {store.trouble}")


def state_of(store: store_pb2.Store) -> str:
    """In one word: what it can be used for."""
    if store.trouble:
        return "trouble"
    if not store.enabled:
        return "off"
    if not store.ingestible:
        return "drained"
    return "full" if store.usage.grantable_bytes <= 0 else "open"
