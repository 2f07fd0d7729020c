"""Ports are chosen by one start alone, also where two choose at the same moment."""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio

from standalone import ports as ports_module
from standalone import probes
from standalone.errors import PortTaken
from standalone.home import Home
from standalone.ports import LOOPBACK, Ports
from standalone.running import Running
from standalone.site import Options
from standalone.site_files import SERVICES, Places, choose_places

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs abstract unix sockets")


@pytest.fixture
def start() -> Iterator[Callable[[], Ports]]:
    made: list[Ports] = []

    def make() -> Ports:
        made.append(Ports())
        return made[-1]

    yield make
    for ports in made:
        ports.close()


def test_what_one_start_holds_another_does_not_get(start: Callable[[], Ports]) -> None:
    """Nothing listens yet: to look would not do."""
    port = start().hold_any()
    assert not start().hold(port)
    with socket.create_server((LOOPBACK, port)):
        assert not start().hold(port)


def test_what_is_given_up_is_free_again(start: Callable[[], Ports]) -> None:
    first = start()
    port = first.hold_any()
    first.close()
    assert start().hold(port)


def test_who_is_patient_waits_for_a_run_that_is_ending(
    start: Callable[[], Ports], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ports_module, "_PATIENCE_SECONDS", 60.0)
    ending = start()
    port = ending.hold_any()
    end = threading.Timer(0.1, ending.close)
    end.start()
    try:
        assert start().hold(port, patient=True)
    finally:
        end.join()


def test_two_sites_that_start_at_once(tmp_path: Path) -> None:
    """On the usual port, or whatever the first gets where something listens there; the second on another."""
    made: list[Places] = []
    try:
        for name in ("one", "two"):
            home = Home(tmp_path / name)
            home.make()
            made.append(choose_places(home, port=None))
        one, two = made
        assert len({one.gateway_port, one.data_port, two.gateway_port, two.data_port}) == 4
        with pytest.raises(PortTaken):
            choose_places(Home(tmp_path / "two"), port=one.gateway_port)
    finally:
        for places in made:
            places.ports.close()


async def test_a_site_is_not_up_because_somebody_else_answers_on_its_port(tmp_path: Path) -> None:
    """Whatever has taken the port between its choice and the gateway's start, and be it another gateway."""
    home = Home(tmp_path)
    home.make()
    places = choose_places(home, port=0)
    running = Running(home, "here", places, None, Options(tmp_path))
    (gateway,) = [running._watched(service) for service in SERVICES if service.name == "gateway"]
    server = grpc.aio.server()
    health = aio.HealthServicer()
    await health.set("", health_pb2.HealthCheckResponse.SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(health, server)
    server.add_insecure_port(places.listen("gateway"))
    await server.start()
    try:
        assert await probes.rpc_serving(places.listen("gateway"))
        assert not await gateway.ready()
    finally:
        await server.stop(None)
        places.ports.close()
