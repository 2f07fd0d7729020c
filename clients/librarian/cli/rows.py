"""Datasets as lines, page by page: a listing of a million starts at once."""

from __future__ import annotations

from collections.abc import AsyncIterator

from librarian.api.catalog.v1 import catalog_pb2
from librarian.api.common.v1 import common_pb2
from librarian.cli.jsonform import message_value
from librarian.cli.output import Column, Output, table_lines
from librarian.cli.texts import count_text, counted, label, size_text, time_text
from librarian.messages import datetime_of
from librarian.names import printable

COLUMNS = (
    Column("SIZE", right=True),
    Column("ITEMS", right=True),
    Column("CREATED"),
    Column("BY"),
    Column("COPIES"),
    Column("NAME"),
)
# Of what comes on later pages, so that they are aligned with the first.
WIDTHS = (7, 5, 16, 0, 0, 0)
PAGE_ROWS = 500


async def print_datasets(
    datasets: AsyncIterator[catalog_pb2.Dataset], output: Output, *, names_only: bool, long: bool
) -> None:
    """`long`: uploader and copies too."""
    if output.as_json:
        array = output.array()
        async for dataset in datasets:
            array.add(message_value(dataset))
        array.end()
        return
    if names_only:
        async for dataset in datasets:
            output.line(printable(dataset.name) if output.is_terminal else dataset.name)
        return
    count = size = 0
    page: list[list[str]] = []
    async for dataset in datasets:
        count += 1
        size += dataset.size_bytes
        page.append(_row(dataset, long=long))
        if len(page) == PAGE_ROWS:
            _print_page(page, output, first=count == PAGE_ROWS)
            page = []
    if page:
        _print_page(page, output, first=count <= PAGE_ROWS)
    output.note(f"{counted(count, 'dataset')}, {size_text(size)}" if count else "no datasets")


def _print_page(page: list[list[str]], output: Output, *, first: bool) -> None:
    title, *lines = table_lines(COLUMNS, page, widths=WIDTHS)
    if first:
        output.line(output.bold(title))
    for line in lines:
        output.line(line)


def _row(dataset: catalog_pb2.Dataset, *, long: bool) -> list[str]:
    is_directory = dataset.kind == common_pb2.DATASET_KIND_DIRECTORY
    return [
        size_text(dataset.size_bytes),
        count_text(dataset.member_count) if is_directory else "-",
        time_text(datetime_of(dataset.create_time)),
        printable(dataset.uploader) if long else "",
        copies_text(dataset) if long else "",
        printable(dataset.name),
    ]


def copies_text(dataset: catalog_pb2.Dataset) -> str:
    """`main`, `main,archive!corrupt`, `main,nersc:tape`: stores, with the state where it is not available;
    those of other sites with the site.
    """
    parts = []
    for replica in dataset.replicas:
        state = label(common_pb2.ReplicaState.Name(replica.state), "REPLICA_STATE_")
        parts.append(replica.store if state == "available" else f"{replica.store}!{state}")
    parts += [printable(f"{replica.site}:{replica.store}") for replica in dataset.remote_replicas]
    return ",".join(parts) or "none"
