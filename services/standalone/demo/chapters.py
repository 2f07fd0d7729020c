"""The chapters of the demo, in their order. Each does something and looks whether it is as promised."""

from __future__ import annotations

import filecmp
import os
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from librarian import PutOutcome, PutResult
from librarian.api.common.v1 import common_pb2
from librarian.api.transfer.v1 import transfer_pb2
from librarian.blocking import Librarian
from librarian.errors import LibrarianError, NameTaken
from librarian.testing.site import Site
from standalone.demo.books import Books
from standalone.demo.damage import flip_a_bit, kill_store_during_ingest, same_trees
from standalone.demo.story import Story, size_text

PREFIX = "demo/books"


@dataclass(slots=True)
class Scene:
    """What the chapters share. `scratch` is a directory for what they make."""

    site: Site
    librarian: Librarian
    books: Books
    scratch: Path
    story: Story
    kept: list[PutResult] = field(default_factory=list)
    largest: PutResult | None = None


def ingest(scene: Scene) -> None:
    story, books = scene.story, scene.books
    story.chapter("Bring it in")
    story.tell(f"{books.what}: {books.dataset_count} datasets, {books.file_count:,} files")
    story.command(f"librarian put --each {books.root} {PREFIX}")
    began = time.monotonic()
    results = list(scene.librarian.put_each(books.root, PREFIX, tags={"kind": "demo"}))
    seconds = time.monotonic() - began
    scene.kept = [result for result in results if result.error is None]
    for result in results:
        if result.error is not None:
            story.tell(f"left out: {result.item.name}: {result.error.message}")
    size = sum(result.size_bytes for result in scene.kept)
    story.figure(
        "put --each",
        seconds,
        amount=f"{len(scene.kept)} datasets, {size_text(size)}",
        rate=f"{size_text(size / seconds)}/s",
    )
    story.promise(scene.kept, "every byte was re-read by the store before it was acknowledged")
    story.promise(len(results) == books.dataset_count, "each dataset has its own outcome")
    with_bytes = [result for result in scene.kept if result.size_bytes]
    story.promise(with_bytes, f"there is something in them: {size_text(size)}")
    scene.largest = max(with_bytes, key=lambda result: (result.member_count, result.size_bytes))


def repeat(scene: Scene) -> None:
    story = scene.story
    story.chapter("Once more, and once more with other bytes")
    again = [result for result in scene.librarian.put_each(scene.books.root, PREFIX) if result.error is None]
    story.promise(
        [result.outcome for result in again] == [PutOutcome.ALREADY_THERE] * len(scene.kept),
        f"the same {len(scene.kept)} again: success, nothing done",
    )
    name = scene.kept[0].item.name
    other = scene.scratch / "other"
    other.write_bytes(b"something else")
    story.command(f"librarian put {other} {name}")
    refusal = _refusal(lambda: scene.librarian.put(other, name))
    story.promise(isinstance(refusal, NameTaken), f"refused: {refusal.message if refusal else 'no!'}")


def find(scene: Scene) -> None:
    story = scene.story
    story.chapter("Find it")
    story.command(f"librarian find '{PREFIX}/*' --tag kind=demo")
    began = time.monotonic()
    found = list(scene.librarian.find(f"{PREFIX}/*", tags={"kind": "demo"}))
    seconds = time.monotonic() - began
    story.figure("find", seconds, amount=f"{len(found)} datasets")
    story.promise(len(found) == len(scene.kept), "each of them is found")
    assert scene.largest is not None, "ingested first"
    name = scene.largest.item.name
    members = list(scene.librarian.members(name))
    dataset = scene.librarian.show(name)
    story.tell(f"{name}: {len(members)} members, {size_text(dataset.size_bytes)}, {scene.largest.digest}")
    story.promise(
        os.path.lexists(scene.site.store_root / name), f"plain files lie at {scene.site.store_root / name}"
    )


def fetch(scene: Scene) -> None:
    story = scene.story
    story.chapter("Get it back")
    assert scene.largest is not None, "ingested first"
    item = scene.largest.item
    destination = scene.scratch / "fetched"
    story.command(f"librarian get {item.name} {destination}")
    began = time.monotonic()
    result = scene.librarian.get(item.name, destination)
    seconds = time.monotonic() - began
    size = result.size_bytes
    story.figure(
        "get",
        seconds,
        amount=f"{result.member_count} members, {size_text(size)}",
        rate=f"{size_text(size / seconds)}/s",
    )
    story.promise(same_trees(item.path, destination), "every file equals the one that was put")


def verify(scene: Scene) -> None:
    story = scene.story
    story.chapter("Verify every copy")
    story.command("librarian verify --store main")
    began = time.monotonic()
    reports = [answer.report for answer in scene.librarian.verify_store("main")]
    seconds = time.monotonic() - began
    size = sum(report.read_bytes for report in reports)
    story.figure(
        "verify --store",
        seconds,
        amount=f"{len(reports)} copies, {size_text(size)}",
        rate=f"{size_text(size / seconds)}/s",
    )
    good = [report for report in reports if report.state == common_pb2.REPLICA_STATE_AVAILABLE]
    story.promise(
        len(good) == len(reports) == len(scene.kept),
        "every byte of every copy was read again, and all are good",
    )


def corrupt(scene: Scene) -> None:
    story = scene.story
    story.chapter("Flip one bit on the disk")
    assert scene.largest is not None, "ingested first"
    name = scene.largest.item.name
    victim = flip_a_bit(scene.site.store_root / name)
    story.tell(f"one bit of {victim} is now another; size and time of the file are as before")
    story.command(f"librarian verify {name}")
    [report] = scene.librarian.verify(name)
    story.promise(report.state == common_pb2.REPLICA_STATE_CORRUPT, "the copy is CORRUPT")
    located = [finding.location for finding in report.findings]
    story.promise(located == [str(victim)], f"and it says where: {', '.join(located)}")
    refusal = _refusal(lambda: scene.librarian.get(name, scene.scratch / "bad"))
    story.promise(refusal, f"nobody gets it: {refusal.message if refusal else 'no!'}")
    flip_a_bit(scene.site.store_root / name)
    [mended] = scene.librarian.verify(name)
    story.promise(mended.state == common_pb2.REPLICA_STATE_AVAILABLE, "the bit flipped back: AVAILABLE again")


def pull_the_plug(scene: Scene) -> None:
    story = scene.story
    story.chapter("Kill the store in the middle of an ingest")
    size = 128 << 20
    for attempt in range(4):
        source = scene.scratch / f"night-{attempt}"
        _random_file(source, size)
        name = f"demo/night-{attempt}"
        story.command(f"librarian put {source} {name} & kill -9 {scene.site.pid_of('store')}")
        began = time.monotonic()
        killed_at = kill_store_during_ingest(scene.site, scene.librarian, source, name)
        seconds = time.monotonic() - began
        if killed_at:
            break
        story.tell("it was faster than the kill; again with more")
        size *= 2
    story.promise(killed_at, f"the store was killed while the ingest was {killed_at or 'over'}")
    for line in scene.site.log("up").strip().splitlines()[-2:]:
        story.tell(f"the supervisor says: {line}")
    story.figure("put, with the store killed", seconds, amount=size_text(size))
    copy = scene.site.store_root / name
    story.promise(filecmp.cmp(source, copy, shallow=False), "the put ended well, and the bytes are the same")
    story.promise(len(list(scene.librarian.ls(name))) == 1, "there is exactly one such dataset")
    [report] = scene.librarian.verify(name)
    story.promise(report.state == common_pb2.REPLICA_STATE_AVAILABLE, "re-read once more: good")
    _nothing_left(scene)


def _nothing_left(scene: Scene) -> None:
    """Settling comes after the acknowledgement: it may take the worker another moment."""
    deadline = time.monotonic() + 15
    open_states = [
        transfer_pb2.INGEST_STATE_OPEN,
        transfer_pb2.INGEST_STATE_COMMITTING,
        transfer_pb2.INGEST_STATE_STORED,
    ]
    while time.monotonic() < deadline:
        [store] = scene.librarian.stores()
        strays = [finding for finding in scene.librarian.scan("main") if finding.reason == "STRAY"]
        unfinished = list(scene.librarian.ingests(open_states))
        if not strays and not unfinished and store.usage.reserved_bytes == 0:
            break
        threading.Event().wait(0.2)
    scene.story.promise(
        not strays and not unfinished and store.usage.reserved_bytes == 0,
        "no staging left behind, no ingest open, all reserved room given back",
    )


def _refusal(call: object) -> LibrarianError | None:
    try:
        if callable(call):
            call()
    except LibrarianError as error:
        return error
    return None


def _random_file(path: Path, size_bytes: int) -> None:
    block = os.urandom(1 << 20)
    with path.open("wb") as file:
        for number in range(size_bytes >> 20):
            file.write(number.to_bytes(8, "big") + block[8:])


CHAPTERS = (ingest, repeat, find, fetch, verify, corrupt, pull_the_plug)
