"""Rows of made-up datasets by the thousand, as columns."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING
from uuid import uuid4

import uuid_utils

from librarian.api.catalog.v1 import catalog_pb2
from librarian.api.common.v1 import common_pb2
from librarian.messages import error_of

if TYPE_CHECKING:
    from librarian.api.catalog.v1.catalog_pb2_grpc import CatalogServiceAsyncStub

PREFIX = "satp3/obs/"
STORE = "main"
BATCH = 5000
# 2024-06-16; one dataset a second from here on.
FIRST_SECOND = 1_718_574_200


Request = catalog_pb2.RegisterDatasetsRequest


@dataclass(frozen=True, slots=True)
class Numbers:
    """Datasets `first` to `first + count - 1` of an endless row."""

    first: int
    count: int

    def batches(self) -> Iterator[range]:
        end = self.first + self.count
        for start in range(self.first, end, BATCH):
            yield range(start, min(start + BATCH, end))


class Filling:
    """How far the catalogue was filled."""

    def __init__(self) -> None:
        self.count = 0

    def take(self, count: int) -> Numbers:
        """The next so many, which the caller registers."""
        first, self.count = self.count, self.count + count
        return Numbers(first, count)

    async def fill_to(self, total: int, catalog: CatalogServiceAsyncStub) -> None:
        while self.count < total:
            numbers = self.take(min(total - self.count, 20 * BATCH))
            await register(catalog, requests(numbers))


def name_of(number: int) -> str:
    return f"{PREFIX}{FIRST_SECOND + number:010}_satp3_1111111"


def requests(numbers: Numbers) -> list[Request]:
    return [_request(batch) for batch in numbers.batches()]


async def register(catalog: CatalogServiceAsyncStub, messages: Iterable[Request]) -> int:
    """On one stream, as fast as answers come. How many; all of them have to be new."""

    async def send() -> AsyncIterator[Request]:
        for message in messages:
            yield message

    published = 0
    async for answer in catalog.RegisterDatasets(send()):
        published += answer.published_count
        for verdict in answer.verdicts:
            raise error_of(verdict.error)
    return published


def _request(numbers: range) -> Request:
    columns = catalog_pb2.DatasetColumns()
    for number in numbers:
        columns.uid.append(str(uuid_utils.uuid7()))
        columns.name.append(name_of(number))
        columns.kind.append(common_pb2.DATASET_KIND_FILE)
        columns.digest_algorithm.append("sha256")
        columns.digest.append(sha256(str(number).encode()).digest())
        columns.size_bytes.append(15_000_000_000 + number)
        columns.member_count.append(1)
        columns.uploader.append(f"packer-{number % 3}")
        columns.create_time_us.append((FIRST_SECOND + number) * 1_000_000)
        columns.tags_json.append('{"telescope": "satp3"}' if number % 10 == 0 else "")
        columns.origin.append(b"")
        columns.traceparent.append(f"00-{number:032x}-{number:016x}-01")
        columns.site.append("bench")
    return Request(request_id=str(uuid4()), datasets=columns, store=STORE)
