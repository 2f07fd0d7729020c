"""What callers get: answers, refusals, and nothing they should not see."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2
from structlog.testing import capture_logs
from support.eventually import eventually

from librarian.api.catalog.v1 import catalog_pb2 as pb
from librarian.errors import (
    DeadlineExceeded,
    InternalError,
    InvalidInput,
    NameTaken,
    RoleMayNot,
    TokenInvalid,
)
from svckit.auth import Caller, Role

GetDataset = pb.GetDatasetRequest


def error_info(error: grpc.aio.AioRpcError) -> Any:
    metadata = dict(error.trailing_metadata() or ())
    status = status_pb2.Status.FromString(metadata["grpc-status-details-bin"])
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    return info


async def test_a_call_is_answered_and_the_caller_known(site: Any) -> None:
    async with site.channels() as channels:
        answer = await channels.catalog.GetDataset(GetDataset(name="a/b"))
        assert (answer.dataset.name, answer.dataset.uploader) == ("a/b", "transfer")
    async with site.channels("gateway", Caller("bob", Role.READER)) as channels:
        assert (await channels.catalog.GetDataset(GetDataset(name="x"))).dataset.uploader == "bob"
    await eventually(lambda: site.metric(method="GetDataset", code="OK") == 2, what="it is counted")


async def test_all_kinds_of_streams(site: Any) -> None:
    async with site.channels() as channels:

        async def members() -> Any:
            for _ in range(3):
                yield pb.AddMembersRequest()

        async def batches() -> Any:
            for number in range(3):
                yield pb.RegisterDatasetsRequest(request_id=str(number))

        assert (await channels.catalog.AddMembers(members())).member_count == 3
        assert [r.request_id async for r in channels.catalog.RegisterDatasets(batches())] == ["0", "1", "2"]
        site.servicer.go_on.set()
        events = channels.catalog.WatchEvents(pb.WatchEventsRequest(after=pb.EventCursor(sequence=3)))
        assert [event.next.sequence async for event in events] == [0, 1, 2]


async def test_an_error_comes_back_as_its_class_with_its_remedy(site: Any) -> None:
    async with site.channels() as channels:
        with pytest.raises(NameTaken) as caught:
            await channels.catalog.GetDataset(GetDataset(name="taken"))
    assert caught.value.message == "taken/it is taken"
    assert caught.value.remedy == NameTaken.default_remedy
    assert caught.value.metadata == {"name": "taken/it"}
    await eventually(
        lambda: site.metric(method="GetDataset", code="ALREADY_EXISTS") == 1, what="it is counted"
    )


async def test_an_error_on_the_wire_is_a_status_with_one_error_info(site: Any) -> None:
    async with site.stub() as stub:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.GetDataset(GetDataset(name="taken"), metadata=site.metadata())
    assert caught.value.code() is grpc.StatusCode.ALREADY_EXISTS
    assert caught.value.details() == "taken/it is taken"
    info = error_info(caught.value)
    assert (info.reason, info.domain) == ("NAME_TAKEN", "librarian")
    assert dict(info.metadata) == {"name": "taken/it", "remedy": NameTaken.default_remedy}


async def test_an_error_in_the_middle_of_a_stream(site: Any) -> None:
    async with site.channels() as channels:
        request = pb.WatchEventsRequest(after=pb.EventCursor(sequence=2, epoch=1))
        events = aiter(channels.catalog.WatchEvents(request))
        assert [(await anext(events)).next.sequence for _ in range(2)] == [0, 1]
        with pytest.raises(NameTaken, match="in the middle"):
            await anext(events)
    await eventually(
        lambda: site.metric(method="WatchEvents", code="ALREADY_EXISTS") == 1, what="it is counted"
    )


async def test_a_field_is_named_in_bad_request(site: Any) -> None:
    async with site.channels() as channels:
        with pytest.raises(InvalidInput) as caught:
            await channels.catalog.GetDataset(GetDataset(name="invalid"))
    assert caught.value.metadata["field"] == "size_bytes"


async def test_what_a_task_group_collected_is_told_plainly(site: Any) -> None:
    async with site.channels() as channels:
        with pytest.raises(NameTaken, match="from a task"):
            await channels.catalog.GetDataset(GetDataset(name="group"))


@pytest.mark.parametrize("name", ["bug", "internal"])
async def test_a_bug_shows_an_id_and_the_log_shows_the_rest(site: Any, name: str) -> None:
    with capture_logs() as logged:
        async with site.channels() as channels:
            with pytest.raises(InternalError) as caught:
                await channels.catalog.GetDataset(GetDataset(name=name))
    error = caught.value
    assert "hunter2" not in f"{error.message} {error.remedy} {error.metadata}"
    (entry,) = [entry for entry in logged if entry["event"] == "rpc_failed"]
    assert entry["error_id"] == error.metadata["error_id"]
    assert str(entry["exc_info"]) == "the password is hunter2"
    await eventually(lambda: site.metric(method="GetDataset", code="INTERNAL") == 1, what="it is counted")


async def test_a_servicer_may_abort_by_itself(site: Any) -> None:
    async with site.stub() as stub:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.GetDataset(GetDataset(name="aborts"), metadata=site.metadata())
    assert caught.value.code() is grpc.StatusCode.OUT_OF_RANGE
    assert caught.value.details() == "the servicer's own words"
    await eventually(lambda: site.metric(method="GetDataset", code="OUT_OF_RANGE") == 1, what="it is counted")


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        ((), "TOKEN_MISSING"),
        ((("authorization", "Basic x"),), "TOKEN_MISSING"),
        ((("authorization", "Bearer nonsense"),), "TOKEN_INVALID"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_nobody_gets_in_without_a_token(site: Any, metadata: Any, reason: str, *, stream: bool) -> None:
    async with site.stub() as stub:
        if stream:
            answer = stub.WatchEvents(pb.WatchEventsRequest(), metadata=metadata).read()
        else:
            answer = stub.GetDataset(GetDataset(name="x"), metadata=metadata)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await answer
    assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
    assert error_info(caught.value).reason == reason


async def test_a_token_for_another_service_does_not_open_this_one(site: Any) -> None:
    async with site.stub() as stub:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.GetDataset(GetDataset(name="x"), metadata=site.metadata(audience="store"))
    assert error_info(caught.value).reason == TokenInvalid.reason


@pytest.mark.parametrize("role", [Role.READER, Role.ADMIN])
async def test_a_role_that_may_not_is_told_which_may(site: Any, role: Role) -> None:
    async with site.channels("gateway", Caller("bob", role)) as channels:
        with pytest.raises(RoleMayNot) as caught:
            await channels.catalog.PublishDatasets(pb.PublishDatasetsRequest())
    assert caught.value.message == f"bob has role {role}, and PublishDatasets is for service"
    await eventually(
        lambda: site.metric(method="PublishDatasets", code="PERMISSION_DENIED") == 1, what="it is counted"
    )


async def test_a_worker_cannot_act_as_a_client(site: Any) -> None:
    async with site.channels("worker", Caller("bob", Role.ADMIN)) as channels:
        with pytest.raises(TokenInvalid):
            await channels.catalog.GetDataset(GetDataset(name="x"))


async def test_the_callers_deadline_ends_the_work(site: Any) -> None:
    async with site.channels() as channels:
        with pytest.raises(DeadlineExceeded):
            await channels.catalog.GetDataset(GetDataset(name="wait"), timeout=0.2)
    async with asyncio.timeout(5):
        await site.servicer.left.wait()
    await eventually(
        lambda: site.metric(method="GetDataset", code="DEADLINE_EXCEEDED") == 1, what="it is counted"
    )


async def test_a_call_without_a_deadline_gets_one(open_site: Any) -> None:
    async with open_site(server={"unary_seconds": 0.1}) as site, site.stub() as stub:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.GetDataset(GetDataset(name="wait"), metadata=site.metadata())
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert error_info(caught.value).reason == "DEADLINE_EXCEEDED"
        assert site.servicer.left.is_set()


async def test_a_client_that_goes_away_ends_the_stream_at_once(site: Any) -> None:
    async with site.channels() as channels:
        stream = channels.catalog.WatchEvents(pb.WatchEventsRequest(after=pb.EventCursor(sequence=1)))
        async for _ in stream:
            break
        async with asyncio.timeout(5):
            await site.servicer.entered.wait()
        assert not site.servicer.left.is_set()
        stream.cancel()
        async with asyncio.timeout(5):
            await site.servicer.left.wait()


async def test_the_trace_context_reaches_the_servicer(site: Any) -> None:
    traceparent = "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01"
    async with site.stub() as stub:
        for sent in (traceparent, "nonsense"):
            await stub.GetDataset(GetDataset(name="x"), metadata=(*site.metadata(), ("traceparent", sent)))
    assert site.servicer.traceparents == [traceparent, ""]
