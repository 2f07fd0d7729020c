"""Two gateways that come to know one another, and what each lets the other do."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from support.eventually import eventually
from support.gateway_pair import FEDERATION, PairedSite, pair, paired_site
from support.gateway_site import CATALOG, STORE, Context

from gateway.invitations import code_of, read_code
from gateway.joining import Joining
from librarian.api.federation.v1.federation_pb2 import (
    CheckInRequest,
    GetBatchRequest,
    GetBatchResponse,
    HelloRequest,
    SiteAddress,
)
from librarian.api.federation.v1.federation_pb2_grpc import PairingServiceStub
from librarian.api.gateway.v1 import gateway_pb2 as pb
from librarian.api.store.v1.store_pb2 import GetUploadRequest, GetUploadResponse, ListStoresResponse, Store
from librarian.errors import (
    InviteInvalid,
    LibrarianError,
    PeerExists,
    PeerKeyUnknown,
    PeerPaused,
    PeerSessionEnded,
    PeerTokenInvalid,
    PeerUnknown,
    Unavailable,
    WrongSite,
)
from librarian.rpc import error_from_rpc
from svckit.clock import Clock, SystemIds
from svckit.database import Database
from svckit.keys import ensure_private_key, key_id
from svckit.peerlink import PeerAddress, PeerLink, PeerLinks
from svckit.peertokens import mint_peer_token
from svckit.sitekeys import OVERLAP, SiteKeys, rotate

DAY = timedelta(days=1)


@pytest.fixture
async def far(database_dsn: str) -> AsyncIterator[PairedSite]:
    """The receiver."""
    async with paired_site(database_dsn, "nersc") as site:
        yield site


@pytest.fixture
async def near(database_dsn: str) -> AsyncIterator[PairedSite]:
    """The sender."""
    async with paired_site(database_dsn, "act") as site:
        yield site


async def get_batch(_request: bytes, _context: Context) -> bytes:
    return GetBatchResponse().SerializeToString()


async def refusal(call: Any) -> LibrarianError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return error_from_rpc(caught.value)


async def redeem(keys: SiteKeys, clock: Clock, code: str) -> None:
    """Joins by `code` as a site with these keys does, and keeps nothing."""
    joining = Joining(None, clock, SystemIds(), keys=keys, own=SiteAddress())  # type: ignore[arg-type] # not asked
    invitation = read_code(code, own_site=keys.site)
    await joining._redeem(invitation, PeerAddress(invitation.site, invitation.address))


async def test_after_one_code_both_know_one_another_and_the_sender_may_call(
    near: PairedSite, far: PairedSite
) -> None:
    code = await far.invite("act")
    joined = await near.join(code)
    assert (joined.name, joined.address) == ("nersc", f"grpc://{far.address}")
    assert joined.link_state == pb.LINK_STATE_UP
    assert [key.key_id for key in joined.keys] == [key_id(far.keys().key.public_key())]

    seen = await far.until_link("act", pb.LINK_STATE_UP)
    assert [key.key_id for key in seen.keys] == [key_id(near.keys().key.public_key())]
    assert seen.HasField("last_heard_time")
    assert seen.HasField("last_reached_time")
    assert abs(seen.clock_offset_ms) < 1000

    far.on_federation("GetBatch", get_batch)
    far.site.stores["fast"].on[STORE + "ListStores"] = one_store
    far.site.stores["fast"].on[STORE + "GetUpload"] = get_upload
    async with near.link_to(far) as link:
        await link.federation.GetBatch(GetBatchRequest(batch_id="b"))
        ticket = (("librarian-store", "main"), ("librarian-ticket", "t"))
        await link.store.GetUpload(GetUploadRequest(upload_id="u"), metadata=ticket)
        with pytest.raises(LibrarianError, match="has role peer"):
            await link.store.ListStores(GetUploadRequest())
    caller = next(seen.caller for seen in far.site.transfer.seen if seen.method.endswith("GetBatch"))
    assert (caller.subject, caller.role, caller.token_id) == ("act", "peer", seen.peer_id)
    ours = next(seen for seen in far.site.stores["fast"].seen if seen.method.endswith("GetUpload"))
    assert (ours.caller.subject, ours.metadata["librarian-ticket"]) == ("act", "t")

    for site, other in ((near, "nersc"), (far, "act")):
        told = await eventually(lambda site=site: site.told and site.told[-1].peers and site.told[-1])
        assert [peer.name for peer in told.peers] == [other]
        assert told.revision > 0


async def one_store(_request: bytes, _context: Context) -> bytes:
    return ListStoresResponse(stores=[Store(name="main")]).SerializeToString()


async def get_upload(_request: bytes, _context: Context) -> bytes:
    return GetUploadResponse().SerializeToString()


async def test_a_code_is_of_use_to_one_site_once_and_in_its_time(
    near: PairedSite, far: PairedSite, tmp_path: Path
) -> None:
    code = await far.invite("act", lifetime_seconds=3600)
    elsewhere = await far.invite("princeton")
    assert (await refusal(near.join(elsewhere))).reason == "INVITE_INVALID"
    assert (await refusal(near.join(code[:-4] + "AAAA"))).reason == "INVITE_INVALID"
    assert (await refusal(far.join(code))).reason == "INVITE_INVALID"
    guessed = read_code(code, own_site="act")
    guessed.secret = bytes(32)
    assert "no such invitation" in (await refusal(near.join(code_of(guessed)))).message
    plain = read_code(code, own_site="act")
    plain.address, plain.insecure = "grpc://nersc.example.org:7700", True
    assert "unencrypted" in (await refusal(near.join(code_of(plain)))).message

    request = pb.InvitePeerRequest(request_id=str(uuid.uuid4()), name="act", lifetime_seconds=60)
    late = (await far.do(request)).code
    assert (await far.do(request)).code == late, "the same request, the same code"
    far.clock.shift = timedelta(seconds=120)
    assert "expired" in (await refusal(near.join(late))).message

    await near.join(code)
    assert (await near.join(code)).name == "nersc", "the same site with the same key again"
    far.clock.shift = DAY
    assert (await near.join(code)).name == "nersc", "whose first answer may have been lost"
    # Another key, under the name that was invited.
    impostor = SiteKeys("act", ensure_private_key(tmp_path / "site.key"))
    with pytest.raises(InviteInvalid, match="another key"):
        await redeem(impostor, near.clock, code)
    assert len(await far.all_peers()) == 1


async def test_a_site_that_nobody_can_reach_joins_and_is_heard(database_dsn: str, far: PairedSite) -> None:
    async with paired_site(database_dsn, "act", reachable=False) as near:
        assert "public_address" in (await refusal(near.invite("nersc"))).remedy
        await pair(near, far)
        peer = await far.until_link("act", pb.LINK_STATE_INBOUND)
        assert peer.address == ""
        first = peer.last_heard_time.ToDatetime()

        async def heard_again() -> bool:
            return (await far.peer("act")).last_heard_time.ToDatetime() > first

        await eventually(heard_again)
        await near.until_link("nersc", pb.LINK_STATE_UP)


@pytest.mark.parametrize("skew", [DAY, -DAY])
async def test_clocks_a_day_apart_do_not_matter(near: PairedSite, far: PairedSite, skew: timedelta) -> None:
    near.clock.shift = skew
    far.on_federation("GetBatch", get_batch)
    await pair(near, far)
    async with near.link_to(far) as link:
        await link.federation.GetBatch(GetBatchRequest(batch_id="b"))
        # The other side's clock is put right in the middle of a session.
        far.clock.shift = skew
        await link.federation.GetBatch(GetBatchRequest(batch_id="b"))
        far.clock.shift = timedelta(0)
        await link.federation.GetBatch(GetBatchRequest(batch_id="b"))
    wanted = skew // timedelta(milliseconds=1)

    async def told() -> bool:
        ahead, behind = await far.peer("act"), await near.peer("nersc")
        return max(abs(ahead.clock_offset_ms - wanted), abs(behind.clock_offset_ms + wanted)) < 5000

    await eventually(told, what="each side knows how far the other's clock is off")


async def test_tokens_for_others_of_others_and_of_the_past_open_nothing(
    near: PairedSite, far: PairedSite, tmp_path: Path
) -> None:
    await pair(near, far)
    far.on_federation("GetBatch", get_batch)
    channel = far.site.channel
    key = near.keys().key
    hello = await PairingServiceStub(channel).Hello(HelloRequest(site="act"))
    good = {"issuer": "act", "audience": "nersc", "nonce": hello.nonce, "now": far.clock.now()}

    path = FEDERATION + "GetBatch"

    async def tried(signer: Any = key, **changed: Any) -> LibrarianError:
        token = mint_peer_token(signer, **{**good, **changed})
        return await refusal(far.site.unary(path, secret=token))

    token = mint_peer_token(key, **good)
    await far.site.unary(path, secret=token)
    assert isinstance(await tried(audience="princeton"), PeerTokenInvalid)
    assert isinstance(await tried(issuer="princeton"), PeerUnknown)
    assert isinstance(await tried(ensure_private_key(tmp_path / "x.key")), PeerKeyUnknown)
    assert isinstance(await tried(nonce=bytes(40)), PeerSessionEnded)
    assert isinstance(await tried(nonce=b""), PeerSessionEnded)
    assert isinstance(await tried(now=far.clock.now() - DAY), PeerSessionEnded)
    assert isinstance(await tried(lifetime=timedelta(hours=1)), PeerTokenInvalid)
    forged = token.rsplit(".", 1)[0] + "." + "A" * 86
    assert isinstance(await refusal(far.site.unary(path, secret=forged)), PeerTokenInvalid)
    # A peer is no client.
    assert (await refusal(far.site.unary(CATALOG + "ListDatasets", secret=token))).reason == "ROLE_MAY_NOT"

    far.clock.shift = timedelta(hours=2)
    assert isinstance(await refusal(far.site.unary(path, secret=token)), PeerSessionEnded)
    replayed = await tried(now=far.clock.now())
    assert isinstance(replayed, PeerSessionEnded), "a fresh token for a session that is over"


async def test_a_pause_ends_what_is_open_within_a_second_and_a_resumption_begins_anew(
    near: PairedSite, far: PairedSite
) -> None:
    await pair(near, far)
    arrived = asyncio.Event()

    async def hang(_request: bytes, _context: Context) -> bytes:
        arrived.set()
        await asyncio.Event().wait()
        return b""

    async def swallow(chunks: AsyncIterator[bytes], _context: Context) -> bytes:
        written.append(await anext(chunks))
        await asyncio.Event().wait()
        return b""

    written: list[bytes] = []
    far.site.stores["fast"].on[STORE + "ListStores"] = one_store
    far.site.stores["fast"].on[STORE + "WriteUpload"] = swallow
    far.on_federation("GetBatch", hang)
    before = await far.peer("act")
    async with near.link_to(far) as link:
        waiting = asyncio.ensure_future(link.federation.GetBatch(GetBatchRequest(batch_id="b")))
        await arrived.wait()
        stream = await link.write_upload((("librarian-store", "main"), ("librarian-ticket", "t")))
        await stream.write(b"chunk")
        await eventually(lambda: written == [b"chunk"])
        began = time.monotonic()
        paused = await far.update("act", paused=True)
        with pytest.raises(PeerPaused):
            await waiting
        with pytest.raises(grpc.aio.AioRpcError) as cut:
            await stream
        assert isinstance(link.error(cut.value), PeerPaused)
        assert time.monotonic() - began < 1.0
        assert paused.link_state == pb.LINK_STATE_PAUSED
        await eventually(lambda: far.revoked == [before.peer_id], timeout=1.0)
        with pytest.raises(PeerPaused):
            await link.federation.GetBatch(GetBatchRequest(batch_id="b"))
        told = await eventually(lambda: far.told[-1].peers[0].paused and far.told[-1])
        await near.until_link("nersc", pb.LINK_STATE_DOWN)
        assert "paused" in (await near.peer("nersc")).link_reason

        far.on_federation("GetBatch", get_batch)
        resumed = await far.update("act", paused=False)
        assert resumed.peer_id != before.peer_id, "tickets of the former id were ended for good"
        await link.federation.GetBatch(GetBatchRequest(batch_id="b"))
        await eventually(lambda: far.told[-1].revision > told.revision)
        await near.until_link("nersc", pb.LINK_STATE_UP)


async def test_what_another_gateway_of_the_site_pauses_ends_here_too(
    near: PairedSite, far: PairedSite, database_dsn: str
) -> None:
    await pair(near, far)
    arrived = asyncio.Event()

    async def hang(_request: bytes, _context: Context) -> bytes:
        arrived.set()
        await asyncio.Event().wait()
        return b""

    far.on_federation("GetBatch", hang)
    async with (
        near.link_to(far) as link,
        Database.open(database_dsn, schema="gateway_nersc", application_name="test") as database,
        database.hot() as connection,
    ):
        for change, error in (
            ("paused = true", PeerPaused),
            ("paused = false, remove_time = now()", PeerUnknown),
        ):
            arrived.clear()
            waiting = asyncio.ensure_future(link.federation.GetBatch(GetBatchRequest(batch_id="b")))
            await arrived.wait()
            began = time.monotonic()
            # Nobody is notified: the gateway looks by itself.
            await connection.execute(f"UPDATE peers SET {change}")
            with pytest.raises(error):
                await waiting
            assert time.monotonic() - began < 1.0
            await connection.execute("UPDATE peers SET paused = false")
            if error is PeerPaused:
                await eventually(lambda: _answered(link))


async def _answered(link: PeerLink) -> bool:
    """Whether the peer may call again: what was remembered of it is a moment old at most."""
    try:
        await link.pairing.CheckIn(CheckInRequest())
    except PeerPaused:
        return False
    return True


async def test_a_removed_peer_is_a_stranger_and_stays_in_the_books(near: PairedSite, far: PairedSite) -> None:
    await pair(near, far)
    before = await far.peer("act")
    async with near.link_to(far) as link:
        await far.do(pb.RemovePeerRequest(name="act"))
        with pytest.raises(PeerUnknown):
            await link.federation.GetBatch(GetBatchRequest(batch_id="b"))
    assert (await refusal(far.do(pb.RemovePeerRequest(name="act")))).reason == "PEER_NOT_FOUND"
    assert await far.all_peers() == []
    (kept,) = await far.all_peers(with_removed=True)
    assert (kept.link_state, kept.keys) == (pb.LINK_STATE_REMOVED, before.keys)
    await eventually(lambda: far.revoked == [before.peer_id])
    await eventually(lambda: far.told[-1].peers[0].removed)

    # It lost its key, and comes back with another one; what the former signed stays signed.
    ours = near.site.folder / "keys" / "site.key"
    former = key_id(near.keys().key.public_key())
    ours.unlink()
    ensure_private_key(ours)
    keys = near.keys()
    await redeem(keys, near.clock, await far.invite("act"))
    told = await eventually(lambda: not far.told[-1].peers[0].removed and far.told[-1])
    assert {key.key_id for key in told.peers[0].keys} == {former, key_id(keys.key.public_key())}
    assert len(await far.all_peers(with_removed=True)) == 2


async def test_a_peer_with_another_key_is_not_replaced(near: PairedSite, far: PairedSite) -> None:
    await pair(near, far)
    code = await far.invite("act")
    ours = near.site.folder / "keys" / "site.key"
    ours.unlink()
    ensure_private_key(ours)
    with pytest.raises(PeerExists):
        await redeem(near.keys(), near.clock, code)


async def test_a_key_is_rotated_under_way(near: PairedSite, far: PairedSite, database_dsn: str) -> None:
    far.on_federation("GetBatch", get_batch)
    async with paired_site(database_dsn, "lat") as sender:
        await pair(sender, far)
        former = key_id(sender.keys().key.public_key())
        folder = sender.site.folder
        kept = {path.name: path.read_bytes() for path in (folder / "keys").iterdir()}
        await far.until_link("lat", pb.LINK_STATE_UP)
    # The gateway is down while the key is rotated; another one of its site starts with the new one.
    async with paired_site(database_dsn, "lat", check_in_seconds=3600) as again:
        for name, content in kept.items():
            (again.site.folder / "keys" / name).write_bytes(content)
        fresh = rotate(again.site.folder / "keys" / "site.key", now=again.clock.now())
        async with again.link_to(far) as link:
            # Before anybody told of the new key: the former one opens the session.
            await link.federation.GetBatch(GetBatchRequest(batch_id="b"))
            keys = again.keys()
            await link.pairing.CheckIn(CheckInRequest(keys=[keys.statement(again.clock.now())]))
            peer = await far.peer("lat")
            assert [key.key_id for key in peer.keys] == [former, fresh]
            left = peer.keys[0].expire_time.ToDatetime() - peer.keys[1].pin_time.ToDatetime()
            assert left == OVERLAP
            assert not peer.keys[1].HasField("expire_time")
        async with PeerLinks(site="lat", key=keys.former or keys.key, clock=again.clock) as links:
            link = links.to(PeerAddress("nersc", f"grpc://{far.address}"))
            await link.federation.GetBatch(GetBatchRequest(batch_id="b"))
            far.clock.shift = OVERLAP + timedelta(minutes=1)
            with pytest.raises(PeerKeyUnknown, match="replaced"):
                await link.federation.GetBatch(GetBatchRequest(batch_id="b"))
        async with again.link_to(far) as link:
            await link.federation.GetBatch(GetBatchRequest(batch_id="b"))
        told = await eventually(lambda: len(far.told[-1].peers[0].keys) == 2 and far.told[-1])
        assert {key.key_id for key in told.peers[0].keys} == {former, fresh}


async def test_a_link_says_who_is_not_there(near: PairedSite, far: PairedSite) -> None:
    await pair(near, far)
    await near.update("nersc", address=f"grpc://{near.address}")

    async def told() -> bool:
        return "not nersc" in (await near.peer("nersc")).link_reason

    await eventually(told)
    error = await refusal(near.update("nersc", address="grpc://far.example.org:1"))
    assert error.code.name == "INVALID_ARGUMENT"
    async with PeerLinks(site="act", key=near.keys().key) as links:
        with pytest.raises(WrongSite):
            await links.to(PeerAddress("nersc", f"grpc://{near.address}")).live_session()
        with pytest.raises(Unavailable, match="nersc does not answer"):
            await links.to(PeerAddress("nersc", "grpc://127.0.0.1:1")).live_session()


async def test_those_who_call_at_once_share_one_hello(near: PairedSite, far: PairedSite) -> None:
    await pair(near, far)
    far.on_federation("GetBatch", get_batch)
    async with near.link_to(far) as link:
        sessions = await asyncio.gather(*(link.live_session() for _ in range(20)))
        assert len({id(session) for session in sessions}) == 1
        batches = [link.federation.GetBatch(GetBatchRequest(batch_id="b")) for _ in range(20)]
        await asyncio.gather(*batches)
        assert link.session is sessions[0]
        # Ended there: twenty calls that learn of it open one more session between them, or a few.
        far.clock.shift = timedelta(hours=2)
        batches = [link.federation.GetBatch(GetBatchRequest(batch_id="b")) for _ in range(20)]
        await asyncio.gather(*batches)
        assert link.session is not sessions[0]
