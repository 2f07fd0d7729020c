"""What the person at the terminal reads: how to use the site, then only what is out of the ordinary."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

from standalone.home import Home


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201 the program's voice


def welcome(name: str, address: str, home: Home) -> None:
    lines = [
        f"Librarian site {name} is up.",
        "",
        f"  address  {address}",
        f"  home     {home.root}",
        f"  store    {home.store} (first store of this site)",
        f"  logs     {home.logs}",
        "",
        "In another shell:",
        "",
    ]
    if home.root != Path("~/.librarian").expanduser().absolute():
        lines.append(f"  export LIBRARIAN_HOME={shlex.quote(str(home.root))}")
    lines += [
        "  librarian put PATH NAME       bring a file or a directory in",
        "  librarian ls                  see what is there",
        "  librarian get NAME DEST       fetch it again",
        "",
        f"Stop it with Ctrl-C, or: kill {os.getpid()}",
    ]
    say("\n".join(lines))
