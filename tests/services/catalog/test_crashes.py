"""The catalog killed at each step of a publication: exactly one outcome, whatever the step."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from support.catalog_site import DIRECTORY, Catalog, Made, columns, member, settings_in
from support.eventually import eventually

from librarian.api.catalog.v1 import catalog_pb2 as pb
from librarian.errors import LibrarianError, Unavailable
from svckit.clock import SystemClock


@asynccontextmanager
async def process(config: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """The service as a process of its own, serving."""
    found = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "catalog_svc", "--config", str(config), stderr=asyncio.subprocess.PIPE
    )
    assert found.stderr is not None
    try:
        async with asyncio.timeout(60):
            while b"service_serving" not in (line := await found.stderr.readline()):
                assert line, "it ended before it served"
        yield found
    finally:
        if found.returncode is None:
            found.kill()
        # Also reads what is left, so that it cannot block on a full pipe.
        await found.communicate()


async def repeated(catalog: Catalog, request: pb.PublishDatasetsRequest) -> Sequence[pb.PublishVerdict]:
    """As a client would that does not know how the first time ended."""
    try:
        return (await catalog.stub.PublishDatasets(request)).verdicts
    except Unavailable as error:
        raise AssertionError(error.message) from error


async def test_killed_at_each_step_of_publishing(database_dsn: str, tmp_path: Path) -> None:
    settings = settings_in(tmp_path, database_dsn)
    faults = tmp_path / "faults"
    config = tmp_path / "site.toml"
    config.write_text(
        f'[catalog]\nlisten = "{settings.catalog.listen}"\ndsn = "{database_dsn}"\n'
        f'[auth]\nkeys_dir = "{settings.auth.keys_dir}"\n[faults]\nfile = "{faults}"\n'
    )
    plan = faults.with_name(f"{faults.name}.catalog")
    steps = 0
    while True:
        book, file = Made(f"book/{steps}", kind=DIRECTORY, members=1), Made(f"file/{steps}")
        request = pb.PublishDatasetsRequest(
            request_id=Catalog.new_id(), datasets=columns([book, file]), stores=["main", "main"]
        )
        async with AsyncExitStack() as stack:
            async with process(config) as running:
                catalog = await Catalog.speaking_to(settings, SystemClock(), stack)
                await catalog.add_members(book.uid, [member("a")])
                plan.write_text(json.dumps({"kill_at": steps + 1}))
                try:
                    await asyncio.wait_for(catalog.stub.PublishDatasets(request), 30)
                    survived = True
                except (LibrarianError, TimeoutError):
                    survived = False
                    await asyncio.wait_for(running.wait(), 10)
            if survived:
                break
            async with process(config):
                catalog = await Catalog.speaking_to(settings, SystemClock(), stack)
                verdicts = await eventually(
                    lambda catalog=catalog, request=request: repeated(catalog, request)
                )
                assert [each.outcome for each in verdicts] == [pb.PUBLISH_OUTCOME_PUBLISHED] * 2
                for made in (book, file):
                    assert (await catalog.get(made.name)).uid == made.uid
                    assert len(await catalog.events(dataset_uid=made.uid)) == 1
                assert len(await catalog.events()) == 2 * (steps + 1)
        steps += 1
    assert steps == 3, "before the log, after it, after the commit"
