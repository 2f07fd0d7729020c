"""Options that several commands have, each told once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from librarian.client.datasets import Order

Json = Annotated[bool, typer.Option("--json", help="Print one JSON value, and nothing else, on stdout.")]
Site = Annotated[
    str,
    typer.Option(
        "--site",
        metavar="NAME",
        help="Use this named connection (~/.config/librarian/NAME.toml).",
        show_default=False,
    ),
]
Name = Annotated[
    str, typer.Argument(metavar="NAME", help="The dataset's name, or its uid.", show_default=False)
]
Tag = Annotated[
    list[str],
    typer.Option(
        "--tag", metavar="KEY=VALUE", help="A tag; may be given more than once.", show_default=False
    ),
]
Algorithm = Annotated[str, typer.Option(help="Checksum: sha256, or blake3 (faster).")]
Limit = Annotated[int | None, typer.Option(metavar="N", min=1, help="At most so many.", show_default=False)]
Long = Annotated[bool, typer.Option("--long", "-l", help="Who brought it, and where the copies are, too.")]
Names = Annotated[bool, typer.Option("--names", "-1", help="Names alone, one a line.")]
OrderBy = Annotated[str, typer.Option(help="name, oldest or newest.")]
At = Annotated[
    str,
    typer.Option(
        "--at", metavar="SITE", help="With a copy at that site, by its receipt.", show_default=False
    ),
]
NotAt = Annotated[
    str,
    typer.Option("--not-at", metavar="SITE", help="Without a receipt of that site.", show_default=False),
]
OnlyStore = Annotated[
    str, typer.Option("--store", metavar="STORE", help="Only this store.", show_default=False)
]


def order(text: str) -> Order:
    """Of --order."""
    from librarian.client.datasets import Order

    try:
        return Order(text)
    except ValueError:
        raise typer.BadParameter(f"--order: {text!r} is none of name, oldest, newest") from None
