"""librarian.testing as another project meets it: one line, and nothing imported before it is used."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

THEIR_TEST = """
def test_my_pipeline(librarian_site, tmp_path):
    (tmp_path / "data").write_text("mine")
    with librarian_site.blocking_client() as librarian:
        librarian.put(tmp_path / "data", librarian_site.new_name("data"))
        assert len(list(librarian.ls(librarian_site.prefix))) == 1


def test_it_is_shared_and_names_are_not(librarian_site):
    with librarian_site.blocking_client() as librarian:
        assert list(librarian.ls(librarian_site.prefix)) == []
"""


def test_one_line_in_any_project(tmp_path: Path) -> None:
    (tmp_path / "test_theirs.py").write_text(THEIR_TEST)
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:asyncio", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        timeout=400,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "2 passed" in ran.stdout


def test_the_plugin_imports_almost_nothing() -> None:
    """Every pytest run on a machine that has librarian pays for it."""
    program = "import sys, pytest; before = set(sys.modules); import librarian.testing.plugin; "
    program += "print(*sorted(set(sys.modules) - before))"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["librarian", "librarian.testing", "librarian.testing.plugin"]
