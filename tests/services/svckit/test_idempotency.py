"""Everything can be done twice: records of requests in a real database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import MetaData, func, select, text

from librarian.api.catalog.v1 import catalog_pb2 as pb
from librarian.errors import InvalidInput, NameTaken, RequestIdReused
from svckit.database import Database
from svckit.idempotency import idempotency_table, once, sweep

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ONE = "018f0000-0000-7000-8000-000000000001"
TWO = "018f0000-0000-7000-8000-000000000002"

metadata = MetaData()
records = idempotency_table(metadata)


@pytest.fixture
async def database(database_dsn: str) -> AsyncIterator[Database]:
    async with Database.open(database_dsn, schema="kit", pool_size=4, application_name="t") as opened:
        async with opened.transaction() as connection:
            await connection.execute(text("CREATE SCHEMA kit"))
            await connection.run_sync(metadata.create_all)
        yield opened


class Service:
    """Counts how often it really did something."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.count = 0

    async def reserve(
        self,
        *names: str,
        request_id: str = ONE,
        caller: str = "bob",
        method: str = "Reserve",
        now: datetime = NOW,
        act: Callable[[], Awaitable[pb.AddMembersResponse]] | None = None,
    ) -> int:
        async with self.database.transaction() as connection:
            answer = await once(
                connection,
                records,
                request_id=request_id,
                caller=caller,
                method=method,
                request=pb.ReserveNamesRequest(request_id=request_id, names=names),
                response_type=pb.AddMembersResponse,
                now=now,
                action=act or self.do,
            )
        return answer.member_count

    async def do(self) -> pb.AddMembersResponse:
        self.count += 1
        return pb.AddMembersResponse(member_count=self.count)


@pytest.fixture
def service(database: Database) -> Service:
    return Service(database)


async def test_the_first_answer_is_given_again(service: Service) -> None:
    assert [await service.reserve("a") for _ in range(3)] == [1, 1, 1]
    assert await service.reserve("a", request_id=TWO) == 2
    assert service.count == 2


async def test_an_empty_answer_is_an_answer(service: Service) -> None:
    async def nothing() -> pb.AddMembersResponse:
        service.count += 1
        return pb.AddMembersResponse()

    assert [await service.reserve("a", act=nothing) for _ in range(2)] == [0, 0]
    assert service.count == 1


async def test_the_same_id_with_another_request_is_refused(service: Service) -> None:
    await service.reserve("a")
    with pytest.raises(RequestIdReused):
        await service.reserve("b")
    with pytest.raises(RequestIdReused):
        await service.reserve("a", method="Publish")
    assert await service.reserve("a") == 1


async def test_ids_belong_to_their_caller(service: Service) -> None:
    assert await service.reserve("a", caller="bob") == 1
    assert await service.reserve("b", caller="eve") == 2


async def test_the_spelling_of_an_id_does_not_matter(service: Service) -> None:
    async with service.database.transaction() as connection:
        answers = [
            await once(
                connection,
                records,
                request_id=spelling,
                caller="bob",
                method="Add",
                request=pb.AddMembersRequest(uid="x"),
                response_type=pb.AddMembersResponse,
                now=NOW,
                action=service.do,
            )
            for spelling in (ONE, ONE.upper(), ONE.replace("-", ""))
        ]
    assert [answer.member_count for answer in answers] == [1, 1, 1]


@pytest.mark.parametrize("request_id", ["", "1", "not-a-uuid", ONE + "0"])
async def test_an_id_must_be_a_uuid(service: Service, request_id: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        await service.reserve("a", request_id=request_id)
    assert caught.value.metadata["field"] == "request_id"
    assert service.count == 0


async def test_what_failed_is_not_remembered(service: Service) -> None:
    async def refuse() -> pb.AddMembersResponse:
        raise NameTaken("taken")

    with pytest.raises(NameTaken):
        await service.reserve("a", act=refuse)
    assert await service.reserve("a") == 1


async def test_a_second_that_comes_meanwhile_waits_for_the_first(service: Service) -> None:
    inside, go_on = asyncio.Event(), asyncio.Event()

    async def slow() -> pb.AddMembersResponse:
        inside.set()
        await go_on.wait()
        return await service.do()

    first = asyncio.create_task(service.reserve("a", act=slow))
    await inside.wait()
    second = asyncio.create_task(service.reserve("a"))
    done, _ = await asyncio.wait({second}, timeout=0.2)
    assert not done
    go_on.set()
    assert await asyncio.gather(first, second) == [1, 1]
    assert service.count == 1


async def test_where_the_first_fails_the_second_acts(service: Service) -> None:
    inside, go_on = asyncio.Event(), asyncio.Event()

    async def fails() -> pb.AddMembersResponse:
        inside.set()
        await go_on.wait()
        raise NameTaken("taken")

    first = asyncio.create_task(service.reserve("a", act=fails))
    await inside.wait()
    second = asyncio.create_task(service.reserve("a"))
    go_on.set()
    with pytest.raises(NameTaken):
        await first
    assert await second == 1


async def test_records_are_swept_after_a_week(service: Service) -> None:
    for number in range(5):
        await service.reserve("a", request_id=f"018f0000-0000-7000-8000-00000000000{number}")
    await service.reserve("a", request_id=TWO.replace("000002", "0000aa"), now=NOW + timedelta(days=6))
    later = NOW + timedelta(days=7, seconds=1)
    async with service.database.transaction() as connection:
        assert await sweep(connection, records, now=NOW + timedelta(days=7)) == 0
        assert await sweep(connection, records, now=later, limit=3) == 3
        assert await sweep(connection, records, now=later) == 2
        assert await connection.scalar(select(func.count()).select_from(records)) == 1
