"""What a put remembers of itself."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from librarian.journal import COMPACT_BYTES, FORGET_SECONDS, Journal, journal_directory

JOB = ("grpc://here:1", "/data/book", "obs/book")


def files(directory: Path) -> list[Path]:
    return list(directory.iterdir())


def test_what_was_begun_is_known_to_the_next_run(tmp_path: Path) -> None:
    journal = Journal.open(JOB, directory=tmp_path)
    assert journal.is_kept
    journal.began({"a": "1", "b": "2"})
    journal.began({"c": "3"})
    journal.ended(["b", "never begun"])
    journal.close()
    again = Journal.open(JOB, directory=tmp_path)
    assert again.ingests == {"a": "1", "c": "3"}
    again.ended(["a", "c"])
    again.close()
    assert files(tmp_path) == []


def test_another_job_has_another_journal(tmp_path: Path) -> None:
    one = Journal.open(JOB, directory=tmp_path)
    other = Journal.open((*JOB[:2], "obs/other"), directory=tmp_path)
    one.began({"a": "1"})
    assert other.is_kept
    assert other.ingests == {}
    one.close()
    other.close()
    assert len(files(tmp_path)) == 1


def test_a_second_run_at_the_same_time_has_none(tmp_path: Path) -> None:
    """In another process, as it happens: locks of one process do not see one another with some kernels."""
    journal = Journal.open(JOB, directory=tmp_path)
    journal.began({"a": "1"})
    script = (
        "import sys, pathlib; from librarian.journal import Journal; "
        "j = Journal.open(sys.argv[2:], directory=pathlib.Path(sys.argv[1])); "
        "j.began({'a': 'mine'}); print(j.is_kept, j.ingests); j.ended(['a']); j.close()"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path), *JOB], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["False", "{'a':", "'mine'}"]
    journal.close()
    assert Journal.open(JOB, directory=tmp_path).ingests == {"a": "1"}


def test_a_line_cut_by_a_crash_is_passed_over(tmp_path: Path) -> None:
    journal = Journal.open(JOB, directory=tmp_path)
    journal.began({"a": "1"})
    journal.close()
    [path] = files(tmp_path)
    with path.open("ab") as file:
        file.write(b'{"began": {"b"')
    assert Journal.open(JOB, directory=tmp_path).ingests == {"a": "1"}


def test_a_long_run_does_not_grow_without_end(tmp_path: Path) -> None:
    journal = Journal.open(JOB, directory=tmp_path)
    journal.began({"open": "0"})
    for batch in range(200):
        names = {f"{'n' * 100}/{batch}/{number}": "i" * 36 for number in range(100)}
        journal.began(names)
        journal.ended(names)
    [path] = files(tmp_path)
    assert path.stat().st_size < 2 * COMPACT_BYTES
    journal.close()
    assert Journal.open(JOB, directory=tmp_path).ingests == {"open": "0"}


def test_old_journals_are_swept(tmp_path: Path) -> None:
    old = tmp_path / "old.jsonl"
    old.write_text("")
    long_ago = old.stat().st_mtime - FORGET_SECONDS - 1
    os.utime(old, (long_ago, long_ago))
    Journal.open(JOB, directory=tmp_path).close()
    assert not old.exists()


def test_where_nothing_can_be_written_it_does_without(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    journal = Journal.open(JOB, directory=tmp_path / "file" / "puts")
    journal.began({"a": "1"})
    journal.ended(["a"])
    assert not journal.is_kept
    journal.close()


def test_it_lies_where_state_belongs(tmp_path: Path) -> None:
    assert journal_directory({"XDG_STATE_HOME": str(tmp_path)}) == tmp_path / "librarian" / "puts"
    assert journal_directory({}) == Path.home() / ".local/state/librarian/puts"
