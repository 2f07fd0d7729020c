"""What another site brings, with the real catalog and the real store: arrival, a copy on a second store, and
a restore of yesterday's books.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
from transfer_lab.bringers import Bringer, Elsewhere, as_peer, bringing, tell_peers
from transfer_lab.rig import new_id
from transfer_lab.site import Site, open_site
from transfer_lab.store import file_content, tree_content

from librarian.api.catalog.v1 import catalog_pb2
from librarian.api.federation.v1 import federation_pb2 as pb
from librarian.api.store.v1 import store_pb2

RECEIPTED = pb.DELIVERY_STATE_RECEIPTED
FILE, BOOK = b"hello", {"a": b"1", "deep/er/b": b"22"}
HELLO, TREE = file_content(FILE), tree_content(BOOK)
# Books of the site, the store's own among them.
BOOKS = """
DO $$ DECLARE t text; BEGIN
  FOR t IN SELECT format('%I.%I', schemaname, tablename) FROM pg_tables
    WHERE schemaname IN ('catalog', 'store', 'transfer')
      AND tablename NOT IN ('alembic_version', 'stores', 'peers', 'planner')
      AND (schemaname, tablename) NOT IN (('catalog', 'log'), ('catalog', 'summary'))
  LOOP EXECUTE 'TRUNCATE ' || t || ' CASCADE'; END LOOP;
END $$
"""


def stage(
    grants: Sequence[store_pb2.UploadGrant], order: pb.SendOrder, data: bytes | dict[str, bytes]
) -> None:
    place = Path(grants[order.landing].staging_path) / order.upload_id
    if isinstance(data, bytes):
        place.write_bytes(data)
        return
    for path, content in data.items():
        (place / path).parent.mkdir(parents=True, exist_ok=True)
        (place / path).write_bytes(content)


@asynccontextmanager
async def opened(directory: Path, dsn: str) -> AsyncIterator[tuple[Site, Bringer, Elsewhere]]:
    chile = Elsewhere("chile")
    async with open_site(directory, dsn) as site, bringing(site, as_peer("chile")) as bringer:
        await tell_peers(site, chile)
        yield site, bringer, chile


async def bring(
    bringer: Bringer, wanted: Sequence[tuple[pb.OfferItem, bytes | dict[str, bytes]]], **fields: str
) -> dict[str, pb.Delivery]:
    batch, response = await bringer.offer(*[item for item, _ in wanted], **fields)
    for verdict, (_, data) in zip(response.verdicts, wanted, strict=True):
        assert verdict.HasField("send"), verdict
        await asyncio.to_thread(stage, response.landings, verdict.send, data)
    await bringer.deliver(batch, *[item.uid for item, _ in wanted])
    return await bringer.ended(batch)


async def test_arrival_a_second_copy_and_a_restore(directory: Path, database_dsn: str) -> None:
    async with opened(directory, database_dsn) as (site, bringer, chile):
        file, book = chile.item("obs/file", HELLO), chile.item("obs/book", TREE)
        ended = await bring(bringer, [(file, FILE), (book, BOOK)])
        for item in (file, book):
            assert ended[item.uid].state == RECEIPTED, ended[item.uid]
            receipt = bringer.receipt(ended[item.uid].receipt)
            assert (receipt.uid, receipt.store, receipt.failure_domain) == (
                item.uid,
                "fast",
                "this-machine",
            )
            dataset = await site.dataset(item.name)
            assert (dataset.uid, dataset.site, dataset.uploader) == (item.uid, "chile", "emma")
            assert dataset.origin == item.origin
            assert receipt.verify_time_us == dataset.replicas[0].verify_time.ToMicroseconds()
        assert (site.root / "obs/book/deep/er/b").read_bytes() == b"22"
        members = await site.channels.catalog.ListMembers(catalog_pb2.ListMembersRequest(uid=book.uid))
        assert [member.path for member in members.members] == ["a", "deep/er/b"]

        # To another store of this site, by the same calls.
        second = directory / "second"
        second.mkdir()
        await site.channels.store("disks").AddStore(
            store_pb2.AddStoreRequest(
                request_id=new_id(),
                store=store_pb2.Store(
                    name="second",
                    root=str(second),
                    store_class=store_pb2.STORE_CLASS_ARCHIVE,
                    failure_domain="that-machine",
                    enabled=True,
                    ingestible=True,
                    priority=9,
                ),
            )
        )
        async with bringing(site, None, issuer="worker") as own:
            cloned = await bring(own, [(book, BOOK), (file, FILE)], store="second")
            for item in (book, file):
                assert cloned[item.uid].state == RECEIPTED, cloned[item.uid]
                receipt = own.receipt(cloned[item.uid].receipt)
                assert (receipt.store, receipt.store_class) == ("second", "archive")
                replicas = (await site.dataset(item.name)).replicas
                assert {each.store for each in replicas} == {"fast", "second"}
        assert (second / "obs/book/a").read_bytes() == b"1"

        # The books are those of before; the bytes lie where they lay.
        connection = await asyncpg.connect(database_dsn)
        await connection.execute(BOOKS)
        await connection.close()
        again, response = await bringer.offer(file, book)
        assert [each.error.reason for each in response.verdicts] == ["UNAVAILABLE"] * 2
        ended = await bringer.ended(again)
        for item in (file, book):
            assert ended[item.uid].state == RECEIPTED, ended[item.uid]
            assert (await site.dataset(item.name)).origin == item.origin
        _, response = await bringer.offer(file, book)
        assert [each.HasField("receipt") for each in response.verdicts] == [True, True]
