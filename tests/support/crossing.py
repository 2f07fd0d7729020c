"""A small batch that goes from one site to another, and what must have become of it whatever happened."""

from __future__ import annotations

import random
from pathlib import Path

from librarian.api.federation.v1 import federation_pb2
from librarian.blocking import Librarian
from librarian.errors import DatasetNotFound
from support.data import contents, make_book
from support.eventually import eventually_blocking
from support.leftovers import nothing_left_behind
from support.paired import Sites, deliveries, state_name, transfers
from support.plug import after_restart

UNDER_WAY = [
    federation_pb2.DELIVERY_STATE_ACCEPTED,
    federation_pb2.DELIVERY_STATE_ARRIVING,
    federation_pb2.DELIVERY_STATE_DELIVERED,
    federation_pb2.DELIVERY_STATE_VERIFYING,
]
# Nothing takes longer than a lease or two, a process's start and a put-off of two seconds.
PATIENCE_SECONDS = 90.0


class Crossing:
    """Three datasets below `prefix`, which a route from mountain to centre matches: a file, a small book, and
    a file that is at the centre already, under a uid of its own.
    """

    def __init__(
        self, sites: Sites, clients: dict[str, Librarian], prefix: str, folder: Path, rng: random.Random
    ) -> None:
        self._sites = sites
        self._clients = clients
        self._prefix = prefix
        self._night = folder / prefix.replace("/", "-")
        self.names = [f"{prefix}/{entry}" for entry in ("book", "file", "there")]
        make_book(self._night / "book", rng, files=2, size_bytes=1000)
        for name in ("file", "there"):
            (self._night / name).write_bytes(rng.randbytes(1000))
        eventually_blocking(after_restart(self._put_there), timeout=PATIENCE_SECONDS)

    def begin(self) -> None:
        """What follows goes on by itself."""
        results = list(self._clients["mountain"].put_each(self._night, self._prefix))
        assert [result.error for result in results] == [None, None, None]

    def until_over(self) -> None:
        """Every dataset receipted, once, with its bytes, and nothing left behind on either side."""
        eventually_blocking(after_restart(self._check), timeout=PATIENCE_SECONDS, what="all as promised")

    def _put_there(self) -> None:
        self._clients["centre"].put(self._night / "there", f"{self._prefix}/there")

    def _check(self) -> None:
        mountain, centre = self._clients["mountain"], self._clients["centre"]
        found = transfers(mountain, f"{self._prefix}/*")
        states = sorted((each.name, state_name(each.state)) for each in found)
        ends = ["VERIFIED", "VERIFIED", "PRESENT"]
        assert states == list(zip(self.names, ends, strict=True)), [
            (*state, each.error.message) for state, each in zip(states, found, strict=True)
        ]
        assert [dataset.name for dataset in centre.ls(f"{self._prefix}/")] == self.names
        for name, end in zip(self.names, ends, strict=True):
            try:
                ours, theirs = mountain.show(name), centre.show(name)
            except DatasetNotFound as error:
                raise AssertionError(f"{name} is not there") from error
            assert [replica.site for replica in ours.remote_replicas] == ["centre"], name
            assert ours.digest == theirs.digest
            assert (ours.uid == theirs.uid) is (end == "VERIFIED")
            # Those before the newest were superseded.
            newest, *before = deliveries(centre, name)
            assert newest == "RECEIPTED", name
            assert set(before) <= {"EXPIRED"}, (name, before)
        assert contents(self._sites["centre"].store_root / self._prefix) == contents(self._night)
        assert not list(centre.deliveries(UNDER_WAY))
        assert nothing_left_behind(centre)
        assert nothing_left_behind(mountain)
