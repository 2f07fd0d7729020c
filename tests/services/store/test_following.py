"""A file that is streamed is hashed behind its writer; that counts only where nobody else was at it."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

import google_crc32c
import pytest
from store_lab import Lab, a_file, a_tree, claims_of
from support.eventually import eventually

from librarian.manifests import MemberKind
from store_svc import verifying
from store_svc.chunks import Chunk
from store_svc.committing import Status
from store_svc.filesystem import Feature
from store_svc.house import House
from store_svc.lifecycle import UploadState
from store_svc.records import UploadSpec
from store_svc.streams import write_upload
from store_svc.tickets import Purpose, Ticket
from store_svc.writing import WriteSession

Labs = Callable[..., AbstractAsyncContextManager[Lab]]
MIB = 1 << 20
DATA = os.urandom(MIB) * 19 + b"the end"
MTIME_NS = 1_700_000_000_000_000_001


@pytest.fixture
def reread(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths of the files that commits had to read."""
    found: list[str] = []
    honest = verifying.hash_unchanged

    def noting(fd: int, entry: Any, *args: Any, **options: Any) -> Any:
        found.append(entry.path)
        return honest(fd, entry, *args, **options)

    monkeypatch.setattr(verifying, "hash_unchanged", noting)
    return found


class Sender:
    """One upload of DATA by streams, the file itself or a member of a tree."""

    def __init__(self, lab: Lab, path: str = "") -> None:
        self.lab = lab
        self.path = path
        self.spec: UploadSpec = a_tree("t", {path: DATA}) if path else a_file("f", DATA)

    async def begin(self) -> Sender:
        begun = await self.lab.begin(self.spec)
        assert begun.grant is not None
        now = self.lab.kit.clock.now()
        self.ticket: Ticket = self.lab.kit.tickets.check(begun.grant.ticket, Purpose.WRITE, now)
        self.staged = self.lab.staged(begun, self.spec.upload_id) / self.path
        return self

    def chunks(self, start: int = 0, end: int = len(DATA), mtime_ns: int = MTIME_NS) -> list[Chunk]:
        return [
            Chunk(
                self.spec.upload_id,
                self.path,
                MemberKind.FILE,
                offset,
                data := DATA[offset : min(offset + MIB, end)],
                google_crc32c.value(data),
                0o640,
                mtime_ns,
                "",
                offset + MIB >= len(DATA),
            )
            for offset in range(start, end, MIB)
        ]

    async def send(self, chunks: Sequence[Chunk] | AsyncIterator[Chunk]) -> None:
        stream = each(chunks) if isinstance(chunks, Sequence) else chunks
        await write_upload(self.lab.kit, self.lab.house.open_uploads, self.ticket, stream)

    async def commit(self) -> Status:
        claims = claims_of(self.lab.root, DATA)
        if self.path:
            place = self.lab.root.parent / "same"
            (place / self.path).parent.mkdir(parents=True)
            (place / self.path).write_bytes(DATA)
            claims = claims_of(place, {self.path: DATA})
        return (await self.lab.commit({self.spec.upload_id: claims}))[self.spec.upload_id]


async def each(chunks: Sequence[Chunk]) -> AsyncIterator[Chunk]:
    for chunk in chunks:
        yield chunk


async def is_committed(sender: Sender) -> None:
    status = await sender.commit()
    assert status.state is UploadState.COMMITTED, status.error
    assert (sender.lab.root / sender.spec.name / sender.path).read_bytes() == DATA


async def is_refused(sender: Sender) -> None:
    status = await sender.commit()
    assert status.error is not None, status
    assert status.error.reason == "CHECKSUM_MISMATCH"
    assert sender.lab.left_over() == []


def is_leased(place: Path) -> bool:
    if not place.exists():
        return False
    leases = [line.split() for line in Path("/proc/locks").read_text().splitlines() if " LEASE " in line]
    return any(fields[5].endswith(f":{place.stat().st_ino}") for fields in leases)


def tamper(place: Path) -> None:
    with place.open("r+b") as file:
        file.seek(5)
        file.write(b"tampered")


@pytest.mark.parametrize("path", ["", "d/big"])
async def test_no_second_read(lab: Lab, reread: list[str], path: str) -> None:
    sender = await Sender(lab, path).begin()
    await sender.send(sender.chunks())
    await is_committed(sender)
    assert reread == []


def _write(staged: Path) -> None:
    tamper(staged)


def _write_and_set_back(staged: Path) -> None:
    tamper(staged)
    os.utime(staged, ns=(MTIME_NS, MTIME_NS))


def _replace(staged: Path) -> None:
    staged.unlink()
    staged.write_bytes(bytes(len(DATA)))
    os.utime(staged, ns=(MTIME_NS, MTIME_NS))


@pytest.mark.parametrize("path", ["", "d/big"])
@pytest.mark.parametrize("change", [_write, _write_and_set_back, _replace])
async def test_changed_after_it_came(lab: Lab, path: str, change: Callable[[Path], None]) -> None:
    sender = await Sender(lab, path).begin()
    await sender.send(sender.chunks())
    change(sender.staged)
    await is_refused(sender)


async def test_changed_while_it_is_moved(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the look at the ctime and the move that changes it."""
    sender = await Sender(lab).begin()
    await sender.send(sender.chunks())
    honest = os.rename

    def late(source: Any, *args: Any, **options: Any) -> None:
        if source == sender.spec.upload_id and sender.staged.exists():
            tamper(sender.staged)
        honest(source, *args, **options)

    monkeypatch.setattr(os, "rename", late)
    await is_refused(sender)


async def test_changed_while_it_comes(lab: Lab, reread: list[str]) -> None:
    """Who opens the file waits for the next chunk, not for the end; that ends the early hashing."""
    sender = await Sender(lab).begin()
    tampering: list[asyncio.Task[None]] = []

    async def stream() -> AsyncIterator[Chunk]:
        for chunk in sender.chunks(end=12 * MIB):
            yield chunk
        await eventually(lambda: is_leased(sender.staged))
        with pytest.raises(BlockingIOError):
            os.close(os.open(sender.staged, os.O_WRONLY | os.O_NONBLOCK))
        tampering.append(asyncio.create_task(asyncio.to_thread(tamper, sender.staged)))
        yield sender.chunks(start=12 * MIB)[0]
        await tampering[0]
        for chunk in sender.chunks(start=13 * MIB):
            yield chunk

    begin = time.monotonic()
    await sender.send(stream())
    assert time.monotonic() - begin < 30, "the opener waited for the kernel to take the lease away"
    await is_refused(sender)
    assert reread == [""]


async def test_the_last_that_came_is_written_though_no_more_comes(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It came while the one before was being written."""
    sender = await Sender(lab).begin()
    busy, go_on = Event(), Event()
    honest = WriteSession.write

    def write(session: WriteSession, chunks: Sequence[Any]) -> None:
        busy.set()
        assert go_on.wait(60)
        honest(session, chunks)

    monkeypatch.setattr(WriteSession, "write", write)

    async def stream() -> AsyncIterator[Chunk]:
        chunks = sender.chunks()
        yield chunks[0]
        await asyncio.to_thread(busy.wait, 60)
        yield chunks[1]
        go_on.set()
        await eventually(
            lambda: sender.staged.exists() and sender.staged.stat().st_size == 2 * MIB, timeout=30.0
        )

    await sender.send(stream())


async def test_stream_torn_and_resumed(lab: Lab, reread: list[str]) -> None:
    for tampered in (False, True):
        sender = await Sender(lab).begin()
        await sender.send(sender.chunks(end=12 * MIB))
        if tampered:
            tamper(sender.staged)
        await sender.send(sender.chunks(start=12 * MIB))
        await (is_refused if tampered else is_committed)(sender)
        assert reread == [""]
        reread.clear()
        lab.root.joinpath("f").unlink(missing_ok=True)


async def test_resumed_beside_the_stream_it_lost(lab: Lab, reread: list[str]) -> None:
    """A stream whose end nobody has noticed yet stands in the way of no other."""
    sender = await Sender(lab).begin()
    never = asyncio.Event()

    async def lost() -> AsyncIterator[Chunk]:
        for chunk in sender.chunks(end=12 * MIB):
            yield chunk
        await never.wait()

    first = asyncio.create_task(sender.send(lost()))
    await eventually(lambda: is_leased(sender.staged))
    there = sender.staged.stat().st_size
    await asyncio.wait_for(sender.send(sender.chunks(start=there)), 30)
    first.cancel()
    await asyncio.wait([first])
    await is_committed(sender)
    assert reread == [""]


async def test_late_bytes_of_a_lost_stream_are_counted_once(lab: Lab) -> None:
    sender = await Sender(lab).begin()
    chunks = sender.chunks()
    begun, resumed, late = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def lost() -> AsyncIterator[Chunk]:
        for chunk in chunks[:2]:
            yield chunk
        await eventually(lambda: sender.staged.exists() and sender.staged.stat().st_size == 2 * MIB)
        begun.set()
        await resumed.wait()
        for chunk in chunks[2:4]:
            yield chunk

    async def other() -> AsyncIterator[Chunk]:
        await begun.wait()
        for chunk in chunks[2:-1]:
            yield chunk
        size = (len(chunks) - 1) * MIB
        await eventually(lambda: sender.staged.stat().st_size == size)
        resumed.set()
        await late.wait()
        yield chunks[-1]

    first = asyncio.create_task(sender.send(lost()))
    second = asyncio.create_task(sender.send(other()))
    await first
    late.set()
    await second
    await is_committed(sender)


async def test_begun_anew(lab: Lab, reread: list[str]) -> None:
    """What came first does not count for what came then, in whatever order."""
    sender = await Sender(lab).begin()
    other = bytes(MIB)
    wrong = [
        replace(chunk, data=other[: len(chunk.data)], crc32c=google_crc32c.value(other[: len(chunk.data)]))
        for chunk in sender.chunks()
    ]
    await sender.send([*sender.chunks(), *wrong])
    await is_refused(sender)
    reread.clear()
    again = await Sender(lab).begin()
    mine = [replace(chunk, upload_id=again.spec.upload_id) for chunk in wrong]
    await again.send([*mine[:10], *again.chunks()])
    await is_committed(again)
    assert reread == []


async def test_written_over(lab: Lab, reread: list[str]) -> None:
    sender = await Sender(lab).begin()
    chunks = sender.chunks()
    wrong = replace(chunks[3], data=bytes(MIB), crc32c=google_crc32c.value(bytes(MIB)))
    await sender.send([*chunks[:12], wrong, *chunks[12:]])
    await is_refused(sender)
    assert reread == [""]


async def test_not_after_a_restart(lab: Lab, reread: list[str]) -> None:
    sender = await Sender(lab).begin()
    await sender.send(sender.chunks())
    lab.house = House.of(lab.kit)
    await is_committed(sender)
    assert reread == [""]


@pytest.mark.parametrize("mtime", ["told as now", "not told"])
async def test_not_where_a_write_would_not_show(lab: Lab, reread: list[str], mtime: str) -> None:
    sender = await Sender(lab).begin()
    *most, last = sender.chunks(mtime_ns=0)

    async def stream() -> AsyncIterator[Chunk]:
        for chunk in most:
            yield chunk
        yield replace(last, mtime_ns=time.time_ns() if mtime == "told as now" else 0)

    await sender.send(stream())
    await is_committed(sender)
    assert reread == [""]


async def test_not_without_leases(labs: Labs, reread: list[str]) -> None:
    async with labs(refused={Feature.LEASES}) as lab:
        await lab.add()
        sender = await Sender(lab).begin()
        await sender.send(sender.chunks())
        await is_committed(sender)
    assert reread == [""]
