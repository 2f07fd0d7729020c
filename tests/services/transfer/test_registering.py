"""RegisterTrees: what lies there becomes datasets, once."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator

import pytest
from transfer_lab.rig import Client, Rig, new_id
from transfer_lab.store import file_content, tree_content

from librarian import errors
from librarian.api.common.v1 import common_pb2
from librarian.api.transfer.v1 import transfer_pb2 as pb
from svckit.auth import Caller, Role

OPERATOR = Caller("olga", Role.OPERATOR, token_id="token-olga")
BOOK = tree_content({"a": b"1", "b/c": b"22"})


@pytest.fixture
async def client(rig: Rig) -> AsyncIterator[Client]:
    async with rig.transfer(), rig.client(OPERATOR) as client:
        yield client


async def register(client: Client, **fields: object) -> list[pb.RegisterTreesResponse]:
    fields.setdefault("store", "fast")
    request = pb.RegisterTreesRequest(request_id=new_id(), **fields)  # type: ignore[arg-type]
    return [told async for told in client.stub.RegisterTrees(request)]


def lay(rig: Rig, count: int = 3) -> list[str]:
    names = [f"books/{i}" for i in range(count)]
    for number, name in enumerate(names):
        rig.stores.adoptable["fast", name] = BOOK if number % 2 else file_content(name.encode())
        rig.stores.mtimes[name] = 1_600_000_000_123_456_789 + number
    return names


async def test_trees_become_datasets(rig: Rig, client: Client) -> None:
    names = lay(rig)
    last = (await register(client, tags={"run": "1"}))[-1]
    assert last.done
    assert (last.found_count, last.registered_count, last.already_count, last.refused_count) == (3, 3, 0, 0)
    assert last.hashed_bytes > 0
    assert last.found_bytes == 30
    assert sorted(rig.catalog.live) == names
    uid = rig.catalog.live["books/1"].uid
    assert set(rig.catalog.members[uid]) == {"a", "b/c"}
    columns = rig.catalog.columns[uid]
    assert columns["create_time_us"] == 1_600_000_000_123_456
    assert (columns["uploader"], columns["site"], columns["tags_json"]) == ("olga", "lab", '{"run":"1"}')
    signed = common_pb2.Signed.FromString(columns["origin"])
    assert common_pb2.Origin.FromString(signed.payload).uid == uid


async def test_repeating_it_reads_and_registers_nothing_again(rig: Rig, client: Client) -> None:
    lay(rig)
    await register(client)
    origins = {uid: columns["origin"] for uid, columns in rig.catalog.columns.items()}
    last = (await register(client))[-1]
    assert (last.registered_count, last.already_count, last.hashed_bytes) == (0, 3, 0)
    assert {uid: columns["origin"] for uid, columns in rig.catalog.columns.items()} == origins
    assert rig.catalog.trouble.calls["RegisterDatasets"] == 1


async def test_one_bad_tree_does_not_stop_the_others(rig: Rig, client: Client) -> None:
    lay(rig)
    rig.stores.adoptable["fast", "books/1"] = errors.SpecialFile("books/1/fifo is a FIFO", path="fifo")
    rig.stores.adoptable["fast", "books/bad//name"] = BOOK
    answers = await register(client)
    refusals = {refusal.name: refusal.error.reason for told in answers for refusal in told.refusals}
    assert refusals == {"books/1": "SPECIAL_FILE", "books/bad//name": "INVALID_NAME"}
    assert (answers[-1].registered_count, answers[-1].refused_count) == (2, 2)


async def test_the_catalogue_refuses(rig: Rig, client: Client) -> None:
    lay(rig)
    rig.catalog.add("books", b"x" * 32)
    answers = await register(client)
    assert {r.error.reason for told in answers for r in told.refusals} == {"NAME_IS_PREFIX"}
    assert answers[-1].refused_count == 3


async def test_a_name_with_its_bytes_elsewhere_is_not_adopted(rig: Rig, client: Client) -> None:
    lay(rig)
    rig.catalog.add("books/0", b"x" * 32, store="slow")
    answers = await register(client)
    (refusal,) = [refusal for told in answers for refusal in told.refusals]
    assert (refusal.name, refusal.error.reason) == ("books/0", "NAME_TAKEN")
    assert "books/0" not in rig.stores.adopted
    assert answers[-1].registered_count == 2


async def test_another_copy_under_the_name_is_not_mistaken_for_this_one(rig: Rig, client: Client) -> None:
    lay(rig)
    rig.catalog.add("books/0", b"x" * 32, store="fast", uid="another")
    answers = await register(client)
    (refusal,) = [refusal for told in answers for refusal in told.refusals]
    assert (refusal.name, refusal.error.reason) == ("books/0", "NAME_TAKEN")


async def test_what_an_ingest_has_just_put_there_is_left_to_it(rig: Rig, client: Client) -> None:
    async with rig.client() as alice:
        uid = await alice.bring("books/0", BOOK)
        rig.stores.adoptable["fast", "books/0"] = BOOK
        rig.stores.adopted["books/0"] = (uid, BOOK)
        last = (await register(client))[-1]
        assert (last.already_count, last.registered_count) == (1, 0)
        await alice.commit((uid, BOOK))
        async with rig.worker():
            await alice.wait(uid)
    assert rig.catalog.columns[uid]["uploader"] == "alice"


async def test_going_on_after_a_break(rig: Rig, client: Client) -> None:
    lay(rig)
    rig.catalog.trouble.fail("RegisterDatasets", [errors.StoreDisabled("off")])
    with pytest.raises(errors.StoreDisabled):
        await register(client)
    last = (await register(client))[-1]
    # Adopted the first time: not read again, but told to the catalogue now.
    assert (last.registered_count, last.hashed_bytes) == (3, 0)


async def test_more_than_a_chunk(rig: Rig, client: Client) -> None:
    lay(rig, 1201)
    last = (await register(client))[-1]
    assert last.registered_count == 1201
    assert rig.catalog.trouble.calls["RegisterDatasets"] == 3


async def test_what_is_wrong_with_the_request(rig: Rig, client: Client) -> None:
    for fields, error in [
        ({"store": "nowhere"}, errors.StoreNotFound),
        ({"path": "../out"}, errors.InvalidName),
        ({"algorithm": "md5"}, errors.AlgorithmNotAllowed),
        ({"tags": {"": "x"}}, errors.InvalidInput),
    ]:
        with pytest.raises(error):
            await register(client, **fields)


async def test_only_operators_and_only_below_their_prefix(rig: Rig, client: Client) -> None:
    lay(rig)
    rig.stores.adoptable["fast", "other/1"] = BOOK
    async with rig.client() as alice:
        with pytest.raises(errors.RoleMayNot):
            await register(alice)
    async with rig.client(dataclasses.replace(OPERATOR, name_prefix="other/**")) as narrow:
        last = (await register(narrow))[-1]
    assert (last.registered_count, last.refused_count) == (1, 3)
    assert list(rig.catalog.live) == ["other/1"]
