"""A site that is sent to, in memory: what it takes, refuses, forgets and says."""

# ruff: noqa: N802 - gRPC's names
from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from librarian.api.catalog.v1 import catalog_pb2
from librarian.api.common.v1 import common_pb2
from librarian.api.federation.v1 import federation_pb2 as pb
from librarian.api.federation.v1.federation_pb2_grpc import (
    FederationServiceServicer,
    PairingServiceServicer,
    add_FederationServiceServicer_to_server,
    add_PairingServiceServicer_to_server,
)
from librarian.api.store.v1 import store_pb2
from librarian.api.transfer.v1 import transfer_pb2
from librarian.errors import BatchNotFound, LibrarianError, NothingStaged, RequestIdReused
from librarian.messages import item_error, timestamp
from svckit.keys import key_id
from svckit.statements import make_receipt
from svckit.status import code_of, trailers_of
from transfer_lab.trouble import Trouble

FINAL = {
    pb.DELIVERY_STATE_RECEIPTED,
    pb.DELIVERY_STATE_REFUSED,
    pb.DELIVERY_STATE_FAILED,
    pb.DELIVERY_STATE_EXPIRED,
}


class Receiver(FederationServiceServicer, PairingServiceServicer):
    """`landing`: where bytes come to lie, one file an upload. By name: `refuses` (at Offer), `fails` (after
    Deliver, once each), `has` (a receipt at once), `silent` (never verified). `liar` signs instead.
    """

    def __init__(self, name: str, landing: Path) -> None:
        self.name = name
        self.landing = landing
        self.landing.mkdir(exist_ok=True)
        self.key = Ed25519PrivateKey.generate()
        self.liar: Ed25519PrivateKey | None = None
        self.trouble = Trouble()
        self.refuses: dict[str, LibrarianError] = {}
        self.fails: dict[str, list[LibrarianError]] = {}
        self.has: set[str] = set()
        self.silent: set[str] = set()
        self.offers: dict[str, pb.OfferRequest] = {}
        self.batches: dict[str, dict[str, pb.Delivery]] = {}
        self.items: dict[str, pb.OfferItem] = {}
        self.receipts: dict[str, common_pb2.Signed] = {}
        self.taken: Counter[str] = Counter()
        self.relayed: list[common_pb2.Signed] = []
        self.introductions: list[common_pb2.Signed] = []
        self.address = ""
        self._changed = asyncio.Event()

    def known(self, **fields: Any) -> transfer_pb2.KnownPeer:
        public = self.key.public_key()
        key = transfer_pb2.KnownKey(key_id=key_id(public), public_key=public.public_bytes_raw())
        fields.setdefault("address", self.address)
        return transfer_pb2.KnownPeer(name=self.name, peer_id=f"id-{self.name}", keys=[key], **fields)

    def forget(self) -> None:
        """As after a restore from a backup of long ago."""
        self.offers.clear()
        self.batches.clear()
        self.receipts.clear()
        self._wake()

    def receipt(self, item: pb.OfferItem, **lies: Any) -> common_pb2.Signed:
        now_us = int(datetime.now(UTC).timestamp() * 1e6)
        fields: dict[str, Any] = {
            "site": self.name,
            "uid": item.uid,
            "name": item.name,
            "kind": item.kind,
            "digest": item.digest,
            "size_bytes": item.size_bytes,
            "member_count": item.member_count,
            "store": "theirs",
            "store_class": "online",
            "failure_domain": "box",
            "verify_time_us": now_us,
            "sign_time_us": now_us,
        }
        return make_receipt(common_pb2.Receipt(**{**fields, **lies}), self.liar or self.key)

    async def Hello(self, request: pb.HelloRequest, context: Any) -> pb.HelloResponse:
        now = timestamp(datetime.now(UTC))
        return pb.HelloResponse(site=self.name, time=now, nonce=b"n" * 16, session_seconds=600)

    async def Offer(self, request: pb.OfferRequest, context: Any) -> pb.OfferResponse:
        await self._enter("Offer", context)
        known = self.offers.setdefault(request.batch_id, request)
        if known != request:
            await _abort(context, RequestIdReused("other items in that batch"))
        batch = self.batches.setdefault(request.batch_id, {})
        response = pb.OfferResponse(landings=[self._grant()])
        for item in request.items:
            self.items[item.uid] = item
            if item.name in self.refuses:
                response.verdicts.add(error=item_error(self.refuses[item.name]))
                continue
            if item.name in self.has or item.uid in self.receipts:
                signed = self.receipts.setdefault(item.uid, self.receipt(item))
                batch[item.uid] = pb.Delivery(uid=item.uid, state=pb.DELIVERY_STATE_RECEIPTED, receipt=signed)
                response.verdicts.add(receipt=signed)
                continue
            upload_id = f"up-{item.uid}"
            batch.setdefault(
                item.uid, pb.Delivery(uid=item.uid, state=pb.DELIVERY_STATE_ACCEPTED, upload_id=upload_id)
            )
            response.verdicts.add(send=pb.SendOrder(upload_id=upload_id, landing=0))
        await self._leave("Offer", context)
        return response

    async def Deliver(self, request: pb.DeliverRequest, context: Any) -> pb.DeliverResponse:
        await self._enter("Deliver", context)
        batch = await self._batch(request.batch_id, context)
        response = pb.DeliverResponse()
        for uid in request.uids:
            delivery = batch.get(uid)
            if delivery is None:
                response.deliveries.add(uid=uid)
                continue
            if delivery.state <= pb.DELIVERY_STATE_ARRIVING:
                self._take(delivery)
            response.deliveries.append(delivery)
        await self._leave("Deliver", context)
        return response

    async def GetBatch(self, request: pb.GetBatchRequest, context: Any) -> pb.GetBatchResponse:
        await self._enter("GetBatch", context)
        deadline = asyncio.get_running_loop().time() + min(request.timeout_ms, 25_000) / 1000
        while True:
            batch = await self._batch(request.batch_id, context)
            changed = self._changed
            found = [batch[uid] for uid in (request.uids or batch) if uid in batch]
            left = deadline - asyncio.get_running_loop().time()
            if left <= 0 or any(each.state in FINAL for each in found):
                await self._leave("GetBatch", context)
                return pb.GetBatchResponse(deliveries=found)
            await asyncio.wait([asyncio.ensure_future(changed.wait())], timeout=left)

    async def Withdraw(self, request: pb.WithdrawRequest, context: Any) -> pb.WithdrawResponse:
        await self._enter("Withdraw", context)
        batch = await self._batch(request.batch_id, context)
        for uid in request.uids:
            if uid in batch and batch[uid].state <= pb.DELIVERY_STATE_ARRIVING:
                batch[uid].state = pb.DELIVERY_STATE_EXPIRED
        self._wake()
        return pb.WithdrawResponse()

    async def ListReceipts(self, request: pb.ListReceiptsRequest, context: Any) -> pb.ListReceiptsResponse:
        await self._enter("ListReceipts", context)
        after = request.after.sequence
        return pb.ListReceiptsResponse(
            receipts=self.relayed[after:],
            introductions=self.introductions,
            next=catalog_pb2.EventCursor(epoch=1, sequence=len(self.relayed)),
        )

    def verify(self, uid: str) -> None:
        """What was silent speaks."""
        for batch in self.batches.values():
            if uid in batch and batch[uid].state == pb.DELIVERY_STATE_VERIFYING:
                self._sign(batch[uid])
        self._wake()

    def _take(self, delivery: pb.Delivery) -> None:
        """Told at once, re-read a moment later."""
        delivery.state = pb.DELIVERY_STATE_VERIFYING
        asyncio.get_running_loop().call_later(0.01, self._conclude, delivery)

    def _conclude(self, delivery: pb.Delivery) -> None:
        item = self.items[delivery.uid]
        if not (self.landing / delivery.upload_id).exists():
            self._fail(delivery, NothingStaged("no bytes came"))
        elif errors := self.fails.get(item.name):
            (self.landing / delivery.upload_id).unlink()
            self._fail(delivery, errors.pop(0))
        elif item.name not in self.silent:
            self._sign(delivery)
        self._wake()

    def _fail(self, delivery: pb.Delivery, error: LibrarianError) -> None:
        delivery.state = pb.DELIVERY_STATE_FAILED
        delivery.error.CopyFrom(item_error(error))

    def _sign(self, delivery: pb.Delivery) -> None:
        signed = self.receipts[delivery.uid] = self.receipt(self.items[delivery.uid])
        self.taken[self.items[delivery.uid].name] += 1
        delivery.state = pb.DELIVERY_STATE_RECEIPTED
        delivery.receipt.CopyFrom(signed)

    def _grant(self) -> store_pb2.UploadGrant:
        return store_pb2.UploadGrant(store="theirs", staging_path=str(self.landing), ticket="t")

    def _wake(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def _batch(self, batch_id: str, context: Any) -> dict[str, pb.Delivery]:
        if batch_id not in self.batches:
            await _abort(context, BatchNotFound(f"no batch {batch_id}"))
        return self.batches[batch_id]

    async def _enter(self, method: str, context: Any) -> None:
        try:
            await self.trouble.enter(method)
        except LibrarianError as error:
            await _abort(context, error)

    async def _leave(self, method: str, context: Any) -> None:
        try:
            self.trouble.leave(method)
        except LibrarianError as error:
            await _abort(context, error)


async def _abort(context: Any, error: LibrarianError) -> None:
    details, trailers = trailers_of(error)
    await context.abort(code_of(error), details, trailers)


@asynccontextmanager
async def receiving(receiver: Receiver, address: str = "127.0.0.1:0") -> AsyncIterator[Receiver]:
    """Served inside, at `receiver.address`."""
    server = grpc.aio.server()
    add_FederationServiceServicer_to_server(receiver, server)
    add_PairingServiceServicer_to_server(receiver, server)
    port = server.add_insecure_port(address)
    receiver.address = f"grpc://127.0.0.1:{port}"
    await server.start()
    try:
        yield receiver
    finally:
        await server.stop(0)
