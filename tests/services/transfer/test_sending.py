"""Routes, the planner and the engine, against receivers that say whatever a test wants."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from support.eventually import eventually
from transfer_lab.receivers import receiving
from transfer_lab.rig import new_id
from transfer_lab.sender import Sender, open_sender

from librarian import errors
from librarian.api.common.v1 import common_pb2
from librarian.api.transfer.v1 import transfer_pb2 as pb
from svckit.statements import make_introduction, site_key


@pytest.fixture
async def sender(directory: Path, database_dsn: str) -> AsyncIterator[Sender]:
    async with open_sender(directory, database_dsn, "there", "beyond") as opened:
        yield opened


async def test_the_whole_way(sender: Sender) -> None:
    """Published, planned, offered, moved, delivered, receipted: each step is in the log."""
    there = sender.receivers["there"]
    there.has.add("obs/known")
    there.refuses["obs/taken"] = errors.NameTaken("another has it", name="obs/taken")
    there.silent.add("obs/slow")
    async with sender.worker():
        await sender.route(name_glob="obs/**")
        for name in ("obs/a", "obs/b", "obs/known", "obs/taken", "obs/slow", "other/c"):
            sender.catalog.publish(name)
        states = {"obs/a": "VERIFIED", "obs/b": "VERIFIED", "obs/known": "PRESENT", "obs/taken": "HELD"}
        found = await sender.reach({**states, "obs/slow": "DELIVERED"})
        assert "other/c" not in found
        assert (await sender.explain("obs/slow")).standing == pb.STANDING_ON_ITS_WAY
        held = await sender.explain("obs/taken")
        assert (held.standing, held.transfer.error.reason) == (pb.STANDING_HELD, "NAME_TAKEN")
        assert "another has it" in held.summary
        other = await sender.explain("other/c", "there")
        assert (other.standing, other.routes[0].reason) == (
            pb.STANDING_NO_ROUTE,
            "its name does not match obs/**",
        )
        told = await sender.explain("obs/a")
        assert told.standing == pb.STANDING_THERE
        assert common_pb2.Receipt.FromString(told.receipt.payload).site == "there"
        status = await sender.stub.GetTransferStatus(pb.GetTransferStatusRequest())
        (queue,) = status.queues
        assert (queue.active_count, queue.held_count, queue.waiting_count) == (1, 1, 0)
        assert [each.name for each in status.held] == ["obs/taken"]
        assert [link.peer for link in status.links if link.last_success_time.seconds] == ["there"]
        there.verify(sender.catalog.live["obs/slow"].uid)
        await sender.reach({"obs/slow": "VERIFIED"})
    assert await sender.log("obs/a") == ["PLANNED", "OFFERED", "ACCEPTED", "DELIVERED", "RECEIPTED"]
    assert sender.brought() == {"obs/a": 1, "obs/b": 1, "obs/slow": 1}
    uids = {sender.catalog.live[name].uid for name in ("obs/a", "obs/b", "obs/known", "obs/slow")}
    assert {uid for site, uid in sender.catalog.receipts if site == "there"} == uids
    assert await sender.fetch("SELECT done, offer FROM transfer.batches") == [{"done": True, "offer": None}]


async def test_routes_are_checked_and_backfill_reaches_the_old(sender: Sender) -> None:
    old = [sender.catalog.publish(f"old/{i}", kind="map" if i % 2 else "obs") for i in range(8)]
    for dataset in old:
        dataset.publish_time.FromSeconds(1_000_000_000)
    wrong: list[tuple[dict[str, str], type[errors.LibrarianError]]] = [
        ({"to": "nowhere"}, errors.InvalidInput),
        ({"via": "pigeon"}, errors.InvalidInput),
        ({"name_glob": "a//b"}, errors.InvalidGlob),
        ({"via": "posix"}, errors.InvalidInput),
        ({"via": "rsync", "landing": "relative"}, errors.InvalidInput),
        ({"via": "relay"}, errors.InvalidInput),
        ({"via": "relay", "through": "there"}, errors.InvalidInput),
        ({"through": "beyond"}, errors.InvalidInput),
    ]
    for fields, error in wrong:
        with pytest.raises(error):
            await sender.route(**{"to": "there", **fields})
    async with sender.worker():
        await sender.route(name_glob="old/**")
        await sender.route("beyond", name_glob="old/**", tags={"kind": "map"}, backfill=True)
        names = {f"old/{i}" for i in (1, 3, 5, 7)}
        await sender.reach(dict.fromkeys(sorted(names), "VERIFIED"))
        assert set(await sender.transfers()) == names

        async def backfilled() -> bool:
            routes = (await sender.stub.ListRoutes(pb.ListRoutesRequest())).routes
            return [(each.destination, each.backfill_state) for each in routes] == [
                ("beyond", pb.BACKFILL_STATE_DONE),
                ("there", pb.BACKFILL_STATE_UNSPECIFIED),
            ]

        await eventually(backfilled)
        there = (await sender.stub.ListRoutes(pb.ListRoutesRequest())).routes[1]
        assert (await sender.explain("old/0", "beyond")).routes[0].reason == "its tag kind is obs, not map"
        assert "older than the route" in (await sender.explain("old/0", "there")).routes[0].reason
        with pytest.raises(errors.RouteExists):
            await sender.route("beyond", name_glob="old/**", tags={"kind": "map"})
        change = pb.UpdateRouteRequest(
            request_id=new_id(), route=pb.Route(route_id=there.route_id, paused=True, priority=7)
        )
        change.update_mask.paths.extend(["paused", "priority"])
        changed = (await sender.stub.UpdateRoute(change)).route
        assert (changed.paused, changed.priority, changed.max_active) == (True, 7, 2000)
        sender.catalog.publish("old/new")
        await sender.reach({"old/new": "QUEUED"})
        assert "paused" in (await sender.explain("old/new", "there")).waits_for
        remove = pb.RemoveRouteRequest(request_id=new_id(), route_id=there.route_id)
        assert (await sender.stub.RemoveRoute(remove)).cancelled_count == 1
        assert await sender.state("old/new") == "CANCELLED"
        with pytest.raises(errors.RouteNotFound):
            await sender.stub.RemoveRoute(pb.RemoveRouteRequest(request_id=new_id(), route_id="x"))


async def test_troubles_of_some_never_delay_the_rest(sender: Sender) -> None:
    there, carrier = sender.receivers["there"], sender.carrier
    carrier.errors = {
        "n/vanished": [errors.SourceVanished("gone")],
        "n/changed": [errors.SourceChanged("another size")],
        "n/rotten": [errors.ReadFailed("the disk says no")],
        "n/stale": [errors.TicketInvalid("too old")],
        "n/outside": [errors.LandingInvalid("/etc is not what was agreed")],
        "n/unknown": [errors.InternalError("who knows")],
    }
    there.fails = {
        "n/flipped": [errors.ChecksumMismatch("other bytes")],
        "n/broken": [errors.ChecksumMismatch("other bytes") for _ in range(9)],
    }
    there.refuses = {"n/full": errors.StoreFull("no room")}
    names = [*carrier.errors, *there.fails, *there.refuses, "n/good"]
    async with sender.worker():
        await sender.route()
        for name in names:
            sender.catalog.publish(name)
        held = dict.fromkeys(("n/vanished", "n/changed", "n/rotten", "n/outside"), "HELD")
        await sender.reach({**held, "n/good": "VERIFIED", "n/stale": "VERIFIED", "n/full": "QUEUED"})
        for name in ("n/vanished", "n/changed", "n/rotten", "n/flipped"):
            uid = sender.catalog.live[name].uid
            assert (uid, "SUSPECT") in {
                (u, common_pb2.ReplicaState.Name(state).removeprefix("REPLICA_STATE_"))
                for u, _, state, _ in sender.catalog.history
            }

        async def put_off() -> bool:
            """It is tried now and then: between two looks, too."""
            full = (await sender.transfers())["n/full"]
            assert (full.error.reason, full.HasField("next_time")) == ("STORE_FULL", True)
            return (await sender.explain("n/full")).next_time == full.next_time

        await eventually(put_off)
        there.refuses.clear()
        retry = pb.RetryTransfersRequest(
            request_id=new_id(), selection=pb.TransferSelection(name_glob="n/full", destination="there")
        )
        assert (await sender.stub.RetryTransfers(retry)).changed_count == 1
        # What a re-read found to be well is tried again by itself.
        vanished = sender.catalog.live["n/vanished"]
        sender.catalog.append("REPLICA_STATE_CHANGED", vanished, "fast", state="AVAILABLE")
        passed = dict.fromkeys(("n/full", "n/vanished", "n/unknown", "n/flipped"), "VERIFIED")
        found = await sender.reach({**passed, "n/broken": "HELD"}, timeout=40)
        assert (found["n/broken"].error.reason, found["n/broken"].attempt_count) == ("CHECKSUM_MISMATCH", 3)
    assert set(there.taken.values()) == {1}


@pytest.mark.parametrize("method", ["Offer", "Deliver", "GetBatch"])
async def test_any_message_may_be_lost_and_the_receiver_forget(sender: Sender, method: str) -> None:
    """Before it comes, after it was answered; and a receiver restored from a backup in between."""
    there = sender.receivers["there"]
    there.trouble.fail(method, [errors.Unavailable("lost")])
    there.trouble.lose_answer(method, errors.Unavailable("the answer was lost"))
    there.silent.add("n/slow")
    async with sender.worker():
        await sender.route()
        for name in ("n/a", "n/b", "n/slow"):
            sender.catalog.publish(name)
        await sender.reach({"n/a": "VERIFIED", "n/b": "VERIFIED", "n/slow": "DELIVERED"})
        there.forget()
        there.silent.clear()
        await sender.reach({"n/slow": "VERIFIED"}, timeout=30)
    assert there.taken == {"n/a": 1, "n/b": 1, "n/slow": 1}
    assert set(sender.brought().values()) == {1}


async def test_a_peer_that_is_away_paused_or_lying_blocks_nobody(sender: Sender) -> None:
    there, beyond = sender.receivers["there"], sender.receivers["beyond"]
    async with sender.worker():
        await sender.tell_peers(beyond={"paused": True})
        await sender.route("there")
        await sender.route("beyond")
        sender.catalog.publish("n/a")

        async def arrived() -> bool:
            return there.taken["n/a"] == 1

        await eventually(arrived)
        assert beyond.trouble.calls.total() == 0
        (waiting,) = (await sender.transfers(destination="beyond")).values()
        assert waiting.state == pb.TRANSFER_STATE_QUEUED
        assert (await sender.explain("n/a", "beyond")).waits_for == "the peer is paused"
        # A receipt by a key that is not pinned proves nothing.
        beyond.liar = there.key
        await sender.tell_peers()

        async def refused() -> bool:
            (transfer,) = (await sender.transfers(destination="beyond")).values()
            return transfer.error.reason == "SIGNATURE_INVALID" or "KEY" in transfer.error.reason

        await eventually(refused)
        assert ("beyond", sender.catalog.live["n/a"].uid) not in sender.catalog.receipts
        # Away: one probe at a time; back: all goes on.
        beyond.liar = None
        beyond.receipts.clear()
        beyond.trouble.always["Offer"] = beyond.trouble.always["GetBatch"] = errors.Unavailable("away")
        sender.catalog.publish("n/b")

        async def broken() -> bool:
            status = await sender.stub.GetTransferStatus(pb.GetTransferStatusRequest())
            return next(link for link in status.links if link.peer == "beyond").broken

        await eventually(broken)
        await eventually(lambda: there.taken["n/b"] == 1)
        beyond.trouble.always.clear()
        await eventually(lambda: beyond.taken["n/b"] == 1)


async def test_urgent_ones_overtake_and_what_is_cancelled_is_withdrawn(
    directory: Path, database_dsn: str
) -> None:
    async with open_sender(directory, database_dsn) as sender:
        sender.carrier.gate.clear()
        there = sender.receivers["there"]
        await sender.route(max_active=1)
        async with sender.worker():
            sender.catalog.publish("n/first")
            await sender.reach({"n/first": "MOVING"})
            for name in ("n/second", "n/third", "n/urgent"):
                sender.catalog.publish(name)
            waiting = await sender.reach(dict.fromkeys(("n/second", "n/third", "n/urgent"), "QUEUED"))
            first = await sender.transfers()

            async def progress() -> bool:
                return (await sender.transfers())["n/first"].moved_bytes == 2

            await eventually(progress)
            urgent = pb.TransferSelection(transfer_ids=[waiting["n/urgent"].transfer_id, "nothing"])
            request = pb.PrioritizeTransfersRequest(request_id=new_id(), selection=urgent, priority=50)
            response = await sender.stub.PrioritizeTransfers(request)
            assert response.changed_count == 1
            assert response.verdicts[1].error.reason == "TRANSFER_NOT_FOUND"
            named = pb.TransferSelection(name_globs=["n/third", "n/sec*", "n/none"], destination="there")
            request = pb.PrioritizeTransfersRequest(request_id=new_id(), selection=named)
            assert (await sender.stub.PrioritizeTransfers(request)).changed_count == 2
            assert set(await sender.transfers(name_globs=["n/third", "n/f*"])) == {"n/third", "n/first"}
            wrong = [(["n//x"], errors.InvalidGlob), (["n/x"] * 101, errors.BatchTooLarge)]
            for globs, error in wrong:
                request = pb.PrioritizeTransfersRequest(
                    request_id=new_id(), selection=pb.TransferSelection(name_globs=globs)
                )
                with pytest.raises(error):
                    await sender.stub.PrioritizeTransfers(request)
            cancelled = pb.TransferSelection(transfer_ids=[first["n/first"].transfer_id])
            cancel = pb.CancelTransfersRequest(request_id=new_id(), selection=cancelled, reason="not that")
            assert (await sender.stub.CancelTransfers(cancel)).changed_count == 1
            await eventually(lambda: there.trouble.calls["Withdraw"] == 1)
            assert await sender.state("n/first") == "CANCELLED"
            await sender.reach({"n/urgent": "MOVING", "n/second": "QUEUED"})
            sender.carrier.gate.set()
            await sender.reach(dict.fromkeys(("n/second", "n/third", "n/urgent"), "VERIFIED"))
            retry = pb.RetryTransfersRequest(request_id=new_id(), selection=cancelled)
            assert (await sender.stub.RetryTransfers(retry)).verdicts[0].transfer.state
            await sender.reach({"n/first": "VERIFIED"})
        order = [batch.items[0].name for batch in sender.carrier.batches]
        assert order.index("n/urgent") < order.index("n/second") < order.index("n/third")


async def test_a_relay_waits_for_the_receipt_that_comes_through_another(sender: Sender) -> None:
    there, beyond = sender.receivers["there"], sender.receivers["beyond"]
    await sender.tell_peers(beyond={"address": ""})
    async with sender.worker():
        await sender.route("there")
        await sender.route("beyond", via="relay", through="there")
        dataset = sender.catalog.publish("n/a")
        await eventually(lambda: there.taken["n/a"] == 1)
        (planned,) = (await sender.transfers(destination="beyond")).values()
        assert planned.state == pb.TRANSFER_STATE_PLANNED
        assert "there carries it on" in (await sender.explain("n/a", "beyond")).summary
        stranger = type(there)("far", sender.directory / "far")
        item = there.items[dataset.uid]
        there.introductions = [
            make_introduction(site_key("far", stranger.key.public_key(), 1), there.key),
            make_introduction(site_key("beyond", stranger.key.public_key(), 1), stranger.key),
        ]
        lie = stranger.receipt(item, site="beyond")
        there.relayed = [lie, stranger.receipt(item), beyond.receipt(item)]

        async def closed() -> bool:
            (transfer,) = (await sender.transfers(destination="beyond")).values()
            return transfer.state == pb.TRANSFER_STATE_PRESENT

        await eventually(closed)
    assert {site for site, _ in sender.catalog.receipts} == {"there", "beyond", "far"}
    assert beyond.trouble.calls.total() == 0


async def test_two_workers_share_the_work_and_a_restored_log_repeats_nothing(sender: Sender) -> None:
    names = [f"n/{i:03}" for i in range(120)]
    async with sender.worker(), sender.worker():
        await sender.route(max_active=30)
        for name in names[:60]:
            sender.catalog.publish(name)
        await sender.reach(dict.fromkeys(names[:60], "VERIFIED"), timeout=30)
        sender.catalog.restore()
        for name in names[60:]:
            sender.catalog.publish(name)
        await sender.reach(dict.fromkeys(names[60:], "VERIFIED"), timeout=30)
    assert sender.brought() == dict.fromkeys(names, 1)
    count = await sender.fetch("SELECT count(*) FROM transfer.transfers")
    assert count == [{"count": len(names)}]


async def test_a_receiver_that_moves_is_found_again(sender: Sender) -> None:
    there = sender.receivers["there"]
    there.silent.add("n/a")
    async with sender.worker():
        await sender.route()
        dataset = sender.catalog.publish("n/a")
        await sender.reach({"n/a": "DELIVERED"})
        async with receiving(there):
            await sender.tell_peers()
            there.silent.clear()
            there.verify(dataset.uid)
            await sender.reach({"n/a": "VERIFIED"})
