"""Logs as they come out of a process."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

SCRIPT = """
import logging, sys
from svckit.sections import TelemetrySettings
from svckit.telemetry import configure_logging, get_logger
from svckit.tracing import set_traceparent
configure_logging(TelemetrySettings(log_format=sys.argv[1], log_level="info"))
log = get_logger("catalog")
log.debug("too_quiet")
log.info("plain", count=3)
set_traceparent("00-0123456789abcdef0123456789abcdef-0123456789abcdef-01")
token = "hunter" + "2" * 3
try:
    raise ValueError("broken")
except ValueError:
    log.exception("failed")
logging.getLogger("asyncio").warning("from %s", "elsewhere")
logging.getLogger("asyncio").info("too quiet")
"""


def output(log_format: str) -> str:
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT, log_format], capture_output=True, text=True, check=True, timeout=60
    )
    assert run.stdout == ""
    return run.stderr


def test_json_is_one_object_a_line() -> None:
    plain, failed, foreign = (json.loads(line) for line in output("json").splitlines())
    assert plain["event"] == "plain"
    assert plain["service"] == "catalog"
    assert plain["count"] == 3
    assert plain["level"] == "info"
    assert "trace_id" not in plain
    assert failed["trace_id"] == "0123456789abcdef0123456789abcdef"
    assert "ValueError" in failed["exception"]
    assert foreign["event"] == "from elsewhere"
    assert foreign["level"] == "warning"
    assert foreign["logger"] == "asyncio"


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_local_variables_stay_out_of_it(log_format: str) -> None:
    text = output(log_format)
    assert "broken" in text
    assert "hunter222" not in text
