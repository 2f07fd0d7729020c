"""`python -m standalone.demo [--data DIR] [--keep]`: exits 0 when all was as promised."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from librarian.errors import LibrarianError
from librarian.testing.site import Site, remove_home
from standalone.demo.books import Books, books_of, books_of_python
from standalone.demo.chapters import CHAPTERS, Scene
from standalone.demo.joined import two_sites
from standalone.demo.story import BrokenPromise, Story, size_text


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="librarian demo", description="Two whole sites on real input, in a minute."
    )
    parser.add_argument(
        "--data", type=Path, help="a directory; its entries become datasets (Python's own library)"
    )
    parser.add_argument("--keep", action="store_true", help="leave the site's home behind")
    arguments = parser.parse_args(argv)
    console = Console()
    home = Path(tempfile.mkdtemp(prefix="librarian-demo-"))
    # What a put has begun is journalled where the user's own puts are not.
    os.environ["XDG_STATE_HOME"] = str(home / "state")
    try:
        _tell(home, arguments.data, Story(console, home))
    except LibrarianError as error:
        console.print(f"\n[bold red]{escape(error.message)}[/]\n{escape(error.remedy)}", highlight=False)
        return 1
    finally:
        if arguments.keep:
            console.print(f"[dim]left behind: {home}[/]", highlight=False)
        else:
            remove_home(home)
    return 0


def _tell(home: Path, data: Path | None, story: Story) -> None:
    """Raises BrokenPromise, and whatever goes wrong."""
    scratch = home / "scratch"
    scratch.mkdir()
    books = _books(scratch, data)
    site = Site(home / "site", name="demo", durable=True)
    story.chapter("Start a site")
    story.introduce()
    story.command(f"librarian up --home {site.home} --name demo")
    began = story.seconds
    site.start()
    try:
        story.figure("first start", story.seconds - began, amount="6 processes, PostgreSQL among them")
        story.tell(f"address {site.address}, the admin's token in {site.home}/keys/admin.token")
        with site.blocking_client() as librarian:
            scene = Scene(site, librarian, books, scratch, story)
            for chapter in (*CHAPTERS, two_sites):
                chapter(scene)
        story.chapter("Stop")
    finally:
        site.stop()
    kept = site.store_root / scene.kept[0].item.name
    story.promise(kept.exists(), f"with every service down the data is still there, as plain files: {kept}")
    story.close()


def _books(scratch: Path, data: Path | None) -> Books:
    if data is None:
        return books_of_python(scratch / "books")
    if not data.is_dir():
        raise BrokenPromise(
            f"{data} is not a directory", remedy="give a directory whose entries shall be datasets"
        )
    books = books_of(data.absolute())
    free = shutil.disk_usage(scratch).free
    if books.size_bytes * 1.1 > free:
        raise BrokenPromise(
            f"{data} holds {size_text(books.size_bytes)}; {scratch} has room for {size_text(free)}",
            remedy="name a place with more room in TMPDIR, or give a smaller tree",
        )
    return books


if __name__ == "__main__":
    sys.exit(main())
