"""What other sites bring: offered, delivered, published, receipted; and what is refused."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from support.eventually import eventually
from transfer_lab.bringers import Bringer, Elsewhere, as_peer, bringing, new_uid, tell_peers
from transfer_lab.catalog import VERIFY_TIME_US
from transfer_lab.rig import Rig
from transfer_lab.store import file_content, tree_content

from librarian import errors
from librarian.api.catalog.v1 import catalog_pb2
from librarian.api.common.v1 import common_pb2
from librarian.api.federation.v1 import federation_pb2 as pb
from librarian.api.transfer.v1 import transfer_pb2
from svckit.auth import Caller, Role
from svckit.statements import make_introduction, make_receipt, site_key

HELLO, OTHER, BOOK = file_content(b"hello"), file_content(b"other"), tree_content({"a": b"1", "b/c": b"2"})
RECEIPTED = pb.DELIVERY_STATE_RECEIPTED
OPERATOR = Caller("olga", Role.OPERATOR, token_id="token-olga")


@asynccontextmanager
async def site(rig: Rig, *peers: Elsewhere, worker: bool = True) -> AsyncIterator[Bringer]:
    """The lab, up and told of its peers; the first of them calls."""
    async with rig.transfer(), bringing(rig, as_peer(peers[0].name)) as bringer:
        await tell_peers(rig, *peers)
        if not worker:
            yield bringer
            return
        async with rig.worker():
            yield bringer


async def test_a_batch_is_brought_and_receipted(rig: Rig) -> None:
    chile = Elsewhere("chile")
    async with site(rig, chile) as bringer:
        file, book = chile.item("obs/1", HELLO), chile.item("obs/2", BOOK)
        batch, response = await bringer.offer(file, book)
        orders = [verdict.send for verdict in response.verdicts]
        assert [response.landings[order.landing].store for order in orders] == ["fast", "fast"]
        for order, content in zip(orders, (HELLO, BOOK), strict=True):
            assert rig.stores.uploads[order.upload_id].spec.dataset_uid in {file.uid, book.uid}
            assert order.upload_id not in {file.uid, book.uid}
            rig.stores.bring(order.upload_id, content)
        waiting = await bringer.batch(batch)
        assert [each.state for each in waiting.values()] == [pb.DELIVERY_STATE_ACCEPTED] * 2
        delivered = await bringer.deliver(batch, file.uid, book.uid, "nobody")
        assert [each.state for each in delivered] == [*[pb.DELIVERY_STATE_DELIVERED] * 2, 0]
        ended = await bringer.ended(batch)
        for item in (file, book):
            assert ended[item.uid].state == RECEIPTED
            receipt = bringer.receipt(ended[item.uid].receipt)
            assert (receipt.site, receipt.uid, receipt.name) == ("lab", item.uid, item.name)
            assert (receipt.digest, receipt.size_bytes) == (item.digest, item.size_bytes)
            assert (receipt.store, receipt.store_class) == ("fast", "online")
            assert (receipt.failure_domain, receipt.held_uid) == ("box-fast", "")
            assert receipt.verify_time_us == VERIFY_TIME_US
            columns = rig.catalog.columns[item.uid]
            assert (columns["site"], columns["uploader"]) == ("chile", "emma")
            assert columns["create_time_us"] == 1_600_000_000_000_000
            assert columns["origin"] == item.origin.SerializeToString()
            assert json.loads(columns["tags_json"]) == {"from": "chile"}
            facts = json.loads(rig.stores.uploads[ended[item.uid].upload_id].facts_json)
            assert (facts["site"], facts["uploader"]) == ("chile", "emma")
        await rig.all_settled()
        assert rig.stores.strays() == []
        # Said again, the same offer and the same deliver change nothing.
        _, again = await bringer.offer(file, book, batch_id=batch)
        assert [bringer.receipt(each.receipt).uid for each in again.verdicts] == [file.uid, book.uid]
        assert [each.state for each in await bringer.deliver(batch, file.uid)] == [RECEIPTED]
        # No client's: neither listed nor theirs to end.
        async with rig.client(Caller("emma", Role.INGESTER)) as client, rig.client(OPERATOR) as olga:
            for other in (client, olga):
                listed = await other.stub.ListIngests(transfer_pb2.ListIngestsRequest())
                assert not listed.ingests
                with pytest.raises(errors.IngestNotFound):
                    await other.get(orders[0].upload_id)


async def test_repeated_before_the_bytes_came_it_gives_the_same_uploads(rig: Rig) -> None:
    chile = Elsewhere("chile")
    async with site(rig, chile, worker=False) as bringer:
        items = [chile.item(f"obs/{i}", HELLO) for i in range(3)]
        batch, first = await bringer.offer(*items)
        _, again = await bringer.offer(*items, batch_id=batch)
        assert again.verdicts == first.verdicts
        assert len(rig.stores.uploads) == 3
        with pytest.raises(errors.RequestIdReused):
            await bringer.offer(*items[:2], batch_id=batch)
        # Another batch takes over what the first has reserved.
        other, taken = await bringer.offer(*items[1:])
        assert [each.send.upload_id for each in taken.verdicts] == [
            each.send.upload_id for each in first.verdicts[1:]
        ]
        states = {uid: each.state for uid, each in (await bringer.batch(batch)).items()}
        assert [states[item.uid] for item in items] == [
            pb.DELIVERY_STATE_ACCEPTED,
            pb.DELIVERY_STATE_EXPIRED,
            pb.DELIVERY_STATE_EXPIRED,
        ]
        # What was delivered is not given again.
        await bringer.deliver(other, items[1].uid)
        _, late = await bringer.offer(items[1], items[2])
        assert late.verdicts[0].error.reason == "UNAVAILABLE"
        assert late.verdicts[1].send.upload_id == first.verdicts[2].send.upload_id


async def test_what_is_here_is_receipted_and_what_cannot_be_is_refused(rig: Rig) -> None:
    chile = Elsewhere("chile")
    here = rig.catalog.add("obs/here", HELLO.digest.value, store="fast", uid=new_uid(), size=5)
    rig.catalog.add("obs/twin", HELLO.digest.value, store="slow", uid=new_uid(), size=5)
    rig.catalog.add("obs/taken", OTHER.digest.value, store="fast", uid=new_uid(), size=5)
    rig.catalog.add("books/old", OTHER.digest.value, store="fast", uid=new_uid(), size=5)
    sick = rig.catalog.add("obs/sick", HELLO.digest.value, uid=new_uid(), size=5)
    rig.catalog._set_replica(sick.uid, "slow", common_pb2.REPLICA_STATE_CORRUPT, "rot")
    async with site(rig, chile) as bringer:
        items = [
            chile.item("obs/here", HELLO, uid=here.uid),
            chile.item("obs/twin", HELLO),
            chile.item("obs/taken", HELLO),
            chile.item("obs/other", HELLO, uid=here.uid),
            chile.item("books/old/1", HELLO),
            chile.item("obs/sick", HELLO, uid=sick.uid),
            chile.item("obs/new", HELLO),
        ]
        items[3].uid = here.uid
        batch, response = await bringer.offer(*[item for item in items if item is not items[3]])
        verdicts = list(response.verdicts)
        assert bringer.receipt(verdicts[0].receipt).store == "fast"
        twin = bringer.receipt(verdicts[1].receipt)
        assert (twin.uid, twin.held_uid) == (items[1].uid, rig.catalog.live["obs/twin"].uid)
        assert [each.error.reason for each in verdicts[2:4]] == ["NAME_TAKEN", "NAME_IS_PREFIX"]
        # Its only copy here is bad: the bytes are wanted.
        assert verdicts[4].HasField("send")
        assert verdicts[5].HasField("send")
        other, response = await bringer.offer(items[3])
        assert response.verdicts[0].error.reason == "UID_TAKEN"
        states = {uid: each.state for uid, each in (await bringer.batch(batch)).items()}
        assert [states[items[i].uid] for i in (0, 1, 2, 4, 6)] == [
            RECEIPTED,
            RECEIPTED,
            pb.DELIVERY_STATE_REFUSED,
            pb.DELIVERY_STATE_REFUSED,
            pb.DELIVERY_STATE_ACCEPTED,
        ]
        async with rig.client(OPERATOR) as client:
            request = transfer_pb2.ListDeliveriesRequest(
                peer="chile", states=[pb.DELIVERY_STATE_REFUSED], page_size=2
            )
            first = await client.stub.ListDeliveries(request)
            request.page_token = first.next_page_token
            second = await client.stub.ListDeliveries(request)
            refused = [*first.deliveries, *second.deliveries]
            assert [each.name for each in refused] == ["obs/other", "books/old/1", "obs/taken"]
            assert refused[0].delivery.error.reason == "UID_TAKEN"
            assert (refused[0].batch_id, second.next_page_token) == (other, "")
            status = await client.stub.GetTransferStatus(transfer_pb2.GetTransferStatusRequest())
            (incoming,) = status.incoming
            assert (incoming.peer, incoming.refused_count) == ("chile", 3)
            assert (incoming.active_count, incoming.active_bytes) == (2, 10)
            assert incoming.HasField("last_receipt_time")
        # A token for some names sees no others.
        async with rig.client(Caller("olga", Role.OPERATOR, name_prefix="books/**")) as client:
            listed = await client.stub.ListDeliveries(transfer_pb2.ListDeliveriesRequest())
            assert [each.name for each in listed.deliveries] == ["books/old/1"]


async def test_a_peer_that_lies(rig: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    chile, nersc = Elsewhere("chile"), Elsewhere("nersc")
    async with site(rig, chile, nersc, worker=False) as bringer, bringing(rig, as_peer("nersc")) as other:
        good = chile.item("obs/good", HELLO)
        forged = chile.item("obs/forged", HELLO)
        forged.origin.signature = bytes(64)
        mistyped = chile.item("obs/mistyped", HELLO)
        mistyped.origin.CopyFrom(make_receipt(common_pb2.Receipt(site="chile"), chile.key))
        bad_digest = chile.item("obs/digest", HELLO)
        bad_digest.digest.value = b"short"
        items = [
            good,
            chile.item("../etc/passwd", HELLO),
            chile.item("a/../../b", HELLO),
            chile.item("/abs", HELLO),
            chile.item("obs/nul\0", HELLO),
            chile.item("obs/size", HELLO, size_bytes=6),
            chile.item("obs/name", HELLO, name="obs/else"),
            chile.item("obs/site", HELLO, site="nersc"),
            forged,
            mistyped,
            bad_digest,
            Elsewhere("mars").item("obs/mars", HELLO),
        ]
        batch, response = await bringer.offer(*items)
        assert response.verdicts[0].HasField("send")
        assert [each.error.reason for each in response.verdicts[1:]] == [
            *["INVALID_NAME"] * 4,
            "ORIGIN_INVALID",
            "ORIGIN_INVALID",
            "KEY_NOT_INTRODUCED",
            "ORIGIN_INVALID",
            "ORIGIN_INVALID",
            "INVALID_INPUT",
            "KEY_NOT_INTRODUCED",
        ]
        assert len(rig.stores.uploads) == 1
        # Another peer knows nothing of the batch, whatever it says.
        for call in (
            lambda: other.batch(batch),
            lambda: other.deliver(batch, good.uid),
            lambda: other.stub.Withdraw(pb.WithdrawRequest(batch_id=batch, uids=[good.uid])),
        ):
            with pytest.raises(errors.BatchNotFound):
                await call()
        _, own = await other.offer(nersc.item("n/1", HELLO), batch_id=batch)
        assert own.verdicts[0].HasField("send")
        assert (await bringer.batch(batch))[good.uid].state == pb.DELIVERY_STATE_ACCEPTED
        with pytest.raises(errors.BatchTooLarge):
            await bringer.offer(*[good] * 1001)
        with pytest.raises(errors.InvalidInput):
            await bringer.offer(good, good)
        with pytest.raises(errors.InvalidInput):
            await bringer.offer(chile.item("x", HELLO, uid="../x"))
        with pytest.raises(errors.InvalidInput):
            await bringer.offer(good, batch_id="../x")
        with pytest.raises(errors.Denied):
            await bringer.offer(good, store="slow")
        with pytest.raises(errors.BatchNotFound):
            await bringer.batch("no\0batch")
    told = capsys.readouterr().out
    for reason in (
        "INVALID_NAME",
        "ORIGIN_INVALID",
        "KEY_NOT_INTRODUCED",
        "BATCH_NOT_FOUND",
        "BATCH_TOO_LARGE",
    ):
        assert reason in told


async def test_a_third_site_is_introduced(rig: Rig) -> None:
    chile, nersc, mars = Elsewhere("chile"), Elsewhere("nersc"), Elsewhere("mars")
    impostor = Elsewhere("nersc")
    introduced = site_key("mars", mars.key.public_key(), 0)
    async with site(rig, chile, nersc, worker=False) as bringer:
        from_mars = mars.item("m/1", HELLO)
        _, response = await bringer.offer(from_mars, introductions=[make_introduction(introduced, nersc.key)])
        assert response.verdicts[0].error.reason == "KEY_NOT_INTRODUCED"
        _, response = await bringer.offer(from_mars, introductions=[make_introduction(introduced, chile.key)])
        assert response.verdicts[0].HasField("send")
        # Known from now on.
        _, response = await bringer.offer(mars.item("m/2", HELLO))
        assert response.verdicts[0].HasField("send")
        # Nobody introduces a key of a site that is a peer itself.
        false = make_introduction(site_key("nersc", impostor.key.public_key(), 0), chile.key)
        _, response = await bringer.offer(impostor.item("m/3", HELLO), introductions=[false])
        assert response.verdicts[0].error.reason == "KEY_NOT_INTRODUCED"
        # What a peer brings of another one counts by that one's pinned key.
        _, response = await bringer.offer(nersc.item("m/4", HELLO))
        assert response.verdicts[0].HasField("send")


async def test_after_a_restore_nothing_is_sent_twice(rig: Rig) -> None:
    """The bytes lie where they belong, and nobody's books know of them."""
    chile = Elsewhere("chile")
    lying, late, wrong = (chile.item(f"obs/{name}", BOOK) for name in ("lying", "late", "wrong"))
    rig.stores.adoptable["fast", "obs/lying"] = BOOK
    rig.stores.adoptable["fast", "obs/wrong"] = OTHER
    async with site(rig, chile) as bringer:
        batch, response = await bringer.offer(lying, late, wrong)
        assert [verdict.WhichOneof("result") for verdict in response.verdicts] == ["error", "send", "error"]
        assert response.verdicts[0].error.reason == "UNAVAILABLE"
        # This one turns out to lie there only when it is committed.
        upload = response.verdicts[1].send.upload_id
        rig.stores.bring(upload, BOOK)
        rig.stores.adoptable["fast", "obs/late"] = BOOK
        rig.stores.paths["fast", "obs/late"] = "whoever"
        await bringer.deliver(batch, late.uid)
        ended = await bringer.ended(batch)
        assert [ended[item.uid].state for item in (lying, late)] == [RECEIPTED] * 2
        assert bringer.receipt(ended[lying.uid].receipt).store == "fast"
        assert (ended[wrong.uid].state, ended[wrong.uid].error.reason) == (
            pb.DELIVERY_STATE_FAILED,
            "PATH_TAKEN",
        )
        for item in (lying, late):
            assert json.loads(rig.stores.facts[item.uid])["site"] == "chile"
            assert rig.catalog.columns[item.uid]["origin"] == item.origin.SerializeToString()
            assert len(rig.catalog.members[item.uid]) == 2
        await rig.all_settled()
        assert rig.stores.strays() == []
        assert rig.stores.spaces["fast"].reserved == 0
        _, again = await bringer.offer(lying)
        assert bringer.receipt(again.verdicts[0].receipt).uid == lying.uid


async def test_another_store_of_this_site_gains_a_copy(rig: Rig) -> None:
    home = rig.catalog.add("obs/1", HELLO.digest.value, store="fast", uid=new_uid(), size=5)
    lab = Elsewhere("lab")
    async with rig.transfer(), rig.worker(), bringing(rig, None, issuer="worker") as bringer:
        item = lab.item("obs/1", HELLO, uid=home.uid)
        batch, response = await bringer.offer(item, store="slow")
        order = response.verdicts[0].send
        assert response.landings[order.landing].store == "slow"
        rig.stores.bring(order.upload_id, HELLO)
        await bringer.deliver(batch, item.uid)
        ended = (await bringer.ended(batch))[item.uid]
        assert bringer.receipt(ended.receipt).store == "slow"
        assert rig.catalog.state_of(home.uid, "slow") == "AVAILABLE"
        await rig.all_settled()
        # Kept, although the dataset was there before.
        assert rig.stores.strays() == []
        assert rig.stores.paths["slow", "obs/1"] == order.upload_id
        _, again = await bringer.offer(item, store="slow")
        assert bringer.receipt(again.verdicts[0].receipt).store == "slow"


async def test_bad_bytes_fail_alone_and_what_is_given_up_is_cleared(rig: Rig) -> None:
    chile = Elsewhere("chile")
    async with site(rig, chile) as bringer:
        good, bad, gone = (chile.item(f"obs/{i}", HELLO) for i in range(3))
        batch, response = await bringer.offer(good, bad, gone)
        uploads = [verdict.send.upload_id for verdict in response.verdicts]
        rig.stores.bring(uploads[0], HELLO)
        rig.stores.bring(uploads[1], OTHER)
        withdrawn = await bringer.stub.Withdraw(
            pb.WithdrawRequest(batch_id=batch, uids=[gone.uid], reason="changed my mind")
        )
        assert withdrawn.deliveries[0].state == pb.DELIVERY_STATE_EXPIRED
        assert "changed my mind" in withdrawn.deliveries[0].error.message
        await bringer.deliver(batch, good.uid, bad.uid)
        ended = await bringer.ended(batch)
        assert ended[good.uid].state == RECEIPTED
        assert (ended[bad.uid].state, ended[bad.uid].error.reason) == (
            pb.DELIVERY_STATE_FAILED,
            "CHECKSUM_MISMATCH",
        )
        await rig.all_settled()
        assert rig.stores.strays() == []
        assert rig.stores.spaces["fast"].reserved == 0
        # Both may come again.
        for item in (bad, gone):
            assert (await bringer.bring(item, HELLO)).state == RECEIPTED


async def test_trouble_that_passes_is_told_and_forgotten(rig: Rig) -> None:
    chile = Elsewhere("chile")
    async with site(rig, chile, worker=False) as bringer:
        for space in rig.stores.spaces.values():
            space.capacity = 7
        small, large = chile.item("obs/small", HELLO), chile.item("obs/large", file_content(b"x" * 100))
        batch, response = await bringer.offer(small, large)
        assert response.verdicts[0].HasField("send")
        assert response.verdicts[1].error.reason == "STORE_FULL"
        assert set(await bringer.batch(batch)) == {small.uid}
        for space in rig.stores.spaces.values():
            space.capacity = 1000

        async def room() -> bool:
            _, again = await bringer.offer(small, large, batch_id=batch)
            return again.verdicts[1].HasField("send")

        await eventually(room)
        rig.catalog.trouble.always["BatchGetDatasets"] = errors.Unavailable("away")
        with pytest.raises(errors.Unavailable):
            await bringer.offer(chile.item("obs/3", HELLO))


async def test_receipts_of_sites_beyond(rig: Rig) -> None:
    chile, nersc, mars = Elsewhere("chile"), Elsewhere("nersc"), Elsewhere("mars")
    async with site(rig, chile, nersc) as bringer:
        mine, other = chile.item("obs/1", HELLO), nersc.item("obs/2", HELLO)
        await bringer.bring(mine, HELLO)
        async with bringing(rig, as_peer("nersc")) as second:
            await second.bring(other, HELLO)
        introduction = make_introduction(site_key("mars", mars.key.public_key(), 0), nersc.key)
        async with bringing(rig, as_peer("nersc")) as second:
            await second.offer(introductions=[introduction])
        for holder, uid in ((nersc, mine.uid), (mars, other.uid), (mars, mine.uid), (chile, mine.uid)):
            receipt = make_receipt(common_pb2.Receipt(site=holder.name, uid=uid), holder.key)
            rig.catalog.receipts.append(catalog_pb2.ReceiptRecord(receipt=receipt, via_site=holder.name))
        response = await bringer.stub.ListReceipts(pb.ListReceiptsRequest())
        told = [common_pb2.Receipt.FromString(each.payload) for each in response.receipts]
        assert [(each.site, each.uid) for each in told] == [("nersc", mine.uid), ("mars", mine.uid)]
        keys = [common_pb2.SiteKey.FromString(each.payload) for each in response.introductions]
        assert sorted(key.site for key in keys) == ["mars", "nersc"]
        again = await bringer.stub.ListReceipts(pb.ListReceiptsRequest(after=response.next))
        assert (list(again.receipts), again.next) == ([], response.next)


async def test_an_older_list_of_peers_is_ignored(rig: Rig) -> None:
    chile, nersc = Elsewhere("chile"), Elsewhere("nersc")
    async with site(rig, chile, worker=False) as bringer:
        await tell_peers(rig, chile, nersc, revision=5)
        await tell_peers(rig, nersc, revision=4)
        _, response = await bringer.offer(chile.item("obs/1", HELLO))
        assert response.verdicts[0].HasField("send")
        await tell_peers(rig, nersc, revision=6)
        _, response = await bringer.offer(chile.item("obs/2", HELLO))
        assert response.verdicts[0].error.reason == "KEY_NOT_INTRODUCED"
