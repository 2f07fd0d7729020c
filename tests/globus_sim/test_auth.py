"""Tokens, consents and sessions, by the SDK's own clients."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import globus_sdk
import pytest
import requests
from globus_sdk.transport import RetryConfig
from support.globus import TRANSFER, SimulatedGlobus

from .conftest import Lab

SERVER = "transfer.api.globus.org"


def data_access(collection_id: str) -> str:
    return f"{TRANSFER}[*https://auth.globus.org/scopes/{collection_id}/data_access]"


def test_wrong_credentials(sim: SimulatedGlobus) -> None:
    client = sim.client()
    for name, secret in ((client["client_id"], "wrong"), ("nobody", client["secret"])):
        auth = sim.auth_client({"client_id": name, "secret": secret})
        with pytest.raises(globus_sdk.AuthAPIError) as raised:
            auth.oauth2_client_credentials_tokens(requested_scopes=TRANSFER)
        assert raised.value.http_status == 401


def test_a_token_lasts_two_days(lab: Lab) -> None:
    lab.transfer.get_submission_id()
    lab.sim.advance(172_801)
    with pytest.raises(globus_sdk.TransferAPIError) as raised:
        lab.transfer.get_submission_id()
    assert (raised.value.http_status, raised.value.code) == (401, "ClientError.AuthenticationFailed")


def test_an_expired_token_is_renewed_by_its_authorizer(lab: Lab) -> None:
    auth = lab.sim.auth_client(lab.client)
    transfer = globus_sdk.TransferClient(
        authorizer=globus_sdk.ClientCredentialsAuthorizer(auth, TRANSFER),
        base_url=lab.sim.url,
        retry_config=RetryConfig(max_retries=1),
    )
    transfer.get_submission_id()
    lab.sim.control("tokens/expire")
    assert transfer.get_submission_id().http_status == 200


def test_a_native_application_with_a_refresh_token(sim: SimulatedGlobus, tmp_path: Path) -> None:
    collection = sim.collection(tmp_path / "mapped", mapped=True)
    native = globus_sdk.NativeAppAuthClient(sim.client(native=True)["client_id"], base_url=sim.url)
    native.oauth2_start_flow(requested_scopes=data_access(collection), refresh_tokens=True)
    url = native.oauth2_get_authorize_url()
    code = requests.get(url, timeout=30).text.strip()
    with pytest.raises(globus_sdk.AuthAPIError):
        native.oauth2_exchange_code_for_tokens("made-up")
    tokens = native.oauth2_exchange_code_for_tokens(code).by_resource_server[SERVER]
    with pytest.raises(globus_sdk.AuthAPIError):
        native.oauth2_exchange_code_for_tokens(code)
    authorizer = globus_sdk.RefreshTokenAuthorizer(tokens["refresh_token"], native)
    transfer = globus_sdk.TransferClient(authorizer=authorizer, base_url=sim.url)
    assert not list(transfer.operation_ls(collection))
    assert parse_qs(urlsplit(url).query)["access_type"] == ["offline"]
    sim.control("tokens/expire", kinds=["access", "refresh"])
    with pytest.raises(globus_sdk.AuthAPIError) as raised:
        transfer.get_submission_id()
    assert (raised.value.http_status, raised.value.raw_json["error"]) == (400, "invalid_grant")  # type: ignore[index]


def test_data_access_is_asked_for_on_mapped_collections_only(lab: Lab) -> None:
    mapped = lab.sim.collection(lab.root / "mapped", mapped=True)
    with pytest.raises(globus_sdk.TransferAPIError) as raised:
        lab.transfer.operation_ls(mapped)
    consent = raised.value.info.consent_required
    assert raised.value.code == "ConsentRequired"
    assert consent.required_scopes == [data_access(mapped)]
    allowed = lab.sim.transfer_client(lab.client, *consent.required_scopes)
    assert not list(allowed.operation_ls(mapped))
    lab.sim.control("consents", collection_id=mapped, given=False)
    with pytest.raises(globus_sdk.TransferAPIError) as raised:
        allowed.operation_ls(mapped)
    assert raised.value.info.consent_required
    lab.sim.control("consents", collection_id=mapped, given=True)
    assert not list(allowed.operation_ls(mapped))
    with pytest.raises(globus_sdk.AuthAPIError) as refused:
        lab.sim.transfer_client(lab.client, data_access(lab.here))
    assert (refused.value.http_status, refused.value.raw_json["error"]) == (400, "unknown_scope")  # type: ignore[index]


def test_a_session_of_a_person_is_wanted(lab: Lab) -> None:
    strict = lab.sim.collection(lab.root / "strict", high_assurance=True)
    with pytest.raises(globus_sdk.TransferAPIError) as raised:
        lab.transfer.operation_ls(strict)
    parameters = raised.value.info.authorization_parameters
    assert raised.value.http_status == 403
    assert parameters.session_required_identities == [lab.client["client_id"]]


def test_auth_is_out(lab: Lab) -> None:
    fault = lab.sim.fault("auth_down")
    with pytest.raises(globus_sdk.AuthAPIError) as raised:
        lab.sim.transfer_client(lab.client)
    assert raised.value.http_status == 503
    assert lab.transfer.get_submission_id().http_status == 200, "tokens that are there go on counting"
    lab.sim.mend(fault)
    lab.sim.transfer_client(lab.client)


def test_tokens_are_looked_into_and_taken_back(lab: Lab) -> None:
    auth = lab.sim.auth_client(lab.client)
    token = auth.oauth2_client_credentials_tokens(requested_scopes=TRANSFER)
    value = token.by_resource_server[SERVER]["access_token"]
    assert auth.oauth2_token_introspect(value)["active"] is True
    auth.oauth2_revoke_token(value)
    assert auth.oauth2_token_introspect(value)["active"] is False
    answer = requests.get(f"{lab.sim.url}/v2/oauth2/userinfo", timeout=30)
    assert (answer.status_code, answer.json()["error"]) == (401, "unauthorized")
