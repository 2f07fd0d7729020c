"""A site comes up from nothing by the commands, settings and files of docker-compose.yml, and works."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest
from support.deployment.running import PROCESSES, ComposeSite
from support.eventually import eventually_blocking

from svckit.provision import SCHEMAS


@pytest.fixture
def site(tmp_path: Path, database_dsn: str) -> Iterator[ComposeSite]:
    site = ComposeSite("summit", tmp_path, database_dsn)
    yield site
    site.kill()
    asyncio.run(_drop_roles(database_dsn))


async def _drop_roles(dsn: str) -> None:
    connection = await asyncpg.connect(dsn)
    for schema in SCHEMAS:
        role = f"{urlsplit(dsn).path.lstrip('/')}_{schema}"
        if await connection.fetchval("SELECT 1 FROM pg_roles WHERE rolname = $1", role):
            await connection.execute(f'DROP OWNED BY "{role}" CASCADE; DROP ROLE "{role}"')
    await connection.close()


def done(site: ComposeSite, *command: str) -> str:
    ended = site.execute("gateway", *command)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def secrets_of(site: ComposeSite) -> set[str]:
    files = [path for path in (site.root / "secrets").rglob("*") if path.is_file() and path.suffix != ".pub"]
    files.append(site.path("gateway", "/var/lib/librarian/admin.token"))
    return {line for path in files for line in path.read_text().splitlines() if "-----" not in line}


def test_a_site_comes_up_holds_data_and_goes_down(site: ComposeSite, tmp_path: Path) -> None:
    # Each `up` runs them again.
    once = [site.run(role) for role in ("secrets", "roles", "secrets", "roles")]
    assert [ended.returncode for ended in once] == [0] * 4, once
    site.start(*PROCESSES)
    for role in PROCESSES:
        eventually_blocking(lambda role=role: site.is_healthy(role), what=f"{role} healthy")
    store = site.path("store", "/data")
    data = tmp_path / "night.dat"
    data.write_bytes(b"precious" * 1000)

    # As docs/deploy.md has it.
    added = done(
        site, *["librarian", "store", "add", "main", "--failure-domain", "summit-disk", "--root"], str(store)
    )
    assert "main" in added
    done(site, "librarian", "put", str(data), "satp3/night.dat")
    (listed,) = json.loads(done(site, "librarian", "ls", "satp3/", "--json"))
    assert listed["name"] == "satp3/night.dat"
    assert (store / "satp3" / "night.dat").read_bytes() == data.read_bytes()
    assert "summit" in done(site, "librarian", "status")

    assert site.stop() == dict.fromkeys(PROCESSES, 0)
    said = "".join(ended.stdout + ended.stderr for ended in once)
    said += "".join(site.log(role).read_text() for role in PROCESSES)
    assert "service_stopped" in said
    assert len(secrets_of(site)) > 8
    assert not [secret for secret in secrets_of(site) if secret in said]


def test_one_that_does_not_serve_is_unhealthy(site: ComposeSite) -> None:
    assert not site.is_healthy("store")
    site.start("store")  # without secrets and roles
    assert site.wait("store") == 1
    assert not site.is_healthy("store")
    assert "service_failed" in site.log("store").read_text()
