"""A -> B -> C by routes alone: provenance arrives unchanged, and the last receipt finds its way back."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from support.eventually import eventually_blocking
from support.paired import Sites, add_route, receipts, state_name, states, transfers, until_receipted

from librarian.blocking import Librarian


@pytest.fixture(scope="module")
def sites() -> Iterator[Sites]:
    """`mountain` knows `centre`, and `centre` knows `archive`; the ends do not know each other."""
    with Sites() as sites:
        for name in ("mountain", "centre", "archive"):
            sites.start(name)
        sites.pair("mountain", "centre")
        sites.pair("centre", "archive")
        yield sites


@pytest.fixture
def clients(sites: Sites) -> Iterator[dict[str, Librarian]]:
    with ExitStack() as stack:
        yield {
            name: stack.enter_context(sites[name].blocking_client())
            for name in ("mountain", "centre", "archive")
        }


def test_over_two_hops_and_back(
    sites: Sites, clients: dict[str, Librarian], tmp_path: Path, book: Path
) -> None:
    area = f"area-{secrets.token_hex(4)}"
    name = f"{area}/book"
    add_route(sites["centre"], "archive", f"{area}/*")
    add_route(sites["mountain"], "centre", f"{area}/*")
    clients["mountain"].put(book, name)
    here = until_receipted(clients["mountain"], name, "centre", "archive", timeout=90)
    there = clients["archive"].show(name)
    assert there.origin == here.origin
    assert (there.uid, there.digest, there.site, there.uploader) == (
        here.uid,
        here.digest,
        "mountain",
        here.uploader,
    )
    # Known through the one between, and counted once.
    assert sorted((each.site, each.via_site) for each in here.remote_replicas) == [
        ("archive", "centre"),
        ("centre", "centre"),
    ]
    assert "archive" in sites["mountain"].cli("history", name).stdout


def test_fanned_out_behind_a_thin_link_the_bytes_go_once(
    sites: Sites, clients: dict[str, Librarian], tmp_path: Path
) -> None:
    area = f"area-{secrets.token_hex(4)}"
    data = tmp_path / "data"
    data.write_bytes(secrets.token_bytes(2_000_000))
    before = sites.wires["centre"].carried_bytes
    add_route(sites["centre"], "archive", f"{area}/*")
    add_route(sites["mountain"], "centre", f"{area}/*")
    add_route(sites["mountain"], "archive", f"{area}/*", "--through", "centre", via="relay")
    clients["mountain"].put(data, f"{area}/data")
    until_receipted(clients["mountain"], f"{area}/data", "centre", "archive", timeout=90)
    ended = eventually_blocking(lambda: _if_ended(clients["mountain"], f"{area}/*"))
    assert ended["centre"] == "VERIFIED"
    assert ended.keys() == {"centre", "archive"}
    assert sites.wires["centre"].carried_bytes - before < 2_600_000


def _if_ended(librarian: Librarian, name_glob: str) -> dict[str, str] | None:
    found = {each.destination: state_name(each.state) for each in transfers(librarian, name_glob)}
    return found if set(found.values()) <= {"VERIFIED", "PRESENT"} else None


def test_a_cycle_ends(sites: Sites, clients: dict[str, Librarian], tmp_path: Path) -> None:
    """Each sends to the other what it has: nothing goes back, and each copy counts once."""
    area = f"area-{secrets.token_hex(4)}"
    sites.pair("centre", "mountain")
    add_route(sites["mountain"], "centre", f"{area}/*")
    add_route(sites["centre"], "mountain", f"{area}/*")
    data = tmp_path / "data"
    data.write_bytes(secrets.token_bytes(500_000))
    before = sites.wires["mountain"].carried_bytes
    clients["mountain"].put(data, f"{area}/data")
    until_receipted(clients["mountain"], f"{area}/data", "centre")
    until_receipted(clients["centre"], f"{area}/data", "mountain")
    assert receipts(clients["mountain"], f"{area}/data") == {"centre"}
    assert receipts(clients["centre"], f"{area}/data") == {"mountain"}
    # Known to be there when it was planned, or told so when it was offered: nothing was sent back.
    assert set(states(clients["centre"], f"{area}/*").values()) <= {"PRESENT"}
    assert sites.wires["mountain"].carried_bytes - before < 400_000
