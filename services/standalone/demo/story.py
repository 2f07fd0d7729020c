"""How the demo speaks: chapters, figures, and promises that are looked at and hold, or end it."""

from __future__ import annotations

import time
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from librarian.errors import LibrarianError


class BrokenPromise(LibrarianError):
    reason = "BROKEN_PROMISE"
    default_remedy = (
        "this is a bug of ours: please report it with what stands above (--keep leaves the site behind)"
    )


class Story:
    """`home` is written as $DEMO, so that lines stay readable."""

    def __init__(self, console: Console, home: Path) -> None:
        self._console = console
        self._home = str(home)
        self._began = time.monotonic()
        self._figures: list[tuple[str, str, float, str]] = []
        self.promises = 0

    @property
    def seconds(self) -> float:
        """Since the story began."""
        return time.monotonic() - self._began

    def introduce(self) -> None:
        self._line(f"Everything lies in {escape(self._home)}, written $DEMO from here on.")

    def chapter(self, title: str) -> None:
        self._console.print()
        self._console.rule(f"[bold]{escape(title)}[/]", align="left", style="dim")

    def command(self, text: str) -> None:
        """What a person would type for it."""
        self._line(f"[cyan]$ {self._short(text)}[/]")

    def tell(self, text: str) -> None:
        self._line(self._short(text))

    def figure(self, what: str, seconds: float, *, amount: str, rate: str = "") -> None:
        """Told now, and once more in the table at the end."""
        self._figures.append((what, amount, seconds, rate))
        self.tell(f"{amount} in {seconds:.2f} s" + (f": {rate}" if rate else ""))

    def promise(self, holds: object, text: str) -> None:
        """BrokenPromise where it does not hold."""
        if not holds:
            self._line(f"[bold red]✗ {self._short(text)}[/]")
            raise BrokenPromise(f"not as promised: {text}")
        self.promises += 1
        self._line(f"[green]✓[/] {self._short(text)}")

    def close(self) -> None:
        table = Table(box=None, pad_edge=False, header_style="dim")
        table.add_column("step", no_wrap=True)
        table.add_column("what", no_wrap=True)
        table.add_column("seconds", no_wrap=True, justify="right")
        table.add_column("rate", no_wrap=True, justify="right")
        for what, amount, seconds, rate in self._figures:
            table.add_row(escape(what), escape(amount), f"{seconds:.2f}", escape(rate))
        self._console.print()
        self._console.print(table)
        self._console.print()
        self._console.print(
            f"[bold green]{self.promises} promises looked at, all kept,[/] in {self.seconds:.0f} s.",
            highlight=False,
        )

    def _line(self, markup: str) -> None:
        self._console.print(f"  {markup}", highlight=False, soft_wrap=True)

    def _short(self, text: str) -> str:
        return escape(text.replace(self._home, "$DEMO"))


def size_text(size_bytes: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if size_bytes < 1000:
            return f"{size_bytes:.0f} {unit}" if unit == "B" else f"{size_bytes:.1f} {unit}"
        size_bytes /= 1000
    return f"{size_bytes:.2f} TB"
