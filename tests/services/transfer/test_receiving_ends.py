"""How deliveries end when nobody goes on with them, how waits end, and two that bring the same."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from support.eventually import eventually
from transfer_lab.bringers import Elsewhere, as_peer, bringing, new_uid, tell_peers
from transfer_lab.rig import Rig, open_rig
from transfer_lab.store import Space, file_content

from librarian import errors
from librarian.api.common.v1 import common_pb2
from librarian.api.federation.v1 import federation_pb2 as pb
from librarian.api.transfer.v1 import transfer_pb2
from svckit.auth import Caller, Role

HELLO, LONG = file_content(b"hello"), file_content(b"long" * 100)
RECEIPTED, EXPIRED = pb.DELIVERY_STATE_RECEIPTED, pb.DELIVERY_STATE_EXPIRED
OPERATOR = Caller("olga", Role.OPERATOR, token_id="token-olga")


@pytest.fixture
async def hasty(directory: Path, database_dsn: str) -> AsyncIterator[Rig]:
    """Deliveries live for one second."""
    spaces = {"disks": [Space("fast")]}
    async with open_rig(
        directory,
        database_dsn,
        spaces,
        transfer={"ingest_lifetime_seconds": 1},
        worker={"lease_seconds": 0.5, "poll_seconds": 0.2},
    ) as opened:
        yield opened


async def test_without_news_it_expires_and_with_bytes_it_does_not(hasty: Rig) -> None:
    chile = Elsewhere("chile")
    async with hasty.transfer(), hasty.worker(), bringing(hasty, as_peer("chile")) as bringer:
        await tell_peers(hasty, chile)
        silent, active = chile.item("obs/1", HELLO), chile.item("obs/2", HELLO)
        batch, response = await bringer.offer(silent, active)
        uploads = [verdict.send.upload_id for verdict in response.verdicts]
        hasty.stores.uploads[uploads[1]].active = True
        ended = await bringer.ended(batch, silent.uid)
        assert (ended[silent.uid].state, ended[silent.uid].error.reason) == (EXPIRED, "WITHDRAWN")

        async def arriving() -> bool:
            return (await bringer.batch(batch))[active.uid].state == pb.DELIVERY_STATE_ARRIVING

        await eventually(arriving)
        hasty.stores.bring(uploads[1], HELLO)
        await bringer.deliver(batch, active.uid, silent.uid)
        ended = await bringer.ended(batch)
        assert {each.state for each in ended.values()} == {RECEIPTED, EXPIRED}
        # The same batch stays as it ended; another one brings it.
        _, again = await bringer.offer(silent, active, batch_id=batch)
        assert again.verdicts[0].error.reason == "WITHDRAWN"
        assert (await bringer.bring(silent, HELLO)).state == RECEIPTED
        await hasty.all_settled()
        assert hasty.stores.strays() == []


async def test_a_wait_ends_with_the_first_receipt(rig: Rig) -> None:
    chile = Elsewhere("chile")
    async with rig.transfer(), rig.worker(), bringing(rig, as_peer("chile")) as bringer:
        await tell_peers(rig, chile)
        quick, slow = chile.item("obs/quick", HELLO), chile.item("obs/slow", LONG)
        batch, response = await bringer.offer(quick, slow)
        for verdict, content in zip(response.verdicts, (HELLO, LONG), strict=True):
            rig.stores.bring(verdict.send.upload_id, content)
        upload = response.verdicts[1].send.upload_id
        rig.stores.slow[upload] = 100
        started = time.monotonic()
        waiting = asyncio.create_task(bringer.batch(batch, timeout_ms=25_000))
        await bringer.deliver(batch, quick.uid, slow.uid)
        found = await waiting
        assert time.monotonic() - started < 4.5
        assert found[quick.uid].state == RECEIPTED

        async def verifying() -> bool:
            each = (await bringer.batch(batch, slow.uid))[slow.uid]
            return (each.state, each.verified_bytes) == (pb.DELIVERY_STATE_VERIFYING, 100)

        await eventually(verifying)
        async with rig.client(OPERATOR) as client:
            # Still there while it is verified: told again, nothing changes.
            assert [each.state for each in await bringer.deliver(batch, slow.uid)] == [
                pb.DELIVERY_STATE_VERIFYING
            ]
            listed = await client.stub.ListDeliveries(
                transfer_pb2.ListDeliveriesRequest(states=[pb.DELIVERY_STATE_VERIFYING])
            )
            assert [(each.name, each.store) for each in listed.deliveries] == [("obs/slow", "fast")]
        # It is too late to give it up.
        kept = await bringer.stub.Withdraw(pb.WithdrawRequest(batch_id=batch, uids=[slow.uid]))
        assert kept.deliveries[0].state == pb.DELIVERY_STATE_VERIFYING
        rig.stores.slow.pop(upload)
        assert (await bringer.ended(batch, slow.uid))[slow.uid].state == RECEIPTED


async def test_two_peers_bring_the_same_dataset_at_once(rig: Rig) -> None:
    """To one store the second is told to wait: one copy, two receipts. To another, there are two copies."""
    chile, nersc = Elsewhere("chile"), Elsewhere("nersc")
    item, apart = chile.item("obs/1", HELLO), chile.item("obs/2", HELLO)
    async with (
        rig.transfer(),
        bringing(rig, as_peer("chile")) as first,
        bringing(rig, as_peer("nersc")) as second,
    ):
        await tell_peers(rig, chile, nersc)
        batch, response = await first.offer(item, apart)
        uploads = [verdict.send.upload_id for verdict in response.verdicts]
        other, response = await second.offer(item)
        assert response.verdicts[0].error.reason == "UNAVAILABLE"
        assert await second.batch(other) == {}
        rig.stores.spaces["fast"].ingestible = False

        async def elsewhere() -> str:
            _, response = await second.offer(apart, batch_id=other_batch)
            return response.verdicts[0].send.upload_id

        other_batch = new_uid()
        uploads.append(await eventually(elsewhere))
        assert rig.stores.uploads[uploads[-1]].store == "slow"
        for upload in uploads:
            rig.stores.bring(upload, HELLO)
        await first.deliver(batch, item.uid, apart.uid)
        await second.deliver(other_batch, apart.uid)
        async with rig.worker():
            for bringer, number in ((first, batch), (second, other_batch)):
                for ended in (await bringer.ended(number)).values():
                    assert bringer.receipt(ended.receipt).held_uid == ""
            _, response = await second.offer(item, batch_id=other)
            assert second.receipt(response.verdicts[0].receipt).uid == item.uid
            await rig.all_settled()
    assert rig.stores.strays() == []
    assert rig.catalog.state_of(apart.uid, "fast") == rig.catalog.state_of(apart.uid, "slow") == "AVAILABLE"


async def test_an_upload_that_nobody_knows_any_more_stands_in_nobodys_way(rig: Rig) -> None:
    """The books of transfers are of yesterday, those of the store are not."""
    chile = Elsewhere("chile")
    async with rig.transfer(), bringing(rig, as_peer("chile")) as bringer:
        await tell_peers(rig, chile)
        item = chile.item("obs/1", HELLO)
        batch, _ = await bringer.offer(item)
        for table in ("deliveries", "offers", "ingests"):
            await rig.execute(f"DELETE FROM transfer.{table}")
        with pytest.raises(errors.BatchNotFound):
            await bringer.batch(batch)
        _, response = await bringer.offer(item, batch_id=batch)
        assert response.verdicts[0].error.reason == "UNAVAILABLE"
        _, response = await bringer.offer(item, batch_id=batch)
        assert response.verdicts[0].HasField("send")
        assert len(rig.stores.strays()) == 1


async def test_a_name_taken_meanwhile_by_the_same_bytes_is_receipted_as_held(rig: Rig) -> None:
    chile = Elsewhere("chile")
    async with rig.transfer(), bringing(rig, as_peer("chile")) as bringer:
        await tell_peers(rig, chile)
        same, other = chile.item("obs/same", HELLO), chile.item("obs/other", HELLO)
        batch, response = await bringer.offer(same, other)
        for verdict in response.verdicts:
            rig.stores.bring(verdict.send.upload_id, HELLO)
        theirs = rig.catalog.add("obs/same", HELLO.digest.value, store="slow", uid=new_uid(), size=5)
        rig.catalog.add("obs/other", LONG.digest.value, store="slow", uid=new_uid(), size=400)
        await bringer.deliver(batch, same.uid, other.uid)
        async with rig.worker():
            ended = await bringer.ended(batch)
            receipt = bringer.receipt(ended[same.uid].receipt)
            assert (receipt.uid, receipt.held_uid, receipt.store) == (same.uid, theirs.uid, "slow")
            assert ended[other.uid].error.reason == "NAME_TAKEN"
            await rig.all_settled()
    assert rig.stores.strays() == []


async def test_a_copy_known_to_be_bad_is_read_before_it_is_receipted(rig: Rig) -> None:
    """It lies where it belongs, and looks as it did when it was written."""
    chile = Elsewhere("chile")
    good, bad = chile.item("obs/good", HELLO), chile.item("obs/bad", HELLO)
    for item in (good, bad):
        rig.catalog.add(item.name, HELLO.digest.value, uid=item.uid, size=5)
        rig.catalog._set_replica(item.uid, "fast", common_pb2.REPLICA_STATE_SUSPECT, "doubt")
        rig.stores.adoptable["fast", item.name] = HELLO
        rig.stores.adopted[item.name] = (item.uid, HELLO)
    rig.stores.rotten[bad.uid] = [common_pb2.REPLICA_STATE_CORRUPT]
    async with rig.transfer(), rig.worker(), bringing(rig, as_peer("chile")) as bringer:
        await tell_peers(rig, chile)
        batch, response = await bringer.offer(good, bad)
        assert [each.error.reason for each in response.verdicts] == ["UNAVAILABLE"] * 2
        ended = await bringer.ended(batch)
        assert ended[good.uid].state == RECEIPTED
        assert ended[bad.uid].error.reason == "PATH_TAKEN"
        assert rig.catalog.state_of(bad.uid, "fast") == "SUSPECT"
        await rig.all_settled()


async def test_no_receipt_while_the_catalogue_is_silent(rig: Rig) -> None:
    chile = Elsewhere("chile")
    async with rig.transfer(), bringing(rig, as_peer("chile")) as bringer:
        await tell_peers(rig, chile)
        item = chile.item("obs/1", HELLO)
        batch, response = await bringer.offer(item)
        rig.stores.bring(response.verdicts[0].send.upload_id, HELLO)
        await bringer.deliver(batch, item.uid)
        rig.catalog.trouble.fail("BatchGetDatasets", [errors.Unavailable("away")] * 3)
        async with rig.worker():
            ended = (await bringer.ended(batch))[item.uid]
            assert bringer.receipt(ended.receipt).uid == item.uid
            await rig.all_settled()
    assert rig.catalog.trouble.calls["BatchGetDatasets"] >= 4


async def test_what_came_by_another_way_is_not_asked_for_again(rig: Rig) -> None:
    chile = Elsewhere("chile")
    async with rig.transfer(), rig.worker(), bringing(rig, as_peer("chile")) as bringer:
        await tell_peers(rig, chile)
        item = chile.item("obs/1", HELLO)
        batch, _ = await bringer.offer(item)
        rig.catalog.add("obs/1", HELLO.digest.value, store="slow", uid=item.uid, size=5)
        _, again = await bringer.offer(item, batch_id=batch)
        assert bringer.receipt(again.verdicts[0].receipt).store == "slow"
        assert (await bringer.batch(batch))[item.uid].state == RECEIPTED
        await rig.all_settled()
        assert rig.stores.strays() == []


async def test_one_uid_for_two_contents_shares_no_upload(rig: Rig) -> None:
    chile = Elsewhere("chile")
    async with rig.transfer(), bringing(rig, as_peer("chile")) as bringer:
        await tell_peers(rig, chile)
        item = chile.item("obs/1", HELLO)
        batch, _ = await bringer.offer(item)
        _, response = await bringer.offer(chile.item("obs/1", LONG, uid=item.uid))
        assert response.verdicts[0].error.reason == "UNAVAILABLE"
        assert (await bringer.batch(batch))[item.uid].state == pb.DELIVERY_STATE_ACCEPTED
