"""ReserveNames: asking before bringing."""

from __future__ import annotations

import pytest
from support.catalog_site import Catalog, Made

from librarian.api.catalog.v1 import catalog_pb2 as pb
from librarian.errors import BatchTooLarge, InvalidInput


async def reserve(catalog: Catalog, *names: str) -> dict[int, tuple[str, str]]:
    """(reason, existing uid) by position, of those that are not free."""
    request = pb.ReserveNamesRequest(
        request_id=catalog.new_id(), names=names, uids=[catalog.new_id() for _ in names]
    )
    verdicts = (await catalog.stub.ReserveNames(request)).verdicts
    return {each.index: (each.error.reason, each.existing.uid) for each in verdicts}


async def test_free_names_have_no_verdict(catalog: Catalog) -> None:
    assert await reserve(catalog, "a/b", "a/c") == {}


async def test_why_a_name_is_not_free(catalog: Catalog) -> None:
    live = Made("a/b", tags={"tel": "satp3"})
    accent = Made("e\u0301")
    await catalog.publish(live, accent)
    found = await reserve(catalog, "a/b", "a", "a/b/c", "\u00e9", "a/../b", "free", "\u00e9/x")
    assert found == {
        0: ("", live.uid),
        1: ("NAME_IS_PREFIX", ""),
        2: ("NAME_IS_PREFIX", ""),
        3: ("NAME_NORMALISES_ALIKE", ""),
        4: ("INVALID_NAME", ""),
        6: ("NAME_IS_PREFIX", ""),
    }


async def test_the_live_dataset_is_answered_whole(catalog: Catalog) -> None:
    live = Made("a/b", tags={"tel": "satp3"})
    await catalog.publish(live)
    request = pb.ReserveNamesRequest(request_id=catalog.new_id(), names=["a/b"], uids=[catalog.new_id()])
    (verdict,) = (await catalog.stub.ReserveNames(request)).verdicts
    assert verdict.existing.digest.value == live.digest
    assert dict(verdict.existing.tags) == {"tel": "satp3"}


async def test_reserving_excludes_nobody(catalog: Catalog) -> None:
    assert await reserve(catalog, "a/b") == {}
    assert await reserve(catalog, "a/b", "a", "a/b/c") == {}
    (verdict,) = await catalog.publish(Made("a/b"))
    assert verdict.outcome == pb.PUBLISH_OUTCOME_PUBLISHED


async def test_the_same_request_again_gets_the_same_answer(catalog: Catalog) -> None:
    request = pb.ReserveNamesRequest(request_id=catalog.new_id(), names=["a"], uids=[catalog.new_id()])
    assert not (await catalog.stub.ReserveNames(request)).verdicts
    await catalog.publish(Made("a"))
    assert not (await catalog.stub.ReserveNames(request)).verdicts


async def test_requests_that_make_no_sense(catalog: Catalog) -> None:
    with pytest.raises(InvalidInput):
        await catalog.stub.ReserveNames(pb.ReserveNamesRequest(request_id=catalog.new_id(), names=["a"]))
    with pytest.raises(BatchTooLarge):
        await reserve(catalog, *(f"n/{number}" for number in range(1001)))
