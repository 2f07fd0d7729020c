"""The demo tells the truth: it exits 0 when all is as promised, and only then."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.data import contents


def demo(*arguments: str | Path, patch: str = "") -> subprocess.CompletedProcess[str]:
    program = f"import sys\n{patch}\nfrom standalone.demo.__main__ import main\nsys.exit(main(sys.argv[1:]))"
    kept = {key: value for key, value in os.environ.items() if not key.startswith("LIBRARIAN_")}
    return subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env=kept,
        timeout=400,
    )


@pytest.fixture
def data(tmp_path: Path, book: Path) -> Path:
    """The user's own: two books and a file. The directory is left as it is."""
    tree = tmp_path / "data"
    tree.mkdir()
    book.rename(tree / "book")
    (tree / "other").mkdir()
    (tree / "other" / "x").write_bytes(b"x" * 5000)
    (tree / "notes.txt").write_text("a file among them")
    return tree


def test_on_the_users_own_data(data: Path) -> None:
    before = contents(data)
    told = demo("--data", data)
    assert told.returncode == 0, told.stdout + told.stderr
    assert "27 promises looked at, all kept" in told.stdout
    assert "✗" not in told.stdout
    assert contents(data) == before
    [home] = [word.rstrip(",") for word in told.stdout.split() if "librarian-demo-" in word][:1]
    assert not Path(home).exists()


def test_a_broken_promise_is_told_and_counts(data: Path) -> None:
    """Here: a flipped bit that is not found, because none was flipped."""
    patch = "import standalone.demo.chapters as c; c.flip_a_bit = lambda dataset: dataset"
    told = demo("--data", data, patch=patch)
    assert told.returncode == 1
    assert "✗ the copy is CORRUPT" in told.stdout


def test_a_tree_that_is_not_there(tmp_path: Path) -> None:
    told = demo("--data", tmp_path / "nowhere")
    assert told.returncode == 1
    assert "nowhere" in told.stdout
