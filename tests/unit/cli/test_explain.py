"""Why a dataset is not there yet, or that it is."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from support.client_site import ClientSite
from support.client_site.commands import Run
from support.on_the_way import BEGAN, SIZE, log_entry, receipt, route, transfer

from librarian.api.common.v1 import common_pb2
from librarian.api.transfer.v1 import transfer_pb2
from librarian.cli.exits import ExitCode
from librarian.cli.explain_text import is_there, print_explained
from librarian.cli.output import Output
from librarian.errors import NameTaken
from librarian.messages import timestamp

NOW = BEGAN + timedelta(minutes=12)


@pytest.fixture
def name(site: ClientSite, tmp_path: Path) -> str:
    (tmp_path / "x").write_bytes(b"x")
    return site.state.keep("satp3/obs/1", tmp_path / "x").name


def there() -> transfer_pb2.Explanation:
    return transfer_pb2.Explanation(
        destination="nersc", standing=transfer_pb2.STANDING_THERE, receipt=receipt("nersc")
    )


def told(explanation: transfer_pb2.Explanation, capsys: pytest.CaptureFixture[str]) -> str:
    """On lines without their alignment."""
    answer = transfer_pb2.ExplainDatasetResponse(name="n", explanations=[explanation])
    print_explained(answer, NOW, Output(as_json=False))
    out = capsys.readouterr().out
    return "\n".join(" ".join(line.split()) for line in out.splitlines())


def test_there(capsys: pytest.CaptureFixture[str]) -> None:
    text = told(there(), capsys)
    assert "at nersc: it is there" in text
    assert "receipt of nersc, store tape (archive): every byte re-read on 2026-11-22 18:00" in text
    assert "failure domain silo 4" in text


def test_on_its_way(capsys: pytest.CaptureFixture[str]) -> None:
    text = told(
        transfer_pb2.Explanation(
            destination="nersc",
            standing=transfer_pb2.STANDING_ON_ITS_WAY,
            summary="its bytes are being moved",
            since_time=timestamp(BEGAN),
            next_step="the receiver re-reads it",
            transfer=transfer(1, "moving", moved_bytes=SIZE // 4, bytes_per_second=5_000_000),
            routes=[transfer_pb2.RouteVerdict(route=route(1, "nersc", "satp3/**"), matches=True)],
            log=[
                log_entry("PLANNED", "by the route"),
                log_entry("OFFERED", "in a batch of 3", after_seconds=2),
            ],
        ),
        capsys,
    )
    assert text.splitlines()[2:] == [
        "at nersc: on its way",
        "its bytes are being moved",
        "route satp3/** to nersc by stream",
        "now moving, 250 MB of 1.00 GB (25 %), 5.00 MB/s",
        "since 2026-11-22 18:00 (12 m 00 s)",
        "next the receiver re-reads it",
        "so far",
        "2026-11-22 18:00:00 planned by the route",
        "2026-11-22 18:00:02 offered in a batch of 3",
    ]


def test_waiting_for_a_time(capsys: pytest.CaptureFixture[str]) -> None:
    text = told(
        transfer_pb2.Explanation(
            destination="nersc",
            standing=transfer_pb2.STANDING_WAITING,
            waits_for="the link to nersc",
            next_step="it is offered again",
            next_time=timestamp(NOW + timedelta(seconds=30)),
        ),
        capsys,
    )
    assert "waits for the link to nersc" in text
    assert "next it is offered again, at 2026-11-22 18:12 (in 30 s)" in text


def test_a_paused_route_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    paused = route(1, "nersc", "**", paused=True)
    text = told(
        transfer_pb2.Explanation(
            destination="nersc",
            standing=transfer_pb2.STANDING_WAITING,
            waits_for="its route is paused",
            routes=[transfer_pb2.RouteVerdict(route=paused, matches=True)],
        ),
        capsys,
    )
    assert "route ** to nersc by stream (paused)" in text
    assert f"to do `librarian route resume {paused.route_id}`" in text


def test_held_says_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    held = transfer(3, "held", trouble=NameTaken("other bytes have that name"))
    text = told(
        transfer_pb2.Explanation(destination="nersc", standing=transfer_pb2.STANDING_HELD, transfer=held),
        capsys,
    )
    assert "NAME_TAKEN: other bytes have that name" in text
    assert "what to do: a name means one thing for ever" in text
    assert f"librarian transfer retry {held.transfer_id}" in text
    assert "route to nersc by stream, since removed" in text


def test_a_trouble_is_told_once_and_the_site_s_word_does_not_hide_the_command(
    capsys: pytest.CaptureFixture[str],
) -> None:
    held = transfer(3, "held", trouble=NameTaken("other bytes have that name"))
    explanation = transfer_pb2.Explanation(
        destination="nersc",
        standing=transfer_pb2.STANDING_HELD,
        summary="NAME_TAKEN: other bytes have that name",
        next_step="retry it when mended",
        transfer=held,
    )
    text = told(explanation, capsys)
    assert text.count("NAME_TAKEN") == 1
    assert "next retry it when mended" in text
    assert f"to do `librarian transfer retry {held.transfer_id}`" in text


def test_no_route_says_why_of_each(capsys: pytest.CaptureFixture[str]) -> None:
    text = told(
        transfer_pb2.Explanation(
            destination="nersc",
            standing=transfer_pb2.STANDING_NO_ROUTE,
            routes=[
                transfer_pb2.RouteVerdict(route=route(1, "nersc", "hk/**"), reason="the name does not match"),
                transfer_pb2.RouteVerdict(
                    route=route(2, "nersc", "**", tags={"kind": "raw"}), reason="it has no tag kind"
                ),
            ],
        ),
        capsys,
    )
    assert "no route matches, because" in text
    assert "hk/** to nersc by stream: the name does not match" in text
    assert "** kind=raw to nersc by stream: it has no tag kind" in text
    assert "librarian route add --to nersc" in text


@pytest.mark.parametrize("standing", transfer_pb2.Standing.values())
def test_every_standing_is_told_and_only_there_is_there(
    standing: transfer_pb2.Standing.ValueType, capsys: pytest.CaptureFixture[str]
) -> None:
    explanation = transfer_pb2.Explanation(destination="nersc", standing=standing)
    assert told(explanation, capsys).splitlines()[2].removeprefix("at nersc: ")
    answer = transfer_pb2.ExplainDatasetResponse(explanations=[explanation])
    assert is_there(answer) is (standing == transfer_pb2.STANDING_THERE)
    answer.explanations.append(there())
    assert is_there(answer) is (standing == transfer_pb2.STANDING_THERE)


def test_the_exit_code_tells_whether_it_is_there(lib: Run, site: ClientSite, name: str) -> None:
    site.transfer.explanations = [
        there(),
        transfer_pb2.Explanation(destination="moon", standing=transfer_pb2.STANDING_WAITING),
    ]
    said = lib("explain", name, "--at", "nersc", "--json")
    assert said.code == ExitCode.DONE
    [explained] = said.value["explanations"]
    assert explained["standing"] == "STANDING_THERE"
    assert explained["receipt_statement"]["site"] == "nersc"
    assert explained["receipt_statement"]["failure_domain"] == "silo 4"
    assert lib("explain", name, "--at", "moon").code == ExitCode.FAILED
    assert lib("explain", f"{name}/").code == ExitCode.FAILED
    words = lib("explain", name, "--at", "elsewhere")
    assert words.code == ExitCode.FAILED
    assert "librarian route add" in words.out
    assert lib("explain", "nothing", "--json").error["reason"] == "DATASET_NOT_FOUND"


def test_a_receipt_that_cannot_be_read_hides_nothing_else(lib: Run, site: ClientSite, name: str) -> None:
    explanation = there()
    explanation.receipt.CopyFrom(common_pb2.Signed(type="librarian.receipt", payload=b"\xff"))
    site.transfer.explanations = [explanation]
    assert "it is there" in lib("explain", name).out
    assert lib("explain", name, "--json").value["explanations"][0]["receipt_statement"] is None
