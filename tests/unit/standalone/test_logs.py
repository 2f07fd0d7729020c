from __future__ import annotations

from pathlib import Path

from standalone.logs import rotate, tail


def test_a_long_log_is_set_aside_and_goes_on(tmp_path: Path) -> None:
    log = tmp_path / "store.log"
    with log.open("ab", buffering=0) as writer:
        for text in (b"first", b"second", b"third"):
            writer.write(text * 10)
            rotate(tmp_path, max_bytes=10, kept=2)
        writer.write(b"now")
    assert log.read_bytes() == b"now"
    assert (tmp_path / "store.log.1").read_bytes() == b"third" * 10
    assert (tmp_path / "store.log.2").read_bytes() == b"second" * 10
    assert not (tmp_path / "store.log.3").exists()


def test_a_short_log_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "store.log").write_text("short")
    rotate(tmp_path, max_bytes=10)
    assert [path.name for path in tmp_path.iterdir()] == ["store.log"]


def test_tail_is_the_last_lines(tmp_path: Path) -> None:
    log = tmp_path / "store.log"
    assert tail(log) == ""
    log.write_text("x" * 20000 + "\none\ntwo\n")
    assert tail(log, lines=2) == "one | two"
