"""Where the SDK ships an answer of the real service, ours has the same keys and types."""

from __future__ import annotations

import json
from typing import Any

import globus_sdk
import pytest
from globus_sdk.testing import get_response_set
from support.globus import TRANSFER

from .conftest import Lab


def canned(name: str, case: str = "default") -> dict[str, Any]:
    response = get_response_set(name).lookup(case)
    found: dict[str, Any] = json.loads(json.dumps(response.json))
    return found


def alike(ours: dict[str, Any], theirs: dict[str, Any], *, without: set[str] = frozenset()) -> None:  # type: ignore[assignment]
    """Null fits anything: the canned ones are of one moment."""
    missing = set(theirs) - set(ours) - without
    assert not missing, f"missing: {missing}"
    for key, theirs_value in theirs.items():
        if key in without or theirs_value is None or ours[key] is None:
            continue
        assert type(ours[key]) is type(theirs_value), key
        if isinstance(theirs_value, dict):
            alike(ours[key], theirs_value)


def test_submissions_and_tasks(lab: Lab) -> None:
    lab.write("f")
    submission = lab.transfer.get_submission_id().data
    alike(submission, canned("transfer.get_submission_id"))
    result = lab.transfer.submit_transfer(lab.data("/f")).data
    alike(result, canned("transfer.submit_transfer"))
    lab.until(result["task_id"], status="SUCCEEDED")
    listed = lab.transfer.task_list().data
    alike(listed, canned("transfer.task_list"))
    [task], [known] = listed["DATA"], canned("transfer.task_list")["DATA"]
    alike(task, known)
    alike(lab.task(result["task_id"]), known)
    alike(lab.transfer.cancel_task(result["task_id"]).data, canned("transfer.cancel_task"))
    data = globus_sdk.DeleteData(endpoint=lab.here)
    data["submission_id"] = lab.transfer.get_submission_id()["value"]
    data.add_item("/f")
    alike(lab.transfer.submit_delete(data).data, canned("transfer.submit_delete"))


def test_operations(lab: Lab) -> None:
    lab.write("f")
    alike(lab.transfer.operation_mkdir(lab.there, path="/new").data, canned("transfer.operation_mkdir"))
    rename = lab.transfer.operation_rename(lab.there, oldpath="/new", newpath="/newer")
    alike(rename.data, canned("transfer.operation_rename"))
    alike(lab.transfer.operation_stat(lab.here, path="/f").data, canned("transfer.operation_stat"))
    endpoint = canned("transfer.get_endpoint")
    # A collection of today has none of the servers, activations and set-up keys of a host of version 4.
    old = {"DATA", "activated", "expires_in", "expire_time", "myproxy_server", "myproxy_dn", "oauth_server"}
    old |= {"s3_url", "s3_owner_activated", "host_endpoint_id", "globus_connect_setup_key"}
    old |= {"disable_anonymous_writes", "french_english_bilingual"}
    alike(lab.transfer.get_endpoint(lab.here).data, endpoint, without=old)


@pytest.mark.parametrize("case", ["not_found", "permission_denied"])
def test_refused_operations(lab: Lab, case: str) -> None:
    (lab.root / "here/out").symlink_to("/")
    path = "/nowhere" if case == "not_found" else "/out/etc"
    with pytest.raises(globus_sdk.TransferAPIError) as raised:
        lab.transfer.operation_stat(lab.here, path=path)
    assert raised.value.raw_json is not None
    theirs = get_response_set("transfer.operation_stat").lookup(case)
    alike(raised.value.raw_json, json.loads(json.dumps(theirs.json)))
    assert (raised.value.http_status, raised.value.code) == (theirs.status, theirs.json["code"])


def test_refused_submissions(lab: Lab) -> None:
    with pytest.raises(globus_sdk.TransferAPIError) as raised:
        lab.transfer.submit_transfer(lab.data())
    theirs = canned("transfer.submit_transfer", "failure")
    assert raised.value.raw_json is not None
    alike(raised.value.raw_json, theirs)
    assert (raised.value.code, raised.value.message) == (theirs["code"], theirs["message"])


def test_tokens(lab: Lab) -> None:
    auth = lab.sim.auth_client(lab.client)
    tokens = auth.oauth2_client_credentials_tokens(requested_scopes=TRANSFER)
    alike(tokens.data, canned("auth.oauth2_client_credentials_tokens"))
    told = auth.oauth2_token_introspect(tokens.data["access_token"]).data
    alike(told, canned("auth.oauth2_token_introspect"))
