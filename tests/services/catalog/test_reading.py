"""GetDataset, BatchGetDatasets and ListMembers."""

from __future__ import annotations

import asyncio

import pytest
from support.catalog_site import DIRECTORY, Catalog, Made, member

from librarian.api.catalog.v1 import catalog_pb2 as pb
from librarian.api.common.v1 import common_pb2
from librarian.errors import (
    BatchTooLarge,
    DatasetNotFound,
    InvalidGlob,
    InvalidInput,
    InvalidName,
    InvalidPageToken,
    NameOutsidePrefix,
)


def by_name(name: str) -> pb.GetDatasetRequest:
    return pb.GetDatasetRequest(name=name)


def by_uid(uid: str) -> pb.GetDatasetRequest:
    return pb.GetDatasetRequest(uid=uid)


async def paths_of(catalog: Catalog, uid: str, *, glob: str = "", size: int = 0) -> list[list[str]]:
    """Page by page."""
    pages, token = [], ""
    while True:
        request = pb.ListMembersRequest(uid=uid, path_glob=glob, page_size=size, page_token=token)
        answer = await catalog.stub.ListMembers(request)
        pages.append([each.path for each in answer.members])
        token = answer.next_page_token
        if not token:
            return pages


async def test_by_name_and_by_uid(catalog: Catalog) -> None:
    one = Made("a/b")
    await catalog.publish(one)
    await catalog.register([Made("a/b")], store="disk")
    named = (await catalog.stub.GetDataset(by_name("a/b"))).dataset
    assert named == (await catalog.stub.GetDataset(by_uid(one.uid))).dataset
    assert [replica.store for replica in named.replicas] == ["disk", "main"]


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        (by_name("a/c"), DatasetNotFound),
        (by_name("a"), DatasetNotFound),
        (by_name("a/../b"), InvalidName),
        (by_name("a\0"), InvalidName),
        (by_uid("0190a6c8-0000-7000-8000-000000000001"), DatasetNotFound),
        (by_uid("no uid"), DatasetNotFound),
        (pb.GetDatasetRequest(), InvalidInput),
    ],
)
async def test_what_is_not_there(
    catalog: Catalog, request_: pb.GetDatasetRequest, error: type[Exception]
) -> None:
    await catalog.publish(Made("a/b"))
    with pytest.raises(error):
        await catalog.stub.GetDataset(request_)


async def test_many_at_once_and_those_that_are_missing(catalog: Catalog) -> None:
    one, two = Made("a/1"), Made("a/2", tags={"k": "v"})
    await catalog.publish(one, two)
    request = pb.BatchGetDatasetsRequest(
        names=["a/1", "a/1", "a/3", "bad\0name", "../x"], uids=[two.uid, one.uid, catalog.new_id(), "junk"]
    )
    answer = await catalog.stub.BatchGetDatasets(request)
    assert sorted(each.name for each in answer.datasets) == ["a/1", "a/2"]
    assert all(len(each.replicas) == 1 for each in answer.datasets)
    assert list(answer.missing) == ["a/3", "bad\0name", "../x", request.uids[2], "junk"]


async def test_a_batch_of_look_ups_is_bounded(catalog: Catalog) -> None:
    with pytest.raises(BatchTooLarge):
        await catalog.stub.BatchGetDatasets(pb.BatchGetDatasetsRequest(names=["a"] * 1001))


async def test_a_limited_token_does_not_learn_of_what_lies_outside(catalog: Catalog) -> None:
    ours, theirs = Made("satp3/1"), Made("lat/1", kind=DIRECTORY, members=1)
    await catalog.add_members(theirs.uid, [member("x")])
    await catalog.publish(ours, theirs)
    client = await catalog.as_client(prefix="satp3/**")
    assert (await client.GetDataset(by_name("satp3/1"))).dataset.uid == ours.uid
    for name in ("lat/1", "lat/not-there"):
        with pytest.raises(NameOutsidePrefix):
            await client.GetDataset(by_name(name))
    # Not even that there is such a uid.
    with pytest.raises(DatasetNotFound):
        await client.GetDataset(by_uid(theirs.uid))
    with pytest.raises(DatasetNotFound):
        await client.ListMembers(pb.ListMembersRequest(uid=theirs.uid))
    wanted = pb.BatchGetDatasetsRequest(names=["lat/1", "satp3/1"], uids=[theirs.uid])
    answer = await client.BatchGetDatasets(wanted)
    assert [each.uid for each in answer.datasets] == [ours.uid]
    assert list(answer.missing) == ["lat/1", theirs.uid]


async def test_members_come_as_they_were_sent_in_path_order(catalog: Catalog) -> None:
    book = Made("book", kind=DIRECTORY, members=4)
    sent = [
        member("z/\u00e9"),
        member("a", size=0),
        common_pb2.Member(path="empty", kind=common_pb2.MEMBER_KIND_DIRECTORY, mode=0o755),
        common_pb2.Member(path="link", kind=common_pb2.MEMBER_KIND_SYMLINK, link_target="z/\u00e9"),
    ]
    await catalog.add_members(book.uid, sent)
    await catalog.publish(book)
    answer = await catalog.stub.ListMembers(pb.ListMembersRequest(uid=book.uid))
    assert list(answer.members) == [sent[1], sent[2], sent[3], sent[0]]
    assert not answer.next_page_token


async def test_members_page_by_page_and_by_glob(catalog: Catalog) -> None:
    paths = sorted(
        f"{folder}/{number:02}.{end}" for folder in "ab" for number in range(9) for end in ("g3", "t")
    )
    book = Made("book", kind=DIRECTORY, members=len(paths))
    await catalog.add_members(book.uid, [member(path) for path in paths])
    await catalog.publish(book)
    assert await paths_of(catalog, book.uid, size=12) == [paths[:12], paths[12:24], paths[24:]]
    wanted = [path for path in paths if path.startswith("a/") and path.endswith(".g3")]
    assert await paths_of(catalog, book.uid, glob="a/*.g3", size=5) == [wanted[:5], wanted[5:]]
    assert await paths_of(catalog, book.uid, glob="b/**") == [paths[18:]]
    assert await paths_of(catalog, book.uid, glob="c/*") == [[]]


async def test_page_tokens_of_members_are_bound(catalog: Catalog) -> None:
    book, other = (Made(name, kind=DIRECTORY, members=3) for name in ("book", "other"))
    for each in (book, other):
        await catalog.add_members(each.uid, [member(path) for path in "abc"])
    await catalog.publish(book, other)
    token = (await catalog.stub.ListMembers(pb.ListMembersRequest(uid=book.uid, page_size=1))).next_page_token
    for fields in ({"uid": other.uid}, {"uid": book.uid, "path_glob": "*"}):
        with pytest.raises(InvalidPageToken):
            await catalog.stub.ListMembers(pb.ListMembersRequest(**fields, page_token=token))
    with pytest.raises(InvalidGlob):
        await catalog.stub.ListMembers(pb.ListMembersRequest(uid=book.uid, path_glob="["))


async def test_members_are_invisible_until_their_dataset_is_published(catalog: Catalog) -> None:
    book = Made("book", kind=DIRECTORY, members=1)
    await catalog.add_members(book.uid, [member("a")])
    with pytest.raises(DatasetNotFound):
        await catalog.stub.ListMembers(pb.ListMembersRequest(uid=book.uid))


async def test_members_of_a_published_dataset_are_what_they_are(catalog: Catalog) -> None:
    book = Made("book", kind=DIRECTORY, members=1)
    await catalog.add_members(book.uid, [member("a")])
    await catalog.publish(book)
    assert await catalog.add_members(book.uid, [member("a", size=9), member("b")]) == 1
    answer = await catalog.stub.ListMembers(pb.ListMembersRequest(uid=book.uid))
    assert list(answer.members) == [member("a")]


async def test_sending_members_again_is_harmless_and_the_last_word_holds(catalog: Catalog) -> None:
    book = Made("book", kind=DIRECTORY, members=2)
    assert await catalog.add_members(book.uid, [member("a", size=1), member("b"), member("a", size=2)]) == 2
    assert await catalog.add_members(book.uid, [member("b"), member("a", size=3)]) == 2
    await catalog.publish(book)
    answer = await catalog.stub.ListMembers(pb.ListMembersRequest(uid=book.uid))
    assert [(each.path, each.size_bytes) for each in answer.members] == [("a", 3), ("b", 3)]


async def test_streams_of_one_dataset_at_once(catalog: Catalog) -> None:
    book = Made("book", kind=DIRECTORY, members=12_000)
    members = [member(f"m/{number:05}") for number in range(12_000)]

    async def stream(part: list[common_pb2.Member]) -> int:
        requests = [
            pb.AddMembersRequest(uid=book.uid, members=part[start : start + 900])
            for start in range(0, len(part), 900)
        ]
        return (await catalog.stub.AddMembers(iter(requests))).member_count

    counts = await asyncio.gather(stream(members), stream(members[::-1]), stream(members[6000:]))
    assert max(counts) == 12_000
    (verdict,) = await catalog.publish(book)
    assert verdict.outcome == pb.PUBLISH_OUTCOME_PUBLISHED
    assert sum(map(len, await paths_of(catalog, book.uid, size=1000))) == 12_000


async def test_members_that_can_be_none_are_named(catalog: Catalog) -> None:
    with pytest.raises(InvalidName, match=r"\.\./x"):
        await catalog.add_members(catalog.new_id(), [member("fine"), member("../x")])
    with pytest.raises(InvalidInput, match="not a uid"):
        await catalog.add_members("nobody", [member("fine")])
