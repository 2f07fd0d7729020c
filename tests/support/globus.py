"""The simulated Globus as a process, and the real SDK's clients of it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import globus_sdk
from globus_sdk.transport import RetryConfig

TRANSFER = "urn:globus:auth:scope:transfer.api.globus.org:all"


class SimulatedGlobus:
    """`options`: of the command line. Started by `with`; `kill` and `start` again keep what it knows."""

    def __init__(self, state: Path, *options: str) -> None:
        self.state = state
        self.url = ""
        self._options = options
        self._control_token = ""
        self._listen = "127.0.0.1:0"
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """At the address it had before."""
        command = [sys.executable, "-m", "globus_sim", "--state", str(self.state), "--listen", self._listen]
        self._process = subprocess.Popen([*command, *self._options], stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        # Ends without a line where it cannot start.
        ready = json.loads(self._process.stdout.readline() or "{}")
        assert ready, "the simulator has not started"
        self.url, self._control_token = ready["url"], ready["control_token"]
        self._listen = self.url.removeprefix("http://")

    def stop(self) -> int:
        return self._end(signal.SIGTERM)

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def _end(self, number: int) -> int:
        if self._process is None:
            return 0
        process, self._process = self._process, None
        process.send_signal(number)
        code = process.wait(timeout=30)
        assert process.stdout is not None
        process.stdout.close()
        return code

    def control(self, path: str, method: str = "POST", /, **body: Any) -> Any:
        request = urllib.request.Request(
            f"{self.url}/control/{path}",
            method=method,
            data=json.dumps(body).encode() if method != "GET" else None,
            headers={"Content-Type": "application/json", "Authorization": f"Control {self._control_token}"},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.loads(answer.read())

    def client(self, **fields: Any) -> dict[str, str]:
        """client_id and secret of a new application."""
        made: dict[str, str] = self.control("clients", **fields)
        return made

    def collection(self, root: Path, **fields: Any) -> str:
        """The id of a new one, that stands for `root`."""
        root.mkdir(parents=True, exist_ok=True)
        made = self.control("collections", root=str(root), **{"name": root.name, **fields})
        return str(made["collection_id"])

    def fault(self, kind: str, /, **fields: Any) -> str:
        return str(self.control("faults", kind=kind, **fields)["fault_id"])

    def mend(self, fault_id: str = "") -> None:
        """That fault, or all of them."""
        self.control(f"faults/{fault_id}".rstrip("/"), "DELETE")

    def advance(self, seconds: float) -> None:
        self.control("clock", seconds=seconds)

    def calls(self) -> dict[str, int]:
        found: dict[str, int] = self.control("calls", "GET")["calls"]
        return found

    def auth_client(self, client: dict[str, str]) -> globus_sdk.ConfidentialAppAuthClient:
        return globus_sdk.ConfidentialAppAuthClient(
            client["client_id"], client["secret"], base_url=self.url, retry_config=RetryConfig(max_retries=0)
        )

    def transfer_client(self, client: dict[str, str], *scopes: str) -> globus_sdk.TransferClient:
        """With an access token of its own; nothing is tried twice."""
        auth = self.auth_client(client)
        tokens = auth.oauth2_client_credentials_tokens(requested_scopes=list(scopes) or [TRANSFER])
        token = tokens.by_resource_server["transfer.api.globus.org"]["access_token"]
        return globus_sdk.TransferClient(
            authorizer=globus_sdk.AccessTokenAuthorizer(token),
            base_url=self.url,
            retry_config=RetryConfig(max_retries=0),
        )
