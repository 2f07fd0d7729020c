"""Each fault that can be scripted, as the SDK meets it."""

from __future__ import annotations

import os
import urllib.error
from pathlib import Path

import globus_sdk
import pytest
import requests
from support.globus import SimulatedGlobus

from .conftest import Lab

DAY = 86_400.0


def test_a_missing_file_is_active_with_faults_until_the_deadline(lab: Lab) -> None:
    lab.write("there")
    task_id = lab.submit("/there", "/missing")
    task = lab.until(task_id, nice_status="FILE_NOT_FOUND", files_transferred=1)
    assert (task["status"], task["is_ok"]) == ("ACTIVE", False)
    assert isinstance(task["faults"], int)
    assert task["faults"] > 0
    lab.sim.advance(4 * DAY)
    lab.transfer = lab.sim.transfer_client(lab.client)
    ended = lab.until(task_id, status="FAILED")
    assert ended["fatal_error"]["code"] == "EXPIRED"  # type: ignore[index]
    assert lab.codes(task_id)[-1] == "EXPIRED"
    assert lab.arrived("there").exists(), "what arrived stays"


@pytest.mark.parametrize("kind", ["file_not_found", "permission_denied", "no_space_left", "quota_exceeded"])
def test_a_fault_of_a_file_passes(lab: Lab, kind: str) -> None:
    lab.write("good")
    lab.write("bad")
    fault = lab.sim.fault(kind, collection_id=lab.there, path="/bad")
    task_id = lab.submit("/good", "/bad")
    lab.until(task_id, nice_status=kind.upper(), files_transferred=1)
    lab.sim.mend(fault)
    task = lab.until(task_id, status="SUCCEEDED")
    assert task["faults"] != 0, "faults are no failure"
    assert kind.upper() in lab.codes(task_id)


def test_a_quota_can_be_final_and_a_source_can_be_skipped(lab: Lab) -> None:
    lab.write("f")
    lab.sim.fault("quota_exceeded", path="/f", collection_id=lab.there)
    task = lab.until(lab.submit("/f", fail_on_quota_errors=True), status="FAILED")
    assert task["fatal_error"]["code"] == "QUOTA_EXCEEDED"  # type: ignore[index]
    skipped = lab.until(lab.submit("/none", skip_source_errors=True), status="SUCCEEDED")
    assert (skipped["files_skipped"], skipped["files_transferred"]) == (1, 0)
    [told] = list(lab.transfer.task_skipped_errors(str(skipped["task_id"])))
    assert (told["source_path"], told["error_code"]) == ("/none", "FILE_NOT_FOUND")


def test_bytes_that_go_wrong(lab: Lab) -> None:
    lab.write("seen", b"seen")
    lab.write("unseen", b"unseen")
    lab.sim.fault("checksum_mismatch", path="/seen", count=1, collection_id=lab.there)
    lab.sim.fault("byte_rot", path="/unseen", count=1, collection_id=lab.there)
    task = lab.until(lab.submit("/seen", "/unseen"), status="SUCCEEDED")
    assert task["faults"] == 1
    assert lab.arrived("seen").read_bytes() == b"seen"
    assert lab.arrived("unseen").read_bytes() != b"unseen", "behind Globus's back"


def test_an_endpoint_that_is_down(lab: Lab) -> None:
    lab.write("f")
    fault = lab.sim.fault("endpoint_down", collection_id=lab.there)
    task_id = lab.submit("/f")
    lab.until(task_id, nice_status="CONNECT_FAILED")
    with pytest.raises(globus_sdk.TransferAPIError) as raised:
        lab.transfer.operation_ls(lab.there)
    assert (raised.value.http_status, raised.value.code) == (
        502,
        "ExternalError.DirListingFailed.GCDisconnected",
    )
    lab.sim.mend(fault)
    lab.until(task_id, status="SUCCEEDED")


def test_the_reply_is_lost_and_the_task_is_made(lab: Lab) -> None:
    lab.write("f")
    lab.sim.fault("reply_lost", path="POST /v0.10/transfer", count=1)
    data = lab.data("/f")
    with pytest.raises(globus_sdk.NetworkError):
        lab.transfer.submit_transfer(data)
    again = lab.transfer.submit_transfer(data)
    assert again["code"] == "Duplicate"
    lab.until(again["task_id"], status="SUCCEEDED")


@pytest.mark.parametrize("status", [429, 503])
def test_answers_that_say_later(lab: Lab, status: int) -> None:
    lab.sim.fault("http_error", path="GET /v0.10/task_list", status=status, retry_after=7, count=1)
    with pytest.raises(globus_sdk.TransferAPIError) as raised:
        lab.transfer.task_list()
    assert (raised.value.http_status, raised.value.headers["Retry-After"]) == (status, "7")
    assert lab.transfer.task_list().http_status == 200


def test_a_cancel_that_comes_late(lab: Lab) -> None:
    lab.write("f")
    pause = lab.sim.fault("pause", collection_id=lab.there)
    task_id = lab.submit("/f")
    lab.until(task_id, is_paused=True)
    lab.sim.fault("cancel_late", count=1, collection_id=lab.there)
    assert lab.transfer.cancel_task(task_id)["code"] == "CancelAccepted"
    lab.sim.mend(pause)
    lab.until(task_id, status="SUCCEEDED")


def test_what_is_cancelled_while_it_moves(tmp_path: Path) -> None:
    with SimulatedGlobus(tmp_path / "state", "--bandwidth", "2000000", "--requests-per-second", "0") as sim:
        client = sim.client()
        here, there = sim.collection(tmp_path / "here"), sim.collection(tmp_path / "there")
        lab = Lab(sim, tmp_path, here, there, client, sim.transfer_client(client))
        lab.write("large", os.urandom(40_000_000))
        task_id = lab.submit("/large")
        lab.until(task_id, nice_status="OK")
        assert lab.transfer.cancel_task(task_id)["code"] in ("Canceled", "CancelAccepted")
        task = lab.until(task_id, status="FAILED")
        assert task["fatal_error"]["code"] == "CANCELED"  # type: ignore[index]
        assert lab.codes(task_id)[-1] == "CANCELED"


def test_an_administrator_and_a_short_memory(lab: Lab) -> None:
    lab.sim.fault("pause", collection_id=lab.there)
    tasks = []
    for number in range(3):
        lab.write(f"f{number}")
        tasks.append(lab.submit(f"/f{number}"))
        lab.until(tasks[-1], is_paused=True)
    lab.sim.control(f"tasks/{tasks[0]}", what="cancel")
    assert lab.until(tasks[0], status="FAILED")["canceled_by_admin"] == "DESTINATION"
    lab.sim.control(f"tasks/{tasks[1]}", what="expire")
    assert lab.until(tasks[1], status="FAILED")["fatal_error"]["code"] == "EXPIRED"  # type: ignore[index]
    lab.sim.control(f"tasks/{tasks[2]}", what="forget")
    with pytest.raises(globus_sdk.TransferAPIError) as raised:
        lab.transfer.get_task(tasks[2])
    assert raised.value.http_status == 404
    assert tasks[2] not in {task["task_id"] for task in lab.transfer.task_list(limit=100)}


def test_too_many_requests(tmp_path: Path) -> None:
    with SimulatedGlobus(tmp_path / "state", "--requests-per-second", "5") as sim:
        transfer = sim.transfer_client(sim.client())
        codes = []
        for _ in range(30):
            try:
                codes.append(transfer.get_submission_id().http_status)
            except globus_sdk.TransferAPIError as error:
                codes.append(error.http_status)
        assert 429 in codes
        assert codes.count(200) >= 5


def test_slow_answers(lab: Lab) -> None:
    lab.sim.fault("slow_answer", path="GET /v0.10/submission_id", seconds=5.0, count=1)
    with pytest.raises(requests.exceptions.ReadTimeout):
        requests.get(f"{lab.sim.url}/v0.10/submission_id", timeout=0.1)
    lab.sim.fault("slow_listing", collection_id=lab.here, seconds=5.0, count=1)
    token = lab.transfer.authorizer.get_authorization_header()  # type: ignore[union-attr]
    url = f"{lab.sim.url}/v0.10/operation/endpoint/{lab.here}/ls"
    with pytest.raises(requests.exceptions.ReadTimeout):
        requests.get(url, headers={"Authorization": token}, timeout=0.5)


@pytest.mark.parametrize("bad", ["/missing/", "/" + "x" * 300])
def test_one_bad_item_never_stops_the_others(lab: Lab, bad: str) -> None:
    lab.write("good")
    task_id = lab.submit(bad, "/good")
    task = lab.until(task_id, files_transferred=1)
    assert task["status"] == "ACTIVE"
    assert lab.arrived("good").exists()
    lab.until(task_id, is_ok=False)
    lab.transfer.cancel_task(task_id)
    lab.until(task_id, status="FAILED")


def test_history_is_forgotten_after_a_month(lab: Lab) -> None:
    lab.write("f")
    task_id = lab.submit("/f")
    lab.until(task_id, status="SUCCEEDED")
    lab.sim.advance(31 * DAY)
    lab.transfer = lab.sim.transfer_client(lab.client)
    with pytest.raises(globus_sdk.TransferAPIError) as raised:
        lab.task(task_id)
    assert raised.value.http_status == 404


def test_a_wrong_script_is_told(sim: SimulatedGlobus) -> None:
    with pytest.raises(urllib.error.HTTPError) as raised:
        sim.control("faults", kind="gremlins")
    with raised.value as answer:
        assert answer.code == 400
        assert b"byte_rot" in answer.read()
    with pytest.raises(urllib.error.HTTPError) as raised:
        sim.control("collections", nmae="x")
    with raised.value as answer:
        assert b"unknown: nmae" in answer.read()


def test_the_controls_want_their_token(sim: SimulatedGlobus, tmp_path: Path) -> None:
    made = {"root": str(tmp_path), "name": "x"}
    answer = requests.post(f"{sim.url}/control/collections", json=made, timeout=30)
    assert answer.status_code == 401
    assert (sim.state / "control-token").stat().st_mode & 0o777 == 0o600
