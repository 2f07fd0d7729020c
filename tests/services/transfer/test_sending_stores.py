"""A route to a store of this very site, with the real catalog, store, mover and receiving side."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path

from support.eventually import eventually
from transfer_lab.rig import new_id
from transfer_lab.site import open_site
from transfer_lab.store import file_content, tree_content

from librarian.api.store.v1 import store_pb2
from librarian.api.transfer.v1 import transfer_pb2 as pb


async def test_a_second_copy_appears_on_another_store(directory: Path, database_dsn: str) -> None:
    data = b"hello"
    book = {"a": b"1", "b/c": b"22"}
    async with open_site(directory, database_dsn) as site:
        (directory / "slow").mkdir()
        slow = store_pb2.Store(
            name="slow",
            root=str(directory / "slow"),
            store_class=store_pb2.STORE_CLASS_ARCHIVE,
            failure_domain="another",
            priority=10,
            ingestible=True,
            enabled=True,
        )
        await site.channels.store("disks").AddStore(
            store_pb2.AddStoreRequest(request_id=new_id(), store=slow)
        )
        route = pb.Route(destination="slow", name_glob="obs/**", via="posix")
        await site.channels.transfer.AddRoute(pb.AddRouteRequest(request_id=new_id(), route=route))
        contents = {"obs/file": file_content(data), "obs/book": tree_content(book)}
        uids, grants = await site.begin(contents)
        area = Path(grants[0].staging_path)

        def stage() -> None:
            (area / uids[0]).write_bytes(data)
            for path, content in book.items():
                (area / uids[1] / path).parent.mkdir(parents=True, exist_ok=True)
                (area / uids[1] / path).write_bytes(content)

        await asyncio.to_thread(stage)
        await site.commit(dict(zip(uids, contents.values(), strict=True)))
        await site.wait(uids)

        async def copied() -> bool:
            for name in contents:
                stores = {replica.store for replica in (await site.dataset(name)).replicas}
                assert stores == {"fast", "slow"}
            return True

        await eventually(copied)

        async def verified() -> bool:
            request = pb.ListTransfersRequest(destination="slow")
            found = (await site.channels.transfer.ListTransfers(request)).transfers
            assert len(found) == 2
            return {each.state for each in found} == {pb.TRANSFER_STATE_VERIFIED}

        await eventually(verified)
        explained = await site.channels.transfer.ExplainDataset(pb.ExplainDatasetRequest(name="obs/file"))
        assert [each.standing for each in explained.explanations] == [pb.STANDING_THERE]
    assert (
        hashlib.sha256((directory / "slow/obs/file").read_bytes()).digest()
        == contents["obs/file"].digest.value
    )
    assert (directory / "slow/obs/book/b/c").read_bytes() == b"22"
