"""What the peer commands have in common."""

from __future__ import annotations

from typing import Annotated, TypeAlias

import typer

Name: TypeAlias = Annotated[
    str, typer.Argument(metavar="NAME", help="The other site, as `peer ls` shows it.", show_default=False)
]
