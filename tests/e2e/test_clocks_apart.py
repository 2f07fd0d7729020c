"""Two sites whose clocks are a day apart, whichever is ahead: only the times that are told show it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from support.paired import QUICK, Sites, add_route, cli, states, until_receipted

DAY = 86_400
AHEAD = f"{QUICK}\n[faults]\nclock_offset_seconds = {DAY}\n"


@pytest.fixture(scope="module")
def sites() -> Iterator[Sites]:
    with Sites() as sites:
        sites.start("today")
        sites.start("tomorrow", settings=AHEAD)
        sites.pair("today", "tomorrow")
        sites.pair("tomorrow", "today")
        yield sites


@pytest.mark.parametrize(("sender", "receiver"), [("today", "tomorrow"), ("tomorrow", "today")])
def test_what_is_sent_is_receipted(sites: Sites, tmp_path: Path, sender: str, receiver: str) -> None:
    (tmp_path / "data").write_bytes(b"of one day or the other")
    name = f"{sender}/data"
    with sites[sender].blocking_client() as here, sites[receiver].blocking_client() as there:
        add_route(sites[sender], receiver, f"{sender}/*")
        here.put(tmp_path / "data", name)
        known = until_receipted(here, name, receiver)
        assert states(here, name) == {name: "VERIFIED"}
        born = there.show(name).create_time.ToDatetime(UTC)
        assert born == known.create_time.ToDatetime(UTC), (
            "as the origin says, not as the receiver's clock does"
        )
    ahead = timedelta(seconds=DAY if sender == "tomorrow" else 0)
    assert abs(born - datetime.now(UTC) - ahead) < timedelta(hours=1)


def test_an_operator_is_told(sites: Sites) -> None:
    [peer] = cli(sites["today"], "peer", "ls")
    assert peer["link_state"] == "LINK_STATE_UP"
    assert abs(peer["clock_offset_ms"] - DAY * 1000) < 3_600_000
