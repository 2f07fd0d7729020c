"""A site comes back as it was yesterday: what it has forgotten is asked for, and nothing is sent twice."""

from __future__ import annotations

import asyncio
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest
from support.eventually import eventually, eventually_blocking
from support.paired import Sites, add_route, until_receipted

from librarian.testing.site import Site
from svckit.database import plain_dsn
from svckit.settings import load_settings

SIZE = 1_500_000


@pytest.fixture
def sites() -> Iterator[Sites]:
    with Sites() as sites:
        sites.start("mountain")
        sites.start("centre")
        sites.pair("mountain", "centre")
        add_route(sites["mountain"], "centre", "obs/**")
        yield sites


@pytest.mark.parametrize("restored", ["mountain", "centre"])
def test_from_a_backup_of_its_database(sites: Sites, tmp_path: Path, restored: str) -> None:
    """The disks are as they are; the database is of before the second dataset."""
    _put(sites, tmp_path, "obs/first")
    sites[restored].stop()
    backup = tmp_path / "backup"
    shutil.copytree(sites[restored].home / "pg", backup, symlinks=True)
    sites.up(restored)
    _put(sites, tmp_path, "obs/second")
    # The sender has looked at the receiver's log since: by that it will know a log that lost its end.

    with sites["centre"].blocking_client() as centre:
        published = max(event.cursor.sequence for event in centre.history("obs/second"))

    async def looked_again() -> bool:
        return await _log_seen(sites["mountain"]) >= published

    asyncio.run(eventually(looked_again))
    sites[restored].stop()
    shutil.rmtree(sites[restored].home / "pg")
    shutil.copytree(backup, sites[restored].home / "pg", symlinks=True)
    before = sites.wires["centre"].carried_bytes
    sites.up(restored)
    # Life goes on, and what was forgotten comes to be known again without being carried again.
    _put(sites, tmp_path, "obs/third")
    if restored == "mountain":
        # Its bytes lie there, and nobody knows of them: they are adopted, under a uid of their own.
        sites["mountain"].cli("register", "main", "--glob", "obs/second")
    with sites["mountain"].blocking_client() as mountain, sites["centre"].blocking_client() as centre:
        until_receipted(mountain, "obs/second", "centre")
        eventually_blocking(
            lambda: (
                {dataset.name for dataset in centre.ls("obs/")} == {"obs/first", "obs/second", "obs/third"}
            ),
            timeout=60,
            what="the centre knows them all again",
        )
    assert sites.wires["centre"].carried_bytes - before < SIZE * 1.5
    for name in ("obs/first", "obs/second", "obs/third"):
        there, here = sites["centre"].store_root / name, sites["mountain"].store_root / name
        assert there.read_bytes() == here.read_bytes()


def _put(sites: Sites, tmp_path: Path, name: str) -> None:
    data = tmp_path / name.replace("/", "-")
    data.write_bytes(secrets.token_bytes(SIZE))
    with sites["mountain"].blocking_client() as mountain:
        mountain.put(data, name)
        until_receipted(mountain, name, "centre")


async def _log_seen(site: Site) -> int:
    """How far the site has read the receipts of others: the sum over its peers."""
    settings = load_settings(["--config", str(site.home / "run" / "transfer.toml")])
    connection = await asyncpg.connect(plain_dsn(settings.transfer.dsn))
    try:
        seen = await connection.fetchval("SELECT sum(receipts_sequence) FROM transfer.links")
        return int(seen or 0)
    finally:
        await connection.close()
