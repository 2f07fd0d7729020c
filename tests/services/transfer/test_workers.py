"""Workers: several, dying, stopping, late; and ingests that nobody goes on with."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from support.eventually import eventually
from transfer_lab.rig import Rig, open_rig
from transfer_lab.store import Space, file_content

from librarian import errors
from librarian.api.transfer.v1 import transfer_pb2 as pb

PUBLISHED = pb.INGEST_STATE_PUBLISHED
HELLO = file_content(b"hello")


@pytest.fixture
async def hasty(directory: Path, database_dsn: str) -> AsyncIterator[Rig]:
    """Ingests live for one second, leases for half of one."""
    spaces = {"disks": [Space("fast")]}
    async with open_rig(
        directory,
        database_dsn,
        spaces,
        transfer={"ingest_lifetime_seconds": 1},
        worker={"lease_seconds": 0.5, "poll_seconds": 0.2},
    ) as opened:
        yield opened


async def test_a_client_that_dies_leaves_nothing_behind(hasty: Rig) -> None:
    async with hasty.running() as client:
        uid = await client.bring("n", HELLO)
        never_placed = await client.open("m", HELLO)
        (ended,) = await client.wait(uid)
        assert ended.state == pb.INGEST_STATE_EXPIRED
        await client.wait(never_placed)
        await hasty.all_settled()
        (verdict,) = await client.commit((uid, HELLO))
        assert verdict.error.reason == "INGEST_CLOSED"
    assert hasty.stores.strays() == []
    assert hasty.stores.spaces["fast"].reserved == 0


async def test_an_ingest_that_never_got_a_store_expires_too(hasty: Rig) -> None:
    async with hasty.transfer(), hasty.client() as client:
        hasty.catalog.trouble.always["ReserveNames"] = errors.DeadlineExceeded("slow")
        with pytest.raises(errors.DeadlineExceeded):
            await client.open("n", HELLO)
        async with hasty.worker():
            await hasty.all_settled()
    assert [row["state"] for row in await hasty.rows()] == [pb.INGEST_STATE_EXPIRED]


async def test_an_upload_that_is_alive_does_not_expire(hasty: Rig) -> None:
    async with hasty.running() as client:
        uid = await client.bring("n", HELLO)
        hasty.stores.uploads[uid].active = True
        before = (await client.get(uid)).expire_time.ToDatetime()

        async def put_off() -> bool:
            return (await client.get(uid)).expire_time.ToDatetime() > before

        await eventually(put_off)
        await client.commit((uid, HELLO))
        assert (await client.wait(uid))[0].state == PUBLISHED


async def test_expiry_waits_for_a_store_that_is_off(hasty: Rig) -> None:
    async with hasty.running() as client:
        uid = await client.bring("n", HELLO)
        hasty.stores.spaces["fast"].enabled = False

        async def tried() -> bool:
            return hasty.stores.trouble.calls["AbortUploads"] >= 2

        await eventually(tried)
        assert (await client.get(uid)).state == pb.INGEST_STATE_OPEN
        hasty.stores.spaces["fast"].enabled = True
        assert (await client.wait(uid))[0].state == pb.INGEST_STATE_EXPIRED


async def test_two_workers_share_the_work_and_do_nothing_twice(rig: Rig) -> None:
    async with rig.transfer(), rig.client() as client, rig.worker(), rig.worker():
        contents = {f"n/{i:03}": file_content(str(i).encode()) for i in range(300)}
        uids = [
            verdict.open.ingest_id
            for verdict in (
                await client.begin(*(pb.IngestSpec(name=name, kind=1, size_bytes=9) for name in contents))
            ).verdicts
        ]
        claims = list(zip(uids, contents.values(), strict=True))
        for uid, content in claims:
            rig.stores.bring(uid, content)
        await asyncio.gather(*(client.commit(*claims[i : i + 10]) for i in range(0, 300, 10)))
        ended = await client.wait(*uids)
        assert {each.state for each in ended} == {PUBLISHED}
        await rig.all_settled()
    assert {upload.commit_count for upload in rig.stores.uploads.values()} == {1}
    published = [uid for uid, _, _, _ in rig.catalog.history]
    assert sorted(published) == sorted(uids)


_EXPIRE = "UPDATE transfer.ingests SET lease_until = now() - interval '1 hour' WHERE lease_fence = 1"


async def test_another_takes_over_from_one_that_hangs_and_the_late_write_is_refused(hasty: Rig) -> None:
    """The first worker is held inside its call to the store until the second has the work."""
    async with hasty.transfer(), hasty.client() as client, hasty.worker() as first:
        uid = await client.bring("n", HELLO)
        hasty.stores.trouble.close_gate("CommitUploads")
        await client.commit((uid, HELLO))
        await hasty.stores.trouble.at_gate["CommitUploads"].wait()
        await hasty.execute(_EXPIRE)
        async with hasty.worker() as second:

            async def taken_over() -> bool:
                if (await hasty.rows("lease_fence"))[0]["lease_fence"] == 2:
                    return True
                # The first may have kept its lease meanwhile: its heart goes on beating.
                await hasty.execute(_EXPIRE)
                return False

            await eventually(taken_over)
            hasty.stores.trouble.open_gate("CommitUploads")
            (ended,) = await client.wait(uid)
            assert ended.state == PUBLISHED
            await hasty.all_settled()
        # Whoever has taken it over (the first may have, in another batch) has ended it, and nobody else.
        ends = [
            worker.metrics.registry.get_sample_value("librarian_ingests_ended_total", {"state": "PUBLISHED"})
            for worker in (first, second)
        ]
        assert sum(count or 0 for count in ends) == 1
    assert [uid for uid, _, _, _ in hasty.catalog.history] == [uid]


async def test_heartbeats_keep_long_work(directory: Path, database_dsn: str) -> None:
    """A batch two leases long is never claimed twice, though another worker looks for work all the time. The
    lease is as long as a heartbeat may be late on a busy machine.
    """
    seconds = 4.0
    worker = {"lease_seconds": seconds, "poll_seconds": 0.2}
    async with (
        open_rig(directory, database_dsn, {"disks": [Space("fast")]}, worker=worker) as rig,
        rig.transfer(),
        rig.client() as client,
        rig.worker(),
        rig.worker(),
    ):
        uid = await client.bring("n", HELLO)
        rig.stores.slow[uid] = 1
        await client.commit((uid, HELLO))
        await eventually(lambda: rig.stores.uploads[uid].commit_count > 0)
        begun = asyncio.get_running_loop().time()
        await eventually(lambda: asyncio.get_running_loop().time() - begun > 2 * seconds)
        assert (await rig.rows("lease_fence"))[0]["lease_fence"] == 1
        del rig.stores.slow[uid]
        assert (await client.wait(uid))[0].state == PUBLISHED


async def test_a_stop_gives_the_work_back_at_once(rig: Rig) -> None:
    async with rig.transfer(), rig.client() as client:
        async with rig.worker():
            uid = await client.bring("n", HELLO)
            rig.stores.slow[uid] = 1
            await client.commit((uid, HELLO))
            await eventually(lambda: rig.stores.uploads[uid].commit_count > 0)
        (row,) = await rig.rows("lease_owner, lease_until, state")
        assert (row["lease_owner"], row["lease_until"]) == (None, None)
        assert row["state"] == pb.INGEST_STATE_COMMITTING
        del rig.stores.slow[uid]
        async with rig.worker():
            assert (await client.wait(uid))[0].state == PUBLISHED


async def test_a_batch_that_does_not_end_is_cut_off_and_released(rig: Rig) -> None:
    async with rig.transfer(), rig.client() as client:
        async with rig.worker():
            uid = await client.bring("n", HELLO)
            rig.stores.trouble.close_gate("CommitUploads")
            await client.commit((uid, HELLO))
            await rig.stores.trouble.at_gate["CommitUploads"].wait()
        (row,) = await rig.rows("lease_owner")
        assert row["lease_owner"] is None
        rig.stores.trouble.open_gate("CommitUploads")


async def test_leftovers_of_every_kind_are_taken_up(rig: Rig) -> None:
    """STORED by a worker that died, and final ones whose store was never told."""
    async with rig.transfer(), rig.client() as client:
        rig.catalog.trouble.always["PublishDatasets"] = errors.Unavailable("down")
        async with rig.worker():
            uid = await client.bring("n", HELLO)
            await client.commit((uid, HELLO))

            async def stored() -> bool:
                return (await client.get(uid)).state == pb.INGEST_STATE_STORED

            await eventually(stored)
        del rig.catalog.trouble.always["PublishDatasets"]
        rig.stores.trouble.always["ConfirmUploads"] = errors.StoreDisabled("off")
        async with rig.worker():
            assert (await client.wait(uid))[0].state == PUBLISHED
        assert (await rig.rows("settled"))[0]["settled"] is False
        del rig.stores.trouble.always["ConfirmUploads"]
        async with rig.worker():
            await rig.all_settled()
        assert (await client.get(uid)).state == PUBLISHED
        assert not (await client.get(uid)).HasField("error")


async def test_the_origin_is_made_once(rig: Rig) -> None:
    async with rig.transfer(), rig.client() as client:
        rig.stores.trouble.always["CommitUploads"] = errors.StoreDisabled("off")
        async with rig.worker():
            uid = await client.bring("n", HELLO)
            await client.commit((uid, HELLO))
            await eventually(lambda: rig.stores.trouble.calls["CommitUploads"] >= 2)
        (before,) = await rig.rows("origin")
        del rig.stores.trouble.always["CommitUploads"]
        async with rig.worker():
            await client.wait(uid)
        assert rig.catalog.columns[uid]["origin"] == before["origin"]


async def test_a_store_that_hangs_takes_no_room_of_another(directory: Path, database_dsn: str) -> None:
    spaces = {"good": [Space("good-1")], "bad": [Space("bad-1", priority=1)]}
    async with (
        open_rig(directory, database_dsn, spaces, worker={"concurrency": 1}) as rig,
        rig.running() as client,
    ):
        rig.services["bad"].trouble.close_gate("CommitUploads")
        for number in range(3):
            item = pb.IngestSpec(name=f"bad/{number}", kind=1, size_bytes=5)
            response = await client.begin(item, store="bad-1")
            uid = response.verdicts[0].open.ingest_id
            rig.services["bad"].bring(uid, HELLO)
            await client.commit((uid, HELLO))
        await rig.services["bad"].trouble.at_gate["CommitUploads"].wait()
        assert (await client.put("good/1", HELLO)).state == PUBLISHED
        rig.services["bad"].trouble.open_gate("CommitUploads")


async def test_a_bug_in_one_item_does_not_stop_its_batch(rig: Rig) -> None:
    """A row that cannot be worked on at all: its tags are no JSON."""
    async with rig.transfer(), rig.client() as client:
        uids = [await client.bring(f"n/{i}", HELLO) for i in range(4)]
        await rig.execute("UPDATE transfer.ingests SET tags_json = '{' WHERE name = 'n/2'")
        await client.commit(*((uid, HELLO) for uid in uids))
        async with rig.worker():
            ended = await client.wait(*(uid for uid in uids if uid != uids[2]))
            assert {each.state for each in ended} == {PUBLISHED}

            async def told() -> bool:
                return (await client.get(uids[2])).error.reason == "INTERNAL"

            await eventually(told)
            assert (await client.get(uids[2])).state == pb.INGEST_STATE_COMMITTING


async def test_workers_hear_the_call(rig: Rig) -> None:
    """With a poll timer of a minute, a commit is carried out at once."""
    rig.settings = rig.settings.model_copy(
        update={"worker": type(rig.settings.worker)(lease_seconds=30, poll_seconds=60)}
    )
    async with rig.running() as client:
        # The first look at the work has been taken.
        await client.put("first", HELLO)
        uid = await client.bring("n", HELLO)
        started = asyncio.get_running_loop().time()
        await client.commit((uid, HELLO))
        await client.wait(uid)
        assert asyncio.get_running_loop().time() - started < 2.0
