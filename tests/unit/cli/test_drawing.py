"""Tables, and what stands beside a progress bar."""

from __future__ import annotations

import json

import pytest

from librarian.api.catalog.v1 import catalog_pb2
from librarian.api.common.v1 import common_pb2
from librarian.cli.bar import Figures
from librarian.cli.history import _details, _row
from librarian.cli.output import Column, JsonArray, table_lines
from librarian.cli.rows import copies_text
from librarian.progress import Progress


def test_tables_are_aligned_and_leave_empty_columns_out() -> None:
    columns = [Column("SIZE", right=True), Column("BY"), Column("NAME")]
    lines = table_lines(columns, [["1 B", "", "a"], ["1.00 kB", "", "a long name"]])
    assert lines == [
        "   SIZE  NAME",
        "    1 B  a",
        "1.00 kB  a long name",
    ]
    assert table_lines(columns, []) == ["SIZE  BY  NAME"]


def test_later_pages_are_aligned_with_the_first() -> None:
    columns = [Column("SIZE", right=True), Column("NAME")]
    first = table_lines(columns, [["1 B", "a"]], widths=(7, 0))
    second = table_lines(columns, [["1.00 kB", "b"]], widths=(7, 0))
    assert first[1].index("a") == second[1].index("b")


def test_an_array_is_one_json_value(capsys: pytest.CaptureFixture[str]) -> None:
    array = JsonArray()
    array.end()
    assert json.loads(capsys.readouterr().out) == []
    array = JsonArray()
    for number in range(3):
        array.add({"n": number})
    array.end()
    assert json.loads(capsys.readouterr().out) == [{"n": 0}, {"n": 1}, {"n": 2}]


def test_copies_tell_what_is_wrong_with_them() -> None:
    dataset = catalog_pb2.Dataset()
    assert copies_text(dataset) == "none"
    dataset.replicas.add(store="main", state=common_pb2.REPLICA_STATE_AVAILABLE)
    dataset.replicas.add(store="old", state=common_pb2.REPLICA_STATE_CORRUPT)
    assert copies_text(dataset) == "main,old!corrupt"


def test_events_in_words() -> None:
    assert _details("") == ""
    assert _details('{"previous_state": "AVAILABLE", "state": "SUSPECT", "reason": "a bit"}') == (
        "available -> suspect, a bit"
    )
    assert _details('{"state": "AVAILABLE", "read_bytes": 5, "note": ""}') == "available, read bytes 5"
    assert _details("not json") == "not json"


def test_what_is_elsewhere_in_words() -> None:
    event = catalog_pb2.Event(type="RECEIPT_RECORDED")
    event.details_json = json.dumps(
        {
            "site": "nersc",
            "store": "tape",
            "store_class": "archive",
            "failure_domain": "silo\x1b[2J",
            "verify_time_us": 1_718_574_200_000_000,
            "via_site": "princeton",
            "key_id": "k7",
            "held_uid": "0190",
        }
    )
    _, what, where, details = _row(event)
    assert (what, where) == ("receipt recorded", "nersc:tape")
    assert details == (
        "store class archive, failure domain silo\\x1b[2J, via site princeton, verified 2024-06-16 21:43:20, "
        "signed by key k7, held as 0190"
    )


def test_figures_by_bytes() -> None:
    progress, figures = Progress(), Figures()
    progress.begin("copying", total_bytes=10_000_000)
    for second in range(5):
        figures.look(progress.snapshot(), second)
        progress.add(1_000_000)
    figures.look(progress.snapshot(), 5)
    assert figures.text(progress.snapshot()) == "5.00 MB/10.0 MB  1.00 MB/s  0:05"
    progress.begin("verifying", total_bytes=10_000_000)
    figures.look(progress.snapshot(), 6)
    assert figures.text(progress.snapshot()) == "0 B/10.0 MB"


def test_figures_by_count_and_of_unknown_size() -> None:
    progress, figures = Progress(), Figures()
    progress.begin("scanning")
    figures.look(progress.snapshot(), 0)
    progress.add_count(500)
    figures.look(progress.snapshot(), 2)
    assert figures.total(progress.snapshot()) is None
    assert figures.text(progress.snapshot()) == "500  250/s"
    progress.begin("putting", total_bytes=2000, total_count=4)
    progress.add_count(1)
    figures.look(progress.snapshot(), 3)
    assert figures.text(progress.snapshot()) == "1/4  0 B/2.00 kB"
