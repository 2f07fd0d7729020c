"""The demo's second half: another site, and a thin wire between the two that is cut in the middle."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from librarian.api.transfer.v1 import transfer_pb2
from librarian.blocking import Librarian
from librarian.testing.link import Link
from librarian.testing.site import Site
from standalone.demo.chapters import Scene
from standalone.demo.damage import same_trees
from standalone.demo.story import size_text

BITS_PER_SECOND: Final = 50_000_000
CUT_SECONDS: Final = 2.0
_BOOKS: Final = 4
_FILES: Final = 6
_FILE_BYTES: Final = 1_000_000
_PREFIX: Final = "demo/nights"
# What may cross the wire twice because of the cut, and what the talk costs.
_OVERHEAD: Final = 1.15
_PATIENCE_SECONDS: Final = 60.0


def two_sites(scene: Scene) -> None:
    """Starts the second site, joins the two, sends books over and takes the plug out for a moment."""
    with ExitStack() as stack:
        wire = stack.enter_context(Link(BITS_PER_SECOND))
        centre = _second_site(scene, wire)
        stack.callback(centre.stop)
        far = stack.enter_context(centre.blocking_client())
        _join(scene, far)
        _send(scene, wire, centre, far)
        _tell_why(scene)


def _second_site(scene: Scene, wire: Link) -> Site:
    story = scene.story
    story.chapter("A second site, at the other end of a thin wire")
    settings = f'[gateway]\npublic_address = "grpc://{wire.address}"'
    centre = Site(scene.scratch.parent / "centre", name="centre", settings=settings, durable=True)
    story.command(f"librarian up --home {centre.home} --name centre")
    began = time.monotonic()
    centre.start()
    wire.lead_to(centre.address)
    story.figure("second site", time.monotonic() - began, amount="its own PostgreSQL and services")
    story.tell(f"the wire to it carries {BITS_PER_SECOND // 1_000_000} Mb/s; only the sender dials")
    return centre


def _join(scene: Scene, far: Librarian) -> None:
    story = scene.story
    story.command("librarian peer invite demo          # there; prints a code for the people here")
    invitation = far.invite_peer("demo")
    story.command(f"librarian peer join {invitation.code[:12]}…    # here")
    scene.librarian.join_peer(invitation.code)
    names = [peer.name for peer in scene.librarian.peers()], [peer.name for peer in far.peers()]
    story.promise(names == (["centre"], ["demo"]), "each has pinned the other's key")


def _send(scene: Scene, wire: Link, centre: Site, far: Librarian) -> None:
    story = scene.story
    story.command(f"librarian route add --to centre --match '{_PREFIX}/*' --via stream")
    route = transfer_pb2.Route(destination="centre", name_glob=f"{_PREFIX}/*", via="stream")
    scene.librarian.add_route(route)
    books = _books(scene.scratch / "nights")
    size = _BOOKS * _FILES * _FILE_BYTES
    before = wire.carried_bytes
    began = time.monotonic()
    story.command(f"librarian put --each {books} {_PREFIX}")
    results = list(scene.librarian.put_each(books, _PREFIX))
    story.promise(all(result.error is None for result in results), f"{_BOOKS} books, {size_text(size)}")
    _until(lambda: wire.carried_bytes - before > size / 2)
    story.tell(f"half of it is over: the wire is cut for {CUT_SECONDS:g} s")
    wire.cut()
    threading.Event().wait(CUT_SECONDS)
    wire.mend()
    names = [result.item.name for result in results]
    arrived = _until(lambda: all(_receipted(scene.librarian, name) for name in names))
    seconds = time.monotonic() - began
    carried = wire.carried_bytes - before
    story.figure("to the other site", seconds, amount=size_text(size), rate=f"{size_text(size / seconds)}/s")
    story.promise(arrived, "for each book the other site's signed receipt is back")
    story.promise(
        carried < size * _OVERHEAD,
        f"the cut cost the time it lasted and no more: {size_text(carried)} crossed the wire",
    )
    story.promise(
        all(same_trees(books / Path(name).name, centre.store_root / name) for name in names),
        "every file there equals the one that was put here",
    )
    origins = [(scene.librarian.show(name).origin, far.show(name).origin) for name in names]
    story.promise(
        all(here == there and here.payload for here, there in origins),
        "who made it, where and when, arrived unchanged and signed",
    )


def _tell_why(scene: Scene) -> None:
    story = scene.story
    story.chapter("Ask it why")
    name = f"{_PREFIX}/night-0"
    for words in (("explain", name, "--at", "centre"), ("history", name)):
        story.command(f"librarian {' '.join(words)}")
        told = scene.site.cli(*words).stdout
        for line in told.rstrip().splitlines():
            story.tell(f"  {line}")
        story.promise("centre" in told, f"`{words[0]}` knows")


def _receipted(librarian: Librarian, name: str) -> bool:
    return any(replica.site == "centre" for replica in librarian.show(name).remote_replicas)


def _until(holds: Callable[[], bool]) -> bool:
    """Whether it came to hold in time."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not holds():
        if time.monotonic() > deadline:
            return False
        threading.Event().wait(0.05)
    return True


def _books(root: Path) -> Path:
    """Bytes that no compression makes less of."""
    for number in range(_BOOKS):
        book = root / f"night-{number}"
        book.mkdir(parents=True)
        for part in range(_FILES):
            (book / f"detector-{part}.g3").write_bytes(os.urandom(_FILE_BYTES))
    return root
