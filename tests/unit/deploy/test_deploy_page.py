"""What docs/deploy.md tells people to type refers to what is there."""

from __future__ import annotations

import re

import pytest
from support.deployment import ROOT
from support.deployment.compose import Container, containers, processes
from support.deployment.manifests import name_of, of_kind, pods, rendered
from support.deployment.settings import settings_of

from svckit.addresses import split_host_port
from svckit.settings import known_keys

PAGE = (ROOT / "docs" / "deploy.md").read_text()


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", PAGE):
        assert (ROOT / "docs" / target).resolve().exists(), target


def test_containers_and_deployments_are_called_what_they_are() -> None:
    assert set(re.findall(r"docker compose exec (\S+)", PAGE)) <= containers().keys()
    deployments = {name_of(each) for each in of_kind(rendered("generic"), "Deployment")}
    assert set(re.findall(r"deploy/(\S+)", PAGE)) <= deployments
    assert all((ROOT / path).is_dir() for path in re.findall(r"--kustomize (\S+?)[`\s]", PAGE))


def test_ports_on_the_host_are_those_of_the_gateways() -> None:
    told = set(re.findall(r"\b527\d\d\b", PAGE))
    assert told == {
        each.spec["ports"][0].split(":")[1] for each in containers().values() if "ports" in each.spec
    }


def test_the_secrets_it_makes_are_all_that_the_pods_ask_for() -> None:
    asked = {
        volume["secret"]["secretName"]
        for pod in pods(rendered("spin"))
        for volume in pod.spec["volumes"]
        if "secret" in volume
    } | {tls["secretName"] for tls in of_kind(rendered("spin"), "Ingress")[0]["spec"]["tls"]}
    assert asked - {"librarian-tls"} == {f"librarian-{name}" for name in ("database", *TABLE)}
    assert "create secret tls librarian-tls" in PAGE


TABLE = {
    row[0]: (row[1], row[2])
    for row in re.findall(r"^\| (\w+) \| `python -m ([\w.]+)` \| ([\d-]+) \|", PAGE, re.MULTILINE)
}


@pytest.mark.parametrize(
    "container", [each for each in processes() if each.site == "lab"], ids=lambda each: each.role
)
def test_the_table_of_processes_is_right(container: Container) -> None:
    role, command = container.role, container.spec["command"]
    module, port = TABLE[role]
    assert module == command[2]
    file = ROOT / "k8s" / "base" / "config" / "site.toml"
    section = getattr(settings_of(command, container.environment, file), role)
    assert port == ("-" if role == "worker" else str(split_host_port(section.listen)[1]))
    assert split_host_port(section.metrics_listen)[1] == 9100


def test_settings_are_called_what_they_are() -> None:
    keys = set(known_keys())
    sections = {key.partition(".")[0] for key in keys}
    told = {key for key in re.findall(r"`(\w+\.\w+)`", PAGE) if key.partition(".")[0] in sections}
    told |= {key.lower().replace("__", ".") for key in re.findall(r"LIBRARIAN_([A-Z]+__[A-Z_]+)", PAGE)}
    assert told - {"site.toml"} <= keys
    assert len(told) >= 8
