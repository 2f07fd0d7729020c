"""The compose file: valid, complete, two separate sites, no secrets, settings that exist."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from support.deployment import COMPOSE_FILE, ROOT
from support.deployment.compose import CONFIG, SITES, Container, compose, containers, processes
from support.deployment.settings import settings_of

from librarian.errors import InvalidConfig
from svckit.addresses import split_host_port
from svckit.handout import HOLDERS, hand_out
from svckit.provision import site_roles
from svckit.settings import Settings

SCHEMAS = {holder.service: holder.schema for holder in HOLDERS}
ROLES = {*SCHEMAS, "secrets", "postgres", "roles"}
# Who waits for whom, and what must have become of that one.
ORDER = {
    "secrets": {},
    "postgres": {"secrets": "service_completed_successfully"},
    "roles": {"postgres": "service_healthy"},
    **{role: {"roles": "service_completed_successfully"} for role in SCHEMAS},
}


@pytest.fixture(params=SITES)
def site(request: pytest.FixtureRequest) -> dict[str, Container]:
    """{role: container}."""
    return {each.role: each for each in containers().values() if each.site == request.param}


def settings(container: Container) -> Settings:
    (config,) = (mount for mount in container.mounts if mount.target == CONFIG)
    return settings_of(container.spec["command"], container.environment, ROOT / config.source / "site.toml")


def test_it_is_what_the_compose_specification_allows() -> None:
    check = Path(sys.executable).with_name("check-jsonschema")
    command = [check, "--builtin-schema", "vendor.compose-spec", COMPOSE_FILE]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_the_check_would_find_a_misspelt_key(tmp_path: Path) -> None:
    spoiled = tmp_path / "docker-compose.yml"
    spoiled.write_text(COMPOSE_FILE.read_text().replace("stop_grace_period", "stop_grace_perod"))
    check = Path(sys.executable).with_name("check-jsonschema")
    command = [check, "--builtin-schema", "vendor.compose-spec", spoiled]
    assert subprocess.run(command, capture_output=True, check=False, timeout=60).returncode == 1


def test_compose_itself_takes_it_where_there_is_one() -> None:
    """Where the plugin is not installed, the schema above and the tests below have to do."""
    docker = shutil.which("docker")
    if (
        docker is None
        or subprocess.run([docker, "compose", "version"], capture_output=True, check=False).returncode
    ):
        return
    command = [docker, "compose", "--file", COMPOSE_FILE, "config", "--quiet"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert ended.returncode == 0, ended.stderr


def test_there_are_two_sites_of_the_same_make(site: dict[str, Container]) -> None:
    assert site.keys() == ROLES
    assert {container.site for container in containers().values()} == set(SITES)
    name, other = site["catalog"].site, (set(SITES) - {site["catalog"].site}).pop()
    for role, container in site.items():
        twin = str(containers()[f"{other}-{role}"].spec)
        assert str(container.spec).replace("52751", "52752").replace(name, other) == twin.replace(
            "52751", "52752"
        )


def test_each_waits_for_what_it_needs(site: dict[str, Container]) -> None:
    for role, container in site.items():
        waits = {
            name.partition("-")[2]: how["condition"]
            for name, how in container.spec.get("depends_on", {}).items()
            if name.startswith(f"{container.site}-")
        }
        assert waits == ORDER[role]
        assert len(waits) == len(container.spec.get("depends_on", {}))
    assert "healthcheck" in site["postgres"].spec


def test_what_is_run_once_ends_and_what_serves_is_watched(site: dict[str, Container]) -> None:
    for role, container in site.items():
        once = role in {"secrets", "roles"}
        assert ("restart" in container.spec) is not once
        assert ("healthcheck" in container.spec) is not once


def test_every_volume_and_network_is_declared_and_used() -> None:
    content = compose()
    mounts = [mount for container in containers().values() for mount in container.mounts]
    assert {mount.source for mount in mounts if mount.is_volume} == content["volumes"].keys()
    assert {name for each in containers().values() for name in each.networks} == content["networks"].keys()
    for mount in mounts:
        assert mount.is_volume or (ROOT / mount.source).is_dir(), mount


def test_sites_share_nothing_but_the_link(site: dict[str, Container]) -> None:
    for container in site.values():
        assert container.networks.keys() <= {container.site, "link"}
        volumes = [mount.source for mount in container.mounts if mount.is_volume]
        assert all(volume.startswith(f"{container.site}-") for volume in volumes)
    internal = {name for name, network in compose()["networks"].items() if network.get("internal")}
    assert internal == set(SITES)
    # Names that both sites use must not meet.
    assert {name for role in site for name in site[role].networks.get("link", ())} == {
        site[role].name for role in ("gateway", "transfer", "worker")
    }


def test_the_host_has_the_gateways_alone_and_for_itself(site: dict[str, Container]) -> None:
    for role, container in site.items():
        if role != "gateway":
            assert "ports" not in container.spec
            continue
        (port,) = container.spec["ports"]
        address, host_port, inside = port.split(":")
        assert address == "127.0.0.1"
        assert int(host_port) > 1024
        assert split_host_port(settings(container).gateway.listen) == ("0.0.0.0", int(inside))


def test_no_password_is_in_it() -> None:
    """Not even a default: what is secret comes from a volume that a container has filled."""
    for container in containers().values():
        for name, value in container.environment.items():
            secret = "PASSWORD" in name or "PASSFILE" in name or "TOKEN" in name
            assert not secret or str(value).startswith("/secrets/"), name
            assert "://" not in str(value) or urlsplit(value).password is None
        assert "env_file" not in container.spec


def test_each_is_given_its_own_secrets_and_can_only_read_them(
    site: dict[str, Container], tmp_path: Path
) -> None:
    hand_out(tmp_path)
    made = {mount.target.removeprefix("/secrets/"): mount.source for mount in site["secrets"].mounts}
    assert made.keys() == {path.name for path in tmp_path.iterdir()}
    assert len(set(made.values())) == len(made)
    for role, container in site.items():
        if role == "secrets":
            continue
        (mount,) = (each for each in container.mounts if each.target.startswith("/secrets"))
        assert mount.read_only
        assert mount.target == "/secrets"
        assert mount.source == made[role if role in SCHEMAS else "database"]
        files = [value for value in container.environment.values() if str(value).startswith("/secrets/")]
        for file in files:
            assert (tmp_path / (role if role in SCHEMAS else "database") / Path(file).name).exists()


def test_every_command_is_one(site: dict[str, Container]) -> None:
    for role, container in site.items():
        if role == "postgres":
            continue
        program, option, module, *_ = container.spec["command"]
        assert (program, option) == ("python", "-m")
        found = importlib.util.find_spec(module)
        assert found is not None
        assert not found.submodule_search_locations or importlib.util.find_spec(f"{module}.__main__")


@pytest.mark.parametrize("container", list(processes()), ids=lambda container: container.name)
def test_every_setting_is_one_that_the_services_know(container: Container) -> None:
    loaded = settings(container)
    assert loaded.site.name == container.site


def test_an_unknown_setting_would_be_found() -> None:
    container = containers()["summit-store"]
    container.spec["environment"] = {**container.environment, "LIBRARIAN_STORE__HASH_THREAD": "1"}
    with pytest.raises(InvalidConfig, match=r"did you mean store\.hash_threads"):
        settings(container)


def test_each_address_leads_to_that_container(site: dict[str, Container]) -> None:
    loaded = settings(site["gateway"])
    addresses = {
        "catalog": (loaded.services.catalog, loaded.catalog.listen),
        "transfer": (loaded.services.transfer, loaded.transfer.listen),
        "store": (loaded.services.stores["store"], loaded.store.listen),
    }
    for role, (address, listen) in addresses.items():
        host, port = split_host_port(address)
        assert split_host_port(listen) == ("0.0.0.0", port)
        network = site[role].site
        assert [name for name, each in site.items() if host in each.networks.get(network, ())] == [role]
        assert all(network in site[caller].networks for caller in ("gateway", "transfer", "worker"))


def test_each_asks_the_database_of_its_site_as_its_own_role(site: dict[str, Container]) -> None:
    database = site["postgres"].environment["POSTGRES_DB"]
    roles = {each.schema: each.role for each in site_roles(database, dict.fromkeys(SCHEMAS.values(), ""))}
    for role, schema in SCHEMAS.items():
        dsn = urlsplit(getattr(settings(site[role]), schema).dsn)
        assert (dsn.username, dsn.password, dsn.path) == (roles[schema], None, f"/{database}")
        assert dsn.hostname in site["postgres"].networks[site[role].site]
        assert site[role].environment["PGPASSFILE"] == "/secrets/pgpass"
    admin = urlsplit(site["roles"].environment["LIBRARIAN_DATABASE_DSN"])
    assert (admin.hostname, admin.path, admin.username) == (dsn.hostname, dsn.path, "postgres")


def test_it_is_postgresql_16_with_real_logins(site: dict[str, Container]) -> None:
    assert site["postgres"].spec["image"].startswith("postgres:16")
    assert "--auth=scram-sha-256" in site["postgres"].environment["POSTGRES_INITDB_ARGS"]
    assert "POSTGRES_HOST_AUTH_METHOD" not in site["postgres"].environment
    assert "/var/lib/postgresql/data" in {mount.target for mount in site["postgres"].mounts}


def test_what_must_last_is_on_a_volume(site: dict[str, Container]) -> None:
    token = Path(settings(site["gateway"]).gateway.admin_token_file)
    assert str(token.parent) in {mount.target for mount in site["gateway"].mounts if not mount.read_only}
    assert "/data" in {mount.target for mount in site["store"].mounts if not mount.read_only}


def test_containers_are_kept_small(site: dict[str, Container]) -> None:
    for role, container in site.items():
        assert container.spec["cap_drop"] == ["ALL"]
        assert container.spec["security_opt"] == ["no-new-privileges:true"]
        assert not {"privileged", "user", "pid", "ipc", "devices"} & container.spec.keys()
        if role != "postgres":
            assert container.spec["read_only"] is True
            assert "cap_add" not in container.spec


def test_a_container_has_the_time_to_stop_in_order(site: dict[str, Container]) -> None:
    for role in SCHEMAS:
        server = settings(site[role]).server
        seconds = int(site[role].spec["stop_grace_period"].removesuffix("s"))
        assert seconds > server.drain_seconds + 2 * server.grace_seconds + 10
