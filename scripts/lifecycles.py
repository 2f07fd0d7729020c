"""Draw docs/lifecycles.md from the code's own transition tables, or check that it is current."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import catalog_svc.lifecycle
import store_svc.lifecycle
import transfer_svc.lifecycle
import transfer_svc.receiving.lifecycle
import transfer_svc.sending.lifecycle
import transfer_svc.shipping.lifecycle
from svckit.lifecycle import Lifecycle

PAGE = Path(__file__).resolve().parent.parent / "docs" / "lifecycles.md"
LIFECYCLES: list[tuple[Lifecycle[Any, Any], str]] = [
    (transfer_svc.lifecycle.INGEST, "services/transfer_svc/lifecycle.py"),
    (transfer_svc.sending.lifecycle.TRANSFER, "services/transfer_svc/sending/lifecycle.py"),
    (transfer_svc.receiving.lifecycle.DELIVERY, "services/transfer_svc/receiving/lifecycle.py"),
    (transfer_svc.shipping.lifecycle.CONSIGNMENT, "services/transfer_svc/shipping/lifecycle.py"),
    (transfer_svc.shipping.lifecycle.CARGO, "services/transfer_svc/shipping/lifecycle.py"),
    (transfer_svc.shipping.lifecycle.JOB, "services/transfer_svc/shipping/lifecycle.py"),
    (store_svc.lifecycle.LIFECYCLE, "services/store_svc/lifecycle.py"),
    (catalog_svc.lifecycle.REPLICA, "services/catalog_svc/lifecycle.py"),
]


def page() -> str:
    return "\n".join(
        [
            "# Lifecycles",
            "",
            "Drawn by `make docs` from the tables the code itself runs on; what is not drawn is refused.",
            *(line for lifecycle, source in LIFECYCLES for line in section(lifecycle, source)),
            "",
        ]
    )


def section(lifecycle: Lifecycle[Any, Any], source: str) -> Iterator[str]:
    yield from ("", f"## {lifecycle.name}", "", f"`{source}`", "", "```mermaid", "stateDiagram-v2")
    yield f"    [*] --> {lifecycle.initial.name}"
    for (state, event), following in lifecycle.transitions.items():
        yield f"    {state.name} --> {following.name}: {event.name.lower()}"
    for state in sorted(lifecycle.final, key=lambda state: state.name):
        yield f"    {state.name} --> [*]"
    yield from ("```", "", "| event | what happened |", "|---|---|")
    for event, why in lifecycle.why.items():
        yield f"| {event.name.lower()} | {why} |"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; fail when the page is stale")
    if parser.parse_args().check:
        if PAGE.read_text() == page():
            return 0
        print("docs/lifecycles.md is stale: run `make docs` and commit the result", file=sys.stderr)
        return 1
    PAGE.write_text(page())
    return 0


if __name__ == "__main__":
    sys.exit(main())
