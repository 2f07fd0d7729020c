"""Fault points: each test has a process that may die."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from svckit.faults import NO_FAULTS, Faults, faults_of

SCRIPT = """
import sys
from pathlib import Path
from svckit.faults import Faults
faults = Faults(Path(sys.argv[1]))
for name in sys.argv[2:]:
    faults.hit(name)
print("survived")
"""


def run(file: Path, *points: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", SCRIPT, str(file), *points],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize(
    ("plan", "trace"),
    [
        ({"kill_at": 3}, ["a", "b", "a"]),
        ({"kill_on": "b"}, ["a", "b"]),
        ({"kill_on": "a", "nth": 2}, ["a", "b", "a"]),
    ],
)
def test_the_process_dies_where_planned(tmp_path: Path, plan: dict[str, object], trace: list[str]) -> None:
    file = tmp_path / "faults.json"
    file.write_text(json.dumps({**plan, "trace": str(tmp_path / "trace")}))
    died = run(file, "a", "b", "a", "b")
    assert died.returncode == -signal.SIGKILL
    assert (tmp_path / "trace").read_text().split() == trace
    assert not file.exists()
    assert run(file, "a", "b", "a", "b").stdout == "survived\n"


def test_a_plan_beyond_the_end_lets_live(tmp_path: Path) -> None:
    file = tmp_path / "faults.json"
    file.write_text('{"kill_at": 5}')
    assert run(file, "a", "b", "a", "b").returncode == 0
    assert file.exists()


def test_a_new_plan_is_noticed_and_counts_anew(tmp_path: Path) -> None:
    file, trace = tmp_path / "faults.json", tmp_path / "trace"
    faults = Faults(file)
    faults.hit("before")
    file.write_text(json.dumps({"kill_at": 3, "trace": str(trace)}))
    faults.hit("one")
    faults.hit("two")
    (tmp_path / "new").write_text(json.dumps({"kill_at": 3, "trace": str(trace)}))
    (tmp_path / "new").rename(file)
    faults.hit("three")
    file.unlink()
    faults.hit("after")
    assert trace.read_text().split() == ["one", "two", "three"]


def test_a_misspelt_plan_is_not_silently_nothing(tmp_path: Path) -> None:
    (tmp_path / "f").write_text('{"kil_at": 1}')
    with pytest.raises(ValidationError):
        Faults(tmp_path / "f").hit("a")


def test_each_service_has_its_own_file(tmp_path: Path) -> None:
    file, trace = tmp_path / "faults", tmp_path / "trace"
    Path(f"{file}.store").write_text(json.dumps({"trace": str(trace)}))
    faults_of(str(file), "catalog").hit("catalog")
    faults_of(str(file), "store").hit("store")
    assert trace.read_text() == "store\n"
    assert faults_of("", "store") is NO_FAULTS
