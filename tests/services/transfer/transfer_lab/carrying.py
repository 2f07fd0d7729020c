"""A worker process that sends by the tests' own mover."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from svckit.server import main as serve
from transfer_lab.carriers import Carrier
from transfer_svc.app import build_worker


def main(argv: Sequence[str]) -> int:
    """`argv`: --config FILE; the mover's log lies beside that file."""
    carrier = Carrier(Path(argv[-1]).with_name("carried.log"))
    return serve("worker", partial(build_worker, movers={"stream": carrier}), argv)
