"""The rules of NERSC Spin hold for what the overlay renders to, and each of them can be broken."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from support.deployment.manifests import Manifest, named, of_kind, rendered
from support.deployment.spin import violations


def test_the_overlay_keeps_the_rules() -> None:
    assert violations(rendered("spin")) == []


def test_the_generic_overlay_would_not_do() -> None:
    assert violations(rendered("generic"))


def pod_of(manifests: list[Manifest], kind: str, name: str) -> dict[str, Any]:
    spec: dict[str, Any] = named(manifests, kind, name)["spec"]["template"]["spec"]
    return spec


def store(manifests: list[Manifest]) -> dict[str, Any]:
    return pod_of(manifests, "Deployment", "librarian-store")


def security(manifests: list[Manifest]) -> dict[str, Any]:
    context: dict[str, Any] = store(manifests)["containers"][0]["securityContext"]
    return context


def ingress(manifests: list[Manifest]) -> Manifest:
    return named(manifests, "Ingress", "librarian")


def host_path(manifests: list[Manifest]) -> dict[str, Any]:
    (volume,) = (volume for volume in store(manifests)["volumes"] if "hostPath" in volume)
    path: dict[str, Any] = volume["hostPath"]
    return path


def postgres(manifests: list[Manifest]) -> Manifest:
    return named(manifests, "StatefulSet", "librarian-postgres")


SPOILED: dict[str, Callable[[list[Manifest]], object]] = {
    "kind ClusterRole": lambda m: m.append(
        {"kind": "ClusterRole", "metadata": {"name": "x", "namespace": "y"}}
    ),
    "kind ServiceMonitor": lambda m: m.append(
        {"kind": "ServiceMonitor", "metadata": {"name": "x", "namespace": "y"}}
    ),
    "no namespace": lambda m: m[0]["metadata"].pop("namespace"),
    "allowPrivilegeEscalation": lambda m: security(m).pop("allowPrivilegeEscalation"),
    "privileged": lambda m: security(m).update(privileged=True),
    "capabilities are kept": lambda m: security(m)["capabilities"].update(drop=["NET_RAW"]),
    "capabilities are added": lambda m: security(m)["capabilities"].update(add=["SYS_ADMIN"]),
    "namespaces of the host": lambda m: store(m).update(hostNetwork=True),
    "hostPort": lambda m: store(m)["containers"][0]["ports"][0].update(hostPort=1),
    "hostPath /global/homes": lambda m: host_path(m).update(path="/global/homes/x"),
    "hostPath /global/cfs/cdirs/m0/../..": lambda m: host_path(m).update(
        path="/global/cfs/cdirs/m0/../../homes"
    ),
    "hostPath of type": lambda m: host_path(m).update(type="DirectoryOrCreate"),
    "volume of kind nfs": lambda m: store(m)["volumes"].append({"name": "x", "nfs": {}}),
    "runAsUser is": lambda m: store(m)["securityContext"].update(runAsUser="me"),
    "runAsGroup is": lambda m: store(m)["securityContext"].pop("runAsGroup"),
    "fsGroup is": lambda m: store(m)["securityContext"].update(fsGroup=0),
    "another user": lambda m: security(m).update(runAsUser=0),
    "storage class": lambda m: of_kind(m, "PersistentVolumeClaim")[0]["spec"].pop("storageClassName"),
    "access modes": lambda m: postgres(m)["spec"]["volumeClaimTemplates"][0]["spec"].update(
        accessModes=["ReadWriteOnce"]
    ),
    "replicas on one": lambda m: postgres(m)["spec"].update(replicas=2),
    "two pods on one": lambda m: postgres(m).update(kind="Deployment"),
    "no pull secret": lambda m: store(m).pop("imagePullSecrets"),
    "image docker.io": lambda m: store(m)["containers"][0].update(image="docker.io/x/librarian:1"),
    "image registry.nersc.gov/m0/librarian:latest\n": lambda m: store(m)["containers"][0].update(
        image="registry.nersc.gov/m0/librarian:latest\n"
    ),
    "ingress class": lambda m: ingress(m)["spec"].pop("ingressClassName"),
    "does not speak gRPC": lambda m: ingress(m)["metadata"]["annotations"].clear(),
    "without TLS": lambda m: ingress(m)["spec"].pop("tls"),
    "host librarian.example.org": lambda m: ingress(m)["spec"]["rules"][0].update(
        host="librarian.example.org"
    ),
    "type LoadBalancer": lambda m: of_kind(m, "Service")[0]["spec"].update(type="LoadBalancer"),
}


@pytest.mark.parametrize("told", SPOILED)
def test_a_broken_rule_is_found(told: str) -> None:
    manifests = rendered("spin")
    SPOILED[told](manifests)
    assert any(told in text for text in violations(manifests)), violations(manifests)
