"""What the pods are told is what the services know, and it fits together."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest
from support.deployment.manifests import (
    OVERLAYS,
    Manifest,
    Pod,
    name_of,
    named,
    of_kind,
    pods,
    rendered,
    selects,
)
from support.deployment.settings import settings_of

from librarian.connection.settings import find_connection
from svckit.addresses import split_host_port
from svckit.handout import HOLDERS, hand_out
from svckit.provision import site_roles
from svckit.settings import Settings

# Which section of the settings has the DSN that a process uses.
SECTIONS = {holder.service: holder.schema for holder in HOLDERS}


class Process(NamedTuple):
    pod: Pod
    settings: Settings
    command: list[str]


class Site(NamedTuple):
    manifests: list[Manifest]
    processes: dict[str, Process]


@pytest.fixture(params=OVERLAYS)
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Site:
    manifests = rendered(request.param)
    return Site(manifests, {process.pod.service: process for process in processes_of(manifests, tmp_path)})


def processes_of(manifests: list[Manifest], scratch: Path) -> Iterator[Process]:
    for pod in pods(manifests):
        if not pod.is_ours:
            continue
        (container,) = pod.containers
        file = scratch / f"{pod.service}.toml"
        file.write_text(mounted(manifests, pod, "/etc/librarian/site.toml"))
        command = container["command"]
        assert command[command.index("--config") + 1] == "/etc/librarian/site.toml"
        yield Process(pod, settings_of(command, environment(manifests, container), file), command)


def mounted(manifests: list[Manifest], pod: Pod, path: str) -> str:
    """The content of a file of a ConfigMap, as the pod sees it."""
    directory, _, file = path.rpartition("/")
    (mount,) = (each for each in pod.containers[0]["volumeMounts"] if each["mountPath"] == directory)
    (volume,) = (each for each in pod.spec["volumes"] if each["name"] == mount["name"])
    content: str = named(manifests, "ConfigMap", volume["configMap"]["name"])["data"][file]
    return content


def environment(manifests: list[Manifest], container: dict[str, Any]) -> dict[str, str]:
    environ: dict[str, str] = {}
    for source in container["envFrom"]:
        environ |= named(manifests, "ConfigMap", source["configMapRef"]["name"])["data"]
    return environ | {env["name"]: env.get("value", "from a secret") for env in container["env"]}


def test_every_process_of_a_site_is_there(site: Site) -> None:
    assert site.processes.keys() == SECTIONS.keys()


def test_every_command_is_one(site: Site) -> None:
    commands = [process.command for process in site.processes.values()]
    commands += [pod.containers[0]["command"] for pod in pods(site.manifests) if pod.kind == "Job"]
    for command in commands:
        found = importlib.util.find_spec(command[2])
        assert found is not None, command
        main = f"{command[2]}.__main__" if found.submodule_search_locations else command[2]
        assert importlib.util.find_spec(main) is not None, command


def test_the_site_has_a_name_of_its_own(site: Site) -> None:
    (name,) = {process.settings.site.name for process in site.processes.values()}
    assert name not in {"", "site"}


def test_each_listens_on_the_port_that_its_pod_and_service_have(site: Site) -> None:
    for service, process in site.processes.items():
        ports = {port["name"]: port["containerPort"] for port in process.pod.containers[0]["ports"]}
        section = getattr(process.settings, service)
        listens = {"metrics": section.metrics_listen} | (
            {"grpc": section.listen} if service != "worker" else {}
        )
        # On every address of the pod, or neither the kubelet nor the others reach it.
        assert {name: split_host_port(listen) for name, listen in listens.items()} == {
            name: ("0.0.0.0", port) for name, port in ports.items()
        }


def callees(process: Process) -> dict[str, str]:
    """{service: address} of those that a process calls."""
    services = process.settings.services
    calls = {
        "gateway": {"catalog", "transfer", "store"},
        "transfer": {"catalog", "store"},
        "worker": {"catalog", "store", "transfer"},
    }
    known = {"catalog": services.catalog, "transfer": services.transfer, **services.stores}
    return {name: known[name] for name in calls.get(process.pod.service, set())}


def test_each_address_leads_to_that_service(site: Site) -> None:
    for process in site.processes.values():
        for callee, address in callees(process).items():
            host, port = split_host_port(address)
            service = named(site.manifests, "Service", host)
            assert selects(service["spec"]["selector"], site.processes[callee].pod.labels)
            assert port in {each["port"] for each in service["spec"]["ports"]}
            _, listens = split_host_port(getattr(site.processes[callee].settings, callee).listen)
            assert port == listens


def admitted(manifests: list[Manifest], caller: Pod | None, callee: Pod, port: int) -> bool:
    """By the network policies. `caller`: None for one of another namespace."""
    policies = [policy["spec"] for policy in of_kind(manifests, "NetworkPolicy")]
    rules = [
        rule
        for spec in policies
        if selects(spec["podSelector"].get("matchLabels", {}), callee.labels)
        for rule in spec["ingress"]
    ]
    assert rules, f"{callee.owner} is open to all"
    return any(
        port in {each["port"] for each in rule["ports"]}
        and ("from" not in rule or any(_is_from(source, caller) for source in rule["from"]))
        for rule in rules
    )


def _is_from(source: dict[str, Any], caller: Pod | None) -> bool:
    assert source.keys() == {"podSelector"}
    return caller is not None and selects(source["podSelector"].get("matchLabels", {}), caller.labels)


def test_the_network_lets_those_through_who_call_and_nobody_else(site: Site) -> None:
    everybody = {pod.service: pod for pod in pods(site.manifests)}
    for callee in ("catalog", "store", "transfer"):
        _, port = split_host_port(getattr(site.processes[callee].settings, callee).listen)
        callers = {
            name for name, process in site.processes.items() if callee in callees(process) and name != callee
        }
        allowed = {
            name for name, pod in everybody.items() if admitted(site.manifests, pod, everybody[callee], port)
        }
        assert allowed == callers
        assert not admitted(site.manifests, None, everybody[callee], port)
    for database_port, others in ((5432, False), (7700, True)):
        callee = everybody["postgres" if database_port == 5432 else "gateway"]
        assert admitted(site.manifests, None, callee, database_port) is others
    assert all(
        admitted(site.manifests, everybody[name], everybody["postgres"], 5432)
        for name in (*SECTIONS, "roles")
    )


def test_each_is_the_role_that_the_command_makes_and_asks_the_database_that_is_there(site: Site) -> None:
    postgres = named(site.manifests, "StatefulSet", "librarian-postgres")["spec"]["template"]["spec"]
    environ = {env["name"]: env.get("value") for env in postgres["containers"][0]["env"]}
    roles = {
        role.schema: role.role
        for role in site_roles(environ["POSTGRES_DB"], dict.fromkeys(SECTIONS.values(), ""))
    }
    for service, process in site.processes.items():
        section = getattr(process.settings, SECTIONS[service])
        dsn = urlsplit(section.dsn)
        assert dsn.username == roles[SECTIONS[service]]
        assert dsn.password is None
        assert dsn.path == f"/{environ['POSTGRES_DB']}"
        assert dsn.hostname == name_of(named(site.manifests, "Service", dsn.hostname or ""))
    (job,) = (pod for pod in pods(site.manifests) if pod.kind == "Job")
    admin = {env["name"]: env.get("value") for env in job.containers[0]["env"]}["LIBRARIAN_DATABASE_DSN"]
    assert urlsplit(admin)._replace(netloc="") == dsn._replace(netloc="")
    assert urlsplit(admin).hostname == dsn.hostname


def test_the_password_comes_from_the_secret_of_the_process(site: Site) -> None:
    for process in site.processes.values():
        (reference,) = (
            env["valueFrom"]["secretKeyRef"]
            for env in process.pod.containers[0]["env"]
            if env["name"] == "PGPASSWORD"
        )
        assert reference == {"name": process.pod.owner, "key": "password"}


def test_keys_are_where_the_settings_look_for_them(site: Site, tmp_path: Path) -> None:
    hand_out(tmp_path)
    for holder in HOLDERS:
        process = site.processes[holder.service]
        (mount,) = (each for each in process.pod.containers[0]["volumeMounts"] if each["name"] == "secrets")
        auth = process.settings.auth
        assert auth.keys_dir == mount["mountPath"]
        if holder.site_key:
            directory, _, file = auth.site_key_file.rpartition("/")
            assert directory == mount["mountPath"]
            assert (tmp_path / holder.service / file).exists()


def test_what_is_written_goes_where_one_may_write(site: Site) -> None:
    gateway = site.processes["gateway"]
    directory, _, _ = gateway.settings.gateway.admin_token_file.rpartition("/")
    (mount,) = (each for each in gateway.pod.containers[0]["volumeMounts"] if each["mountPath"] == directory)
    (volume,) = (each for each in gateway.pod.spec["volumes"] if each["name"] == mount["name"])
    # The token must outlive the pod: each start without it would make another.
    assert "persistentVolumeClaim" in volume
    assert not mount.get("readOnly")


def test_the_command_line_in_the_gateways_pod_finds_the_site(site: Site, tmp_path: Path) -> None:
    gateway = site.processes["gateway"]
    environ = environment(site.manifests, gateway.pod.containers[0])
    context = mounted(site.manifests, gateway.pod, f"{environ['LIBRARIAN_HOME']}/context.json")
    token = tmp_path / "admin.token"
    token.write_text("t")
    (tmp_path / "context.json").write_text(
        context.replace(gateway.settings.gateway.admin_token_file, str(token))
    )
    found = find_connection(environ={"LIBRARIAN_HOME": str(tmp_path)}, user_home=tmp_path)
    assert found.token == "t"
    assert split_host_port(found.address.target)[1] == split_host_port(gateway.settings.gateway.listen)[1]


def test_a_pod_has_the_time_to_stop_in_order(site: Site) -> None:
    for process in site.processes.values():
        server = process.settings.server
        longest = server.drain_seconds + 2 * server.grace_seconds
        assert process.pod.spec["terminationGracePeriodSeconds"] > longest + 10
        # Long enough for the news to reach those who send calls here.
        assert server.drain_seconds >= 3


def test_the_gateway_is_in_the_clear_only_behind_what_ends_tls(site: Site) -> None:
    assert site.processes["gateway"].settings.gateway.insecure
    (ingress,) = of_kind(site.manifests, "Ingress")
    assert ingress["spec"]["tls"]
    service = named(site.manifests, "Service", "librarian-gateway")
    assert service["spec"].get("type", "ClusterIP") == "ClusterIP"
