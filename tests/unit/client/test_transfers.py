"""Routes and transfers by the client: paging, watching over breaks, and never everything by oversight."""

from __future__ import annotations

from contextlib import aclosing

import pytest
from support.client_site import ClientSite
from support.on_the_way import route, transfer

from librarian import Librarian
from librarian.api.transfer.v1 import transfer_pb2
from librarian.errors import InvalidInput, RoleMayNot, RouteNotFound, TransferNotFound, Unavailable
from librarian.progress import Progress


async def test_listings_are_paged_and_limited(client: Librarian, site: ClientSite) -> None:
    site.transfer.transfers = [transfer(number, "queued") for number in range(5)]
    names = [one.name async for one in client.transfers()]
    assert names == [f"satp3/obs/{number}" for number in range(5)]
    assert [one.name async for one in client.transfers(limit=3)] == names[:3]
    held = [transfer_pb2.TRANSFER_STATE_HELD]
    assert [one async for one in client.transfers(held)] == []
    with pytest.raises(TransferNotFound):
        await client.transfer("none")


async def test_a_route_is_found_by_what_names_it_alone(client: Librarian, site: ClientSite) -> None:
    site.transfer.routes = [route(1, "nersc", "a"), route(2, "tape", "b"), route(3, "tape", "c")]
    assert (await client.find_route("nersc")).name_glob == "a"
    assert (await client.find_route("00000002")).name_glob == "b"
    assert (await client.find_route(site.transfer.routes[2].route_id)).name_glob == "c"
    for several in ("tape", "000"):
        with pytest.raises(InvalidInput, match="means"):
            await client.find_route(several)
    for none in ("", "moon"):
        with pytest.raises(RouteNotFound):
            await client.find_route(none)


async def test_nothing_is_chosen_by_oversight(client: Librarian, site: ClientSite) -> None:
    for chosen in (client.retry_transfers, client.cancel_transfers):
        with pytest.raises(InvalidInput, match="no transfers were chosen"):
            await chosen()
    with pytest.raises(InvalidInput, match="no transfers were chosen"):
        await client.prioritize_transfers(5)
    assert site.transfer.asked == []
    site.transfer.transfers = [transfer(1, "held")]
    assert (await client.retry_transfers(name_glob="**")).changed_count == 1


async def test_a_watch_goes_on_after_breaks_and_tells_of_them(client: Librarian, site: ClientSite) -> None:
    def told(number: int) -> transfer_pb2.WatchTransfersResponse:
        return transfer_pb2.WatchTransfersResponse(transfers=[transfer(number, "moving")])

    trouble = Unavailable("restarting")
    # More breaks than anyone waits for in one go: whatever arrives between them gives new patience.
    site.transfer.watches = [[told(number), trouble] for number in range(4)]
    site.transfer.watches += [[trouble], [trouble], [], [told(9)]]
    progress = Progress()
    found = []
    async with aclosing(client.watch_transfers("nersc", progress=progress)) as answers:
        async for answer in answers:
            found.append((answer.transfers[0].name, progress.snapshot().trouble))
            if len(found) == 5:
                break
    assert found == [
        ("satp3/obs/0", ""),
        *((f"satp3/obs/{number}", "restarting") for number in (1, 2, 3)),
        ("satp3/obs/9", "the site ended the watch"),
    ]


async def test_a_watch_ends_with_what_does_not_pass(client: Librarian, site: ClientSite) -> None:
    client.channel.patience_seconds = 0.1
    site.transfer.watches = [[RoleMayNot("not you")]]
    with pytest.raises(RoleMayNot):
        [answer async for answer in client.watch_transfers()]
    site.transfer.watches = [[Unavailable("gone for good")] for _ in range(1000)]
    with pytest.raises(Unavailable, match="gone for good"):
        [answer async for answer in client.watch_transfers()]
