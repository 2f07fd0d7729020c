"""What goes wrong between two sites: the wire, the room at the far end, the bytes at this one; and two
workers at one queue. Each costs what it must, and nobody else anything.
"""

from __future__ import annotations

import os
import secrets
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.eventually import eventually_blocking
from support.leftovers import nothing_left_behind
from support.paired import Sites, add_route, cli, receipts, states, transfers, until_receipted
from support.second_worker import WorkerProcess, second_worker, worker_of

from librarian.api.common.v1 import common_pb2
from librarian.api.transfer.v1 import transfer_pb2
from librarian.blocking import Librarian

# They share two sites, which take some time to start.
pytestmark = pytest.mark.xdist_group("two sites in trouble")
# Until the next call to a peer that was away (s), at most; and what two busy cores may make of it.
RETRY_SECONDS = 5.0
MARGIN_SECONDS = 10.0


@pytest.fixture(scope="module")
def sites() -> Iterator[Sites]:
    with Sites() as sites:
        sites.start("mountain")
        sites.start("centre")
        sites.pair("mountain", "centre")
        yield sites


@pytest.fixture
def mountain(sites: Sites) -> Iterator[Librarian]:
    with sites["mountain"].blocking_client() as librarian:
        yield librarian


@pytest.fixture
def centre(sites: Sites) -> Iterator[Librarian]:
    sites.wires["centre"].mend()
    sites.wires["centre"].set_rate(0)
    with sites["centre"].blocking_client() as librarian:
        yield librarian


@pytest.fixture
def area(sites: Sites) -> Iterator[str]:
    """A part of the name space that is this test's alone, and goes to the centre."""
    area = f"area-{secrets.token_hex(4)}"
    route = add_route(sites["mountain"], "centre", f"{area}/*")
    yield area
    cli(sites["mountain"], "route", "rm", route["route_id"])


def put(librarian: Librarian, area: str, folder: Path, sizes: dict[str, int]) -> dict[str, bytes]:
    """Random bytes by name."""
    root = folder / f"put-{secrets.token_hex(4)}"
    root.mkdir()
    data = {name: secrets.token_bytes(size) for name, size in sizes.items()}
    for name, content in data.items():
        (root / name).write_bytes(content)
    assert all(result.error is None for result in librarian.put_each(root, area))
    return data


def explained(librarian: Librarian, name: str) -> transfer_pb2.Explanation:
    [found] = librarian.explain(name, "centre").explanations
    return found


def verified_count(librarian: Librarian, area: str) -> int:
    return list(states(librarian, f"{area}/*").values()).count("VERIFIED")


def silent(sites: Sites) -> None:
    """Nothing gets through, nobody is told."""
    sites.wires["centre"].hush()
    until = time.monotonic() + 3
    eventually_blocking(lambda: time.monotonic() > until)
    sites.wires["centre"].mend()


def killed(sites: Sites) -> None:
    """All of it at once, as when its machine loses power."""
    sites["centre"].kill()
    sites.up("centre")


def sender_killed_and_alone(sites: Sites) -> None:
    """It comes back while nobody answers."""
    sites.wires["centre"].cut()
    sites["mountain"].kill()
    sites.up("mountain")
    with sites["mountain"].blocking_client() as mountain:
        eventually_blocking(lambda: any(link.reason for link in mountain.transfer_status().links), timeout=20)
    sites.wires["centre"].mend()


def thin(sites: Sites) -> None:
    sites.wires["centre"].set_rate(200_000)


@pytest.mark.parametrize(
    ("trouble", "left_bytes"),
    [(silent, 0), (killed, 0), (sender_killed_and_alone, 0), (thin, 100_000)],
    ids=["silent", "centre killed", "mountain killed and alone", "thin"],
)
def test_trouble_on_the_way(
    sites: Sites,
    mountain: Librarian,
    centre: Librarian,
    area: str,
    tmp_path: Path,
    trouble: Callable[[Sites], None],
    left_bytes: int,
) -> None:
    """It goes on from where it was, within a poll interval of the link's return."""
    wire, size = sites.wires["centre"], 1_500_000
    wire.set_rate(8_000_000)
    before = wire.carried_bytes
    data = put(mountain, area, tmp_path, {"large": size})["large"]
    want = size - left_bytes if left_bytes else size / 3
    eventually_blocking(lambda: wire.carried_bytes - before > want, what="on its way")
    trouble(sites)
    ended = time.monotonic()
    with sites["mountain"].blocking_client() as sender:
        until_receipted(sender, f"{area}/large", "centre")
        # What is left takes its time at the wire's rate, and no more.
        rate = 25_000 if left_bytes else 1_000_000
        assert time.monotonic() - ended < size / rate * 0.2 + RETRY_SECONDS + MARGIN_SECONDS
        eventually_blocking(lambda: states(sender, f"{area}/*") == {f"{area}/large": "VERIFIED"})
    # Once, but for what was in the pipe.
    assert wire.carried_bytes - before < size * 1.3
    assert (sites["centre"].store_root / area / "large").read_bytes() == data


def test_unreachable_when_it_is_put(
    sites: Sites, mountain: Librarian, centre: Librarian, area: str, tmp_path: Path
) -> None:
    wire = sites.wires["centre"]
    wire.cut()
    put(mountain, area, tmp_path, {"one": 10, "two": 20})
    eventually_blocking(lambda: "link" in explained(mountain, f"{area}/one").waits_for)
    told = explained(mountain, f"{area}/one")
    assert told.HasField("since_time")
    wire.mend()
    mended = time.monotonic()
    until_receipted(mountain, f"{area}/one", "centre")
    until_receipted(mountain, f"{area}/two", "centre")
    assert time.monotonic() - mended < RETRY_SECONDS + MARGIN_SECONDS


def test_the_far_store_is_full(
    sites: Sites, mountain: Librarian, centre: Librarian, area: str, tmp_path: Path
) -> None:
    """Some fit: those are receipted. The others say what they wait for, and go when there is room."""
    size, fitting = 100_000, 3
    [store] = centre.stores()
    room = store.usage.held_bytes + int(size * (fitting + 0.5))
    cli(sites["centre"], "store", "set", "main", "--max-bytes", f"{room}B", "--fill-fraction", 1.0)
    names = [f"n{number}" for number in range(6)]
    put(mountain, area, tmp_path, dict.fromkeys(names, size))

    def blamed() -> list[str]:
        found = transfers(mountain, f"{area}/*")
        return [each.name for each in found if each.error.reason == "STORE_FULL"]

    eventually_blocking(
        lambda: len(blamed()) == len(names) - fitting and verified_count(mountain, area) == fitting,
        timeout=30,
        what="three fit and three wait",
    )
    told = explained(mountain, blamed()[0])
    assert "STORE_FULL" in told.summary
    assert told.HasField("next_time")
    cli(sites["centre"], "store", "set", "main", "--max-bytes", "10GB")
    for name in names:
        until_receipted(mountain, f"{area}/{name}", "centre", timeout=30)
    eventually_blocking(lambda: nothing_left_behind(centre))


def test_the_source_is_not_what_it_was(
    sites: Sites, mountain: Librarian, centre: Librarian, area: str, tmp_path: Path
) -> None:
    """Rotten, gone, changed: that one alone is held, its copy is in doubt, and the others arrive. The far end
    keeps no room for it, also when the worker dies before it could say so.
    """
    names = [f"{area}/{name}" for name in ("changed", "fine", "gone", "rotten")]
    changed, _, gone, rotten = names
    cli(sites["mountain"], "peer", "pause", "centre")
    # Under way on its own while the others are found out.
    sizes = {name.rpartition("/")[2]: 5000 for name in names} | {"large": 17 * 2**20}
    data = put(mountain, area, tmp_path, sizes)
    store = sites["mountain"].store_root
    for name in names:
        (store / name).chmod(0o644)
        (store / name).parent.chmod(0o755)
    with (store / changed).open("ab") as file:
        file.write(b"more")
    (store / gone).unlink()
    overwrite(store / rotten, data["rotten"][:-1] + bytes([data["rotten"][-1] ^ 1]))
    sites.wires["centre"].set_rate(50_000_000)
    cli(sites["mountain"], "peer", "resume", "centre")
    eventually_blocking(lambda: states(mountain, gone) == {gone: "HELD"})
    assert states(mountain, f"{area}/large") == {f"{area}/large": "MOVING"}
    os.kill(sites["mountain"].pid_of("worker"), signal.SIGKILL)
    for name in ("fine", "large"):
        until_receipted(mountain, f"{area}/{name}", "centre")
    eventually_blocking(
        lambda: list(states(mountain, f"{area}/*").values()).count("HELD") == 3, timeout=40, what="three held"
    )
    reasons = {each.name: each.error.reason for each in transfers(mountain, f"{area}/*")}
    assert reasons[changed] == "SOURCE_CHANGED"
    assert reasons[gone] == "SOURCE_VANISHED"
    assert reasons[rotten] == "CHECKSUM_MISMATCH"
    for name in (changed, gone, rotten):
        assert copy_state(mountain, name) == common_pb2.REPLICA_STATE_SUSPECT, name
        assert reasons[name] in explained(mountain, name).summary
    assert [dataset.name for dataset in centre.ls(f"{area}/")] == [f"{area}/fine", f"{area}/large"]
    eventually_blocking(lambda: nothing_left_behind(centre))
    # A re-read decides what it is; what is mended goes when it is told to.
    for name, state in (
        (rotten, common_pb2.REPLICA_STATE_CORRUPT),
        (gone, common_pb2.REPLICA_STATE_MISSING),
    ):
        list(mountain.verify(name))
        assert copy_state(mountain, name) == state
    overwrite(store / rotten, data["rotten"])
    list(mountain.verify(rotten))
    assert copy_state(mountain, rotten) == common_pb2.REPLICA_STATE_AVAILABLE
    mountain.retry_transfers(name_glob=rotten)
    until_receipted(mountain, rotten, "centre")
    assert receipts(mountain, gone) == set()


def overwrite(path: Path, content: bytes) -> None:
    """Without a trace but the bytes: same size, same time."""
    before = path.stat()
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def copy_state(librarian: Librarian, name: str) -> int:
    [replica] = librarian.show(name).replicas
    return replica.state


def test_two_workers_share_the_work(
    sites: Sites, mountain: Librarian, centre: Librarian, area: str, tmp_path: Path
) -> None:
    """And one that was frozen finds, when it wakes up, that what it held is another's: nothing goes twice."""
    wire, count, size = sites.wires["centre"], 0, 20_000
    with second_worker(sites["mountain"]) as second:
        workers = (worker_of(sites["mountain"]), second)
        before = wire.carried_bytes
        ended = [worker.measured("librarian_transfers_ended_total") for worker in workers]

        def shares() -> list[float]:
            now = [worker.measured("librarian_transfers_ended_total") for worker in workers]
            return [after - before for after, before in zip(now, ended, strict=True)]

        # Who is called first is chance.
        while count < 60 or (not all(shares()) and count < 300):
            put(mountain, area, tmp_path, {f"{count + number:03}": size for number in range(5)})
            count += 5
        eventually_blocking(lambda: verified_count(mountain, area) == count)
        assert sum(shares()) == count
        assert all(shares()), f"one did it all: {shares()}"
        assert wire.carried_bytes - before < count * (size + 5000)
        check_each_went_once(mountain, area)

        wire.set_rate(16_000_000)
        before = wire.carried_bytes
        put(mountain, area, tmp_path, {f"frozen{number}": 500_000 for number in range(8)})
        eventually_blocking(lambda: wire.carried_bytes - before > 1_000_000)
        frozen = max(workers, key=batches_of)
        os.kill(frozen.pid, signal.SIGSTOP)
        try:
            eventually_blocking(
                lambda: verified_count(mountain, area) == count + 8,
                timeout=60,
            )
        finally:
            os.kill(frozen.pid, signal.SIGCONT)
        eventually_blocking(lambda: batches_of(frozen) == 0, what="it has let go")
        assert wire.carried_bytes - before < 8 * 500_000 * 1.4
        check_each_went_once(mountain, area)
    eventually_blocking(lambda: nothing_left_behind(centre))


def batches_of(worker: WorkerProcess) -> float:
    return worker.measured("librarian_transfer_batches")


def check_each_went_once(librarian: Librarian, area: str) -> None:
    for each in transfers(librarian, f"{area}/*"):
        log = [entry.event for entry in librarian.transfer(each.transfer_id).log]
        assert log.count("DELIVERED") == log.count("RECEIPTED") == 1, (each.name, log)
        assert not each.error.reason
