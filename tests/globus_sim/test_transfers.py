"""Tasks as the real SDK submits and watches them, and the bytes they bring."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import globus_sdk
import pytest
from support.eventually import eventually_blocking
from support.globus import SimulatedGlobus

from .conftest import Lab


def test_files_and_trees_arrive_as_they_are(lab: Lab) -> None:
    content = os.urandom(3_000_000)
    lab.write("book/deep/large", content)
    lab.write("book/empty", b"")
    lab.write("single", b"one")
    (lab.root / "here/book/nothing").mkdir()
    (lab.root / "here/book/link").symlink_to("empty")
    task = lab.until(lab.submit("/book/", "/single", label="first"), status="SUCCEEDED")
    assert lab.arrived("book/deep/large").read_bytes() == content
    assert (lab.arrived("single").read_bytes(), lab.arrived("book/empty").read_bytes()) == (b"one", b"")
    assert lab.arrived("book/nothing").is_dir()
    assert not os.path.lexists(lab.arrived("book/link")), "links are ignored unless asked for"
    assert (task["files"], task["files_transferred"], task["directories"]) == (3, 3, 3)
    assert (task["bytes_transferred"], task["faults"], task["label"]) == (3_000_003, 0, "first")
    assert (task["nice_status"], task["is_ok"]) == (None, None)
    assert lab.codes(str(task["task_id"])) == ["STARTED", "SUCCEEDED"]
    told = list(lab.transfer.task_successful_transfers(str(task["task_id"])))
    assert {each["destination_path"] for each in told} == {"/book/deep/large", "/book/empty", "/single"}


def test_times_are_kept_when_asked(lab: Lab) -> None:
    os.utime(lab.write("f"), ns=(10**18, 10**18))
    lab.until(lab.submit("/f", preserve_timestamp=True), status="SUCCEEDED")
    assert lab.arrived("f").stat().st_mtime_ns == 10**18


def test_one_submission_is_one_task(lab: Lab) -> None:
    lab.write("f")
    data = lab.data("/f")
    first, again = lab.transfer.submit_transfer(data), lab.transfer.submit_transfer(data)
    assert (first.http_status, first["code"]) == (202, "Accepted")
    assert (again.http_status, again["code"]) == (200, "Duplicate")
    assert first["task_id"] == again["task_id"]
    lab.until(first["task_id"], status="SUCCEEDED")
    assert lab.transfer.submit_transfer(data)["code"] == "Duplicate", "also when it is over"


def refused(lab: Lab, data: globus_sdk.TransferData) -> tuple[int, str]:
    with pytest.raises(globus_sdk.TransferAPIError) as raised:
        lab.transfer.submit_transfer(data)
    assert raised.value.code is not None
    return raised.value.http_status, raised.value.code


def test_what_is_refused(lab: Lab) -> None:
    lab.write("f")
    assert refused(lab, lab.data()) == (400, "ClientError.BadRequest.NoTransferItems")
    unknown = lab.data("/f")
    unknown["submission_id"] = "00000000-0000-4000-8000-000000000000"
    assert refused(lab, unknown)[0] == 400
    elsewhere = lab.data("/f")
    elsewhere["destination_endpoint"] = "00000000-0000-4000-8000-000000000000"
    assert refused(lab, elsewhere) == (404, "EndpointNotFound")
    for field, value in (
        ("label", "two\nlines"),
        ("sync_level", 3),
        ("deadline", "1999-01-01"),
        ("speed", 1),
    ):
        wrong = lab.data("/f")
        wrong[field] = value
        assert refused(lab, wrong)[0] == 400


def test_identical_paths_wait_for_one_another(lab: Lab) -> None:
    lab.write("f")
    pause = lab.sim.fault("pause", collection_id=lab.there, message="maintenance until noon")
    first = lab.submit("/f")
    paused = lab.until(first, is_paused=True)
    assert (paused["status"], paused["nice_status_details"]) == ("ACTIVE", "maintenance until noon")
    assert lab.transfer.task_pause_info(first)["destination_pause_message"] == "maintenance until noon"
    assert refused(lab, lab.data("/f")) == (409, "Conflict")
    lab.sim.mend(pause)
    lab.until(first, status="SUCCEEDED", is_paused=False)
    lab.until(lab.submit("/f"), status="SUCCEEDED")


def test_three_at_a_time_and_a_hundred_pending(lab: Lab) -> None:
    for number in range(101):
        lab.write(f"f{number}")
    pause = lab.sim.fault("pause", collection_id=lab.there)
    tasks = [lab.submit(f"/f{number}") for number in range(100)]
    assert refused(lab, lab.data("/f100")) == (409, "ClientError.Conflict.TooManyPendingJobs")
    for task_id in tasks[:3]:
        lab.until(task_id, is_paused=True)
    queued = [lab.task(task_id) for task_id in tasks[3:6]]
    assert {(task["nice_status"], task["is_ok"]) for task in queued} == {("Queued", True)}
    listed = lab.transfer.task_list(limit=1000, filter={"status": "ACTIVE", "task_id": ",".join(tasks[:50])})
    assert {task["task_id"] for task in listed} == set(tasks[:50])
    cancelled = lab.transfer.cancel_task(tasks[-1])
    assert cancelled["code"] == "Canceled"
    lab.sim.mend(pause)
    for task_id in tasks[:-1]:
        lab.until(task_id, status="SUCCEEDED")
    ended = lab.task(tasks[-1])
    assert (ended["status"], ended["fatal_error"]) == (
        "FAILED",
        {"code": "CANCELED", "description": "canceled"},
    )
    assert lab.transfer.cancel_task(tasks[0])["code"] == "TaskComplete"


def test_a_checksum_that_was_told(lab: Lab) -> None:
    lab.write("good", b"good")
    lab.write("bad", b"bad")
    for name, status in (("good", "SUCCEEDED"), ("bad", "FAILED")):
        data = lab.data()
        digest = hashlib.sha256(b"good").hexdigest()
        data.add_item(f"/{name}", f"/{name}", external_checksum=digest, checksum_algorithm="SHA256")
        task = lab.until(lab.transfer.submit_transfer(data)["task_id"], status=status)
        fatal = task["fatal_error"]
        assert fatal is None if name == "good" else fatal["code"] == "CHECKSUM_MISMATCH"  # type: ignore[index]


def test_nothing_leads_out_of_a_collection(lab: Lab) -> None:
    (lab.root / "secret").write_bytes(b"secret")
    lab.write("f")
    (lab.root / "here/out").symlink_to(lab.root)
    for path in ("/../secret", "/out/secret"):
        task_id = lab.submit(path)
        lab.until(task_id, nice_status="PERMISSION_DENIED")
        lab.transfer.cancel_task(task_id)
        with pytest.raises(globus_sdk.TransferAPIError) as raised:
            lab.transfer.operation_stat(lab.here, path=path)
        assert raised.value.http_status == 403


def test_operations(lab: Lab) -> None:
    lab.write("a/f", b"12345")
    assert [each["name"] for each in lab.transfer.operation_ls(lab.here, path="/a")] == ["f"]
    assert lab.transfer.operation_stat(lab.here, path="/a/f")["size"] == 5
    assert lab.transfer.operation_mkdir(lab.there, path="/new")["code"] == "DirectoryCreated"
    with pytest.raises(globus_sdk.TransferAPIError) as raised:
        lab.transfer.operation_mkdir(lab.there, path="/new")
    assert raised.value.code == "ExternalError.MkdirFailed.Exists"
    assert lab.transfer.operation_rename(lab.there, oldpath="/new", newpath="/newer")["code"] == "FileRenamed"
    assert lab.arrived("newer").is_dir()
    with pytest.raises(globus_sdk.TransferAPIError) as raised:
        lab.transfer.operation_ls(lab.here, path="/nowhere")
    assert raised.value.http_status == 404
    lab.sim.collection(lab.root / "there", collection_id=lab.there, writable=False)
    with pytest.raises(globus_sdk.TransferAPIError) as raised:
        lab.transfer.operation_mkdir(lab.there, path="/no")
    assert raised.value.http_status == 403


def test_deletions(lab: Lab) -> None:
    lab.write("book/f")
    data = globus_sdk.DeleteData(endpoint=lab.here, recursive=True)
    data["submission_id"] = lab.transfer.get_submission_id()["value"]
    data.add_item("/book")
    lab.until(lab.transfer.submit_delete(data)["task_id"], status="SUCCEEDED")
    assert not (lab.root / "here/book").exists()
    data["submission_id"] = lab.transfer.get_submission_id()["value"]
    task = lab.until(lab.transfer.submit_delete(data)["task_id"], status="FAILED")
    assert task["fatal_error"]["code"] == "FILE_NOT_FOUND"  # type: ignore[index]


def test_others_see_nothing_of_it(lab: Lab) -> None:
    lab.write("f")
    task_id = lab.submit("/f")
    stranger = lab.sim.transfer_client(lab.sim.client())
    with pytest.raises(globus_sdk.TransferAPIError) as raised:
        stranger.get_task(task_id)
    assert raised.value.http_status == 404
    assert not list(stranger.task_list())


def test_killed_in_the_middle_it_goes_on(tmp_path: Path) -> None:
    with SimulatedGlobus(tmp_path / "state", "--bandwidth", "4000000", "--requests-per-second", "0") as sim:
        client = sim.client()
        here, there = sim.collection(tmp_path / "here"), sim.collection(tmp_path / "there")
        transfer = sim.transfer_client(client)
        lab = Lab(sim, tmp_path, here, there, client, transfer)
        content = os.urandom(8_000_000)
        lab.write("large", content)
        data = lab.data("/large")
        task_id = transfer.submit_transfer(data)["task_id"]
        eventually_blocking(lambda: lab.task(task_id)["bytes_transferred"] > 0, timeout=60.0, what="it moves")  # type: ignore[operator]
        sim.kill()
        sim.start()
        assert transfer.submit_transfer(data)["code"] == "Duplicate"
        lab.until(task_id, status="SUCCEEDED")
        assert lab.arrived("large").read_bytes() == content
        assert sim.stop() == 0
