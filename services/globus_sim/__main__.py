"""`python -m globus_sim --state DIR [--listen HOST:PORT]`: runs until SIGTERM."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import secrets
import signal
import sys
from contextlib import suppress
from pathlib import Path

from aiohttp import web

from globus_sim.server import Options, running


def main() -> int:
    options = _options()
    try:
        asyncio.run(_serve(options))
    except OSError as error:
        print(f"globus_sim: {error}", file=sys.stderr)  # noqa: T201 - a command
        return 1
    return 0


async def _serve(options: Options) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with running(options) as app:
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        try:
            site = web.TCPSite(runner, options.host, options.port)
            await site.start()
            host, port = runner.addresses[0][:2]
            ready = {"url": f"http://{host}:{port}", "control_token": options.control_token}
            print(json.dumps(ready), flush=True)  # noqa: T201 - for whoever started it
            await stop.wait()
        finally:
            await runner.cleanup()


def _control_token(state: Path) -> str:
    """Made once; only the owner of the state can read it."""
    state.mkdir(parents=True, exist_ok=True)
    place = state / "control-token"
    with suppress(FileExistsError):
        descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(24))
    return place.read_text()


def _options() -> Options:
    parser = argparse.ArgumentParser(prog="globus_sim", description=__doc__)
    parser.add_argument("--state", type=Path, required=True, help="directory for what must survive a restart")
    parser.add_argument("--listen", default="127.0.0.1:0", metavar="HOST:PORT", help="port 0: any free one")
    parser.add_argument("--latency", type=float, default=0.0, help="seconds added to each answer")
    parser.add_argument(
        "--bandwidth", type=float, default=0.0, help="bytes/s of all tasks together; 0: no limit"
    )
    parser.add_argument("--requests-per-second", type=float, default=20.0, help="of one client; 0: no limit")
    parser.add_argument("--retry-seconds", type=float, default=1.0, help="between tries of a file at fault")
    given = parser.parse_args()
    host, _, port = given.listen.rpartition(":")
    if not host or not port.isdigit():
        parser.error(f"--listen {given.listen}: HOST:PORT is wanted")
    return Options(
        state=given.state,
        control_token=_control_token(given.state),
        host=host,
        port=int(port),
        latency=given.latency,
        bandwidth=given.bandwidth,
        requests_per_second=given.requests_per_second,
        retry_seconds=given.retry_seconds,
    )


if __name__ == "__main__":
    sys.exit(main())
