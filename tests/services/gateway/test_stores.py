"""Which store service a call goes to, the list of all stores, and the names of new ones."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import grpc
import pytest
from support.gateway_site import CATALOG, STORE, Context, FakeService, GatewaySite, gateway_site

from librarian.api.store.v1.store_pb2 import AddStoreRequest, ListStoresRequest, ListStoresResponse, Store
from librarian.errors import LibrarianError
from librarian.rpc import error_from_rpc

Names = Sequence[tuple[str, str]]


def serve_stores(fake: FakeService, *stores: Store) -> list[Store]:
    """Has the fake answer ListStores with what is in the list, now and later."""
    held = list(stores)

    async def list_stores(_request: bytes, _context: Context) -> bytes:
        return ListStoresResponse(stores=held).SerializeToString()

    async def add_store(request: bytes, _context: Context) -> bytes:
        held.append(AddStoreRequest.FromString(request).store)
        return b""

    async def begin_read(_request: bytes, _context: Context) -> bytes:
        return fake.address.rpartition("-")[2].encode()

    fake.on.update(
        {STORE + "ListStores": list_stores, STORE + "AddStore": add_store, STORE + "BeginRead": begin_read}
    )
    return held


async def listed(site: GatewaySite, **options: Any) -> list[Store]:
    response = await site.unary(STORE + "ListStores", ListStoresRequest().SerializeToString(), **options)
    return list(ListStoresResponse.FromString(response).stores)


async def add(site: GatewaySite, name: str, service: str = "") -> bytes:
    extra = [("librarian-store-service", service)] if service else []
    request = AddStoreRequest(request_id="1", store=Store(name=name)).SerializeToString()
    answer: bytes = await site.unary(STORE + "AddStore", request, extra=extra)
    return answer


async def reached(site: GatewaySite, store: str) -> bytes:
    answer: bytes = await site.unary(STORE + "BeginRead", extra=[("librarian-store", store)] if store else [])
    return answer


async def refusal(call: Any) -> LibrarianError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return error_from_rpc(caught.value)


async def test_a_store_is_found_by_its_name(two_stores: GatewaySite) -> None:
    site = two_stores
    serve_stores(site.stores["fast"], Store(name="nvme"))
    serve_stores(site.stores["slow"], Store(name="tape"), Store(name="spinning"))
    assert await reached(site, "nvme") == b"fast.sock"
    assert await reached(site, "tape") == b"slow.sock"
    assert await reached(site, "spinning") == b"slow.sock"
    asked = [seen.method for seen in site.stores["slow"].seen].count(STORE + "ListStores")
    assert asked == 1, "once learned, a store is not asked for again"


async def test_a_store_that_comes_later_is_found(two_stores: GatewaySite) -> None:
    site = two_stores
    held = serve_stores(site.stores["fast"], Store(name="nvme"))
    serve_stores(site.stores["slow"], Store(name="tape"))
    await reached(site, "nvme")
    held.append(Store(name="nvme2"))
    assert await reached(site, "nvme2") == b"fast.sock"


async def test_many_who_miss_at_once_share_the_asking(two_stores: GatewaySite) -> None:
    site = two_stores
    serve_stores(site.stores["fast"], Store(name="nvme"))
    serve_stores(site.stores["slow"], Store(name="tape"))
    assert set(await asyncio.gather(*(reached(site, "tape") for _ in range(20)))) == {b"slow.sock"}
    asked = [seen.method for seen in site.stores["slow"].seen].count(STORE + "ListStores")
    assert asked <= 2


async def test_an_unknown_store_is_refused_by_name(two_stores: GatewaySite) -> None:
    site = two_stores
    serve_stores(site.stores["fast"], Store(name="nvme"))
    serve_stores(site.stores["slow"])
    error = await refusal(reached(site, "nowhere"))
    assert (error.reason, error.metadata["store"]) == ("STORE_NOT_FOUND", "nowhere")

    await site.stores["slow"].stop()
    error = await refusal(reached(site, "nowhere"))
    assert error.reason == "UNAVAILABLE"
    assert "store service slow" in error.message


async def test_without_a_name_only_one_service_will_do(site: GatewaySite, two_stores: GatewaySite) -> None:
    serve_stores(site.stores["fast"], Store(name="nvme"))
    assert await reached(site, "") == b"fast.sock"

    error = await refusal(reached(two_stores, ""))
    assert error.code.name == "INVALID_ARGUMENT"
    assert "librarian-store" in error.remedy


async def test_stores_of_all_services_in_one_list(two_stores: GatewaySite) -> None:
    site = two_stores
    serve_stores(site.stores["fast"], Store(name="nvme", priority=1), Store(name="b", priority=2))
    serve_stores(site.stores["slow"], Store(name="tape"), Store(name="a", priority=2))
    assert [store.name for store in await listed(site)] == ["tape", "nvme", "a", "b"]
    # Asked in the client's name, not the gateway's.
    assert site.stores["slow"].seen[-1].caller.role == "admin"


async def test_a_dead_store_service_does_not_hide_the_others(two_stores: GatewaySite) -> None:
    site = two_stores
    serve_stores(site.stores["fast"], Store(name="nvme"))
    serve_stores(site.stores["slow"], Store(name="tape", root="/tape", enabled=True))
    await listed(site)
    await site.stores["slow"].stop()

    nvme, tape = await listed(site)
    assert (nvme.name, nvme.trouble) == ("nvme", "")
    assert (tape.name, tape.root) == ("tape", "/tape"), "as last told"
    assert tape.trouble == "the store service slow does not answer"


async def test_a_store_service_never_heard_of_is_listed_with_its_trouble(two_stores: GatewaySite) -> None:
    site = two_stores
    serve_stores(site.stores["fast"], Store(name="nvme"))
    await site.stores["slow"].stop()
    silent, nvme = await listed(site)
    assert (silent.name, silent.enabled) == ("(slow)", False)
    assert silent.trouble == "the store service slow does not answer"
    assert nvme.name == "nvme"


async def test_a_silent_store_service_does_not_hold_up_the_list(two_stores: GatewaySite) -> None:
    site = two_stores
    serve_stores(site.stores["fast"], Store(name="nvme"))

    async def never(_request: bytes, _context: Context) -> bytes:
        await asyncio.Event().wait()
        return b""

    site.stores["slow"].on[STORE + "ListStores"] = never
    began = time.monotonic()
    assert [store.name for store in await listed(site, timeout=1.0)] == ["(slow)", "nvme"]
    assert time.monotonic() - began < 1.0


async def test_where_no_store_service_answers_the_list_fails(two_stores: GatewaySite) -> None:
    for fake in two_stores.stores.values():
        await fake.stop()
    error = await refusal(listed(two_stores))
    assert error.reason == "UNAVAILABLE"
    assert "store service fast" in error.message
    assert "store service slow" in error.message


async def test_a_new_store_goes_to_the_service_named(two_stores: GatewaySite) -> None:
    site = two_stores
    serve_stores(site.stores["fast"])
    held = serve_stores(site.stores["slow"])
    await add(site, "tape", "slow")
    assert [store.name for store in held] == ["tape"]
    assert await reached(site, "tape") == b"slow.sock"

    unnamed = await refusal(add(site, "other"))
    assert unnamed.code.name == "INVALID_ARGUMENT"
    assert "fast, slow" in unnamed.remedy
    unknown = await refusal(add(site, "other", "warm"))
    assert unknown.code.name == "NOT_FOUND"
    assert "fast, slow" in unknown.remedy


async def test_a_store_name_is_the_sites_not_the_services(two_stores: GatewaySite) -> None:
    site = two_stores
    serve_stores(site.stores["fast"], Store(name="main"))
    held = serve_stores(site.stores["slow"])
    error = await refusal(add(site, "main", "slow"))
    assert (error.reason, error.metadata["store"]) == ("STORE_EXISTS", "main")
    assert held == []
    # Said again to the service that has it: that one's own affair.
    await add(site, "main", "fast")


async def test_a_site_without_store_services_says_so(database_dsn: str) -> None:
    async with gateway_site(database_dsn, stores=()) as site:
        for call in (listed(site), reached(site, ""), add(site, "x")):
            assert (await refusal(call)).reason == "NO_STORE"
        assert (await refusal(reached(site, "x"))).reason == "STORE_NOT_FOUND"


async def test_a_dead_store_service_delays_nothing_else(two_stores: GatewaySite) -> None:
    site = two_stores
    serve_stores(site.stores["fast"], Store(name="nvme"))
    await site.stores["slow"].stop()

    async def answer(_request: bytes, _context: Context) -> bytes:
        return b"here"

    site.catalog.on[CATALOG + "GetDataset"] = answer
    assert await asyncio.wait_for(site.unary(CATALOG + "GetDataset"), 2) == b"here"
    assert await asyncio.wait_for(reached(site, "nvme"), 2) == b"fast.sock"
