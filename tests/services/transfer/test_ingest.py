"""From Begin to published, and the ways clients ask for it."""

from __future__ import annotations

from transfer_lab.rig import Rig
from transfer_lab.store import file_content, tree_content

from librarian.api.transfer.v1 import transfer_pb2 as pb


async def test_a_file_is_published(rig: Rig) -> None:
    content = file_content(b"hello")
    async with rig.running() as client:
        ingest = await client.put("satp3/obs/1", content)
        assert ingest.state == pb.INGEST_STATE_PUBLISHED
        assert ingest.dataset_uid == ingest.ingest_id
        assert ingest.digest.value == content.digest.value
        await rig.all_settled()
    assert rig.catalog.live["satp3/obs/1"].uid == ingest.ingest_id
    assert rig.stores.strays() == []
    assert rig.stores.spaces["fast"].reserved == 0


async def test_a_directory_is_published_with_its_members(rig: Rig) -> None:
    content = tree_content({"a": b"1", "b/c": b"22"})
    async with rig.running() as client:
        ingest = await client.put("book", content)
        assert ingest.state == pb.INGEST_STATE_PUBLISHED
    assert set(rig.catalog.members[ingest.ingest_id]) == {"a", "b/c"}
