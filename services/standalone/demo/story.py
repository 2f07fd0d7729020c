"""How the demo speaks: chapters, figures, and promises that are looked at and hold, or end it."""

from __future__ import annotations

import time

from rich.console import Console
from rich.markup import escape

from librarian.errors import LibrarianError


class BrokenPromise(LibrarianError):
    reason = "BROKEN_PROMISE"
    default_remedy = "this is a bug of ours: keep the home (--keep) and report it"


class Story:
    def __init__(self, console: Console) -> None:
        self._console = console
        self._began = time.monotonic()
        self.promises = 0

    def chapter(self, title: str) -> None:
        self._console.print()
        self._console.print(f"[bold]{escape(title)}[/]  [dim]{self.seconds:.0f} s[/]")

    def command(self, text: str) -> None:
        """What a person would type for it."""
        self._console.print(f"  [cyan]$ {escape(text)}[/]", highlight=False)

    def tell(self, text: str) -> None:
        self._console.print(f"  {escape(text)}", highlight=False)

    def promise(self, holds: object, text: str) -> None:
        """BrokenPromise where it does not hold."""
        if not holds:
            self._console.print(f"  [bold red]✗ {escape(text)}[/]", highlight=False)
            raise BrokenPromise(f"not as promised: {text}")
        self.promises += 1
        self._console.print(f"  [green]✓[/] {escape(text)}", highlight=False)

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._began


def size_text(size_bytes: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if size_bytes < 1000:
            return f"{size_bytes:.0f} {unit}" if unit == "B" else f"{size_bytes:.1f} {unit}"
        size_bytes /= 1000
    return f"{size_bytes:.2f} TB"
