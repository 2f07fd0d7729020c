"""What NERSC Spin asks of what runs there, as far as public deployments show it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from support.deployment.manifests import Manifest, Pod, name_of, of_kind, pods

# What a member of a project may make in its namespaces: no operators, no definitions of new kinds, nothing
# for the whole cluster, and nothing of ours needs rights of its own.
KINDS = {
    *("ConfigMap", "Secret", "PersistentVolumeClaim"),
    *("Deployment", "StatefulSet", "Job"),
    *("Service", "Ingress", "NetworkPolicy"),
}
ADDABLE = {"CHOWN", "DAC_OVERRIDE", "FOWNER", "SETGID", "SETUID", "NET_BIND_SERVICE"}
VOLUMES = {"configMap", "emptyDir", "hostPath", "persistentVolumeClaim", "secret"}
STORAGE_CLASSES = {"nfs-client-vast", "nfs-client"}
HOST = re.compile(
    r"(?P<ingress>[a-z0-9-]+)\.(?P<namespace>[a-z0-9-]+)\.(development|production)\.svc\.spin\.nersc\.org"
)
CFS = re.compile(r"/global/cfs/cdirs/[a-z0-9]+/[^.].*")
IMAGE = re.compile(r"registry\.nersc\.gov/[a-z0-9]+/[a-z0-9-]+:[a-z0-9][a-z0-9.-]*")

Rule = Callable[[list[Manifest]], Iterator[str]]


def violations(manifests: list[Manifest]) -> list[str]:
    return [text for rule in RULES for text in rule(manifests)]


def _kinds(manifests: list[Manifest]) -> Iterator[str]:
    for manifest in manifests:
        if manifest["kind"] not in KINDS:
            yield f"kind {manifest['kind']}"
        if not manifest["metadata"].get("namespace"):
            yield f"no namespace: {manifest['kind']} {name_of(manifest)}"


def _privileges(manifests: list[Manifest]) -> Iterator[str]:
    for pod in pods(manifests):
        if any(pod.spec.get(key) for key in ("hostNetwork", "hostPID", "hostIPC")):
            yield f"{pod.owner}: namespaces of the host"
        for container in pod.containers:
            security = container.get("securityContext", {})
            if security.get("allowPrivilegeEscalation") is not False:
                yield f"{pod.owner}: allowPrivilegeEscalation"
            if security.get("privileged") is not False:
                yield f"{pod.owner}: privileged"
            if security.get("capabilities", {}).get("drop") != ["ALL"]:
                yield f"{pod.owner}: capabilities are kept"
            if not set(security.get("capabilities", {}).get("add", ())) <= ADDABLE:
                yield f"{pod.owner}: capabilities are added"
            if any("hostPort" in port for port in container.get("ports", ())):
                yield f"{pod.owner}: hostPort"


def _file_systems(manifests: list[Manifest]) -> Iterator[str]:
    for pod in pods(manifests):
        for volume in pod.spec.get("volumes", ()):
            (kind,) = volume.keys() - {"name"}
            if kind not in VOLUMES:
                yield f"{pod.owner}: volume of kind {kind}"
            if kind == "hostPath":
                yield from _host_path(pod, volume["hostPath"])


def _host_path(pod: Pod, host_path: dict[str, Any]) -> Iterator[str]:
    path = host_path["path"]
    if not CFS.fullmatch(path) or "/../" in f"{path}/":
        yield f"{pod.owner}: hostPath {path}"
    if host_path.get("type") != "Directory":
        yield f"{pod.owner}: hostPath of type {host_path.get('type')}"
    security = pod.spec.get("securityContext", {})
    for key in ("runAsUser", "runAsGroup", "fsGroup"):
        number = security.get(key)
        if not isinstance(number, int) or number < 1000:
            yield f"{pod.owner}: {key} is {number}"
    if any("runAsUser" in container.get("securityContext", {}) for container in pod.containers):
        yield f"{pod.owner}: a container runs as another user"


def _claims(manifests: list[Manifest]) -> Iterator[str]:
    claims = [(name_of(claim), claim["spec"]) for claim in of_kind(manifests, "PersistentVolumeClaim")]
    for manifest in of_kind(manifests, "StatefulSet"):
        templates = manifest["spec"].get("volumeClaimTemplates", ())
        claims += [(name_of(manifest), template["spec"]) for template in templates]
    for name, spec in claims:
        if spec.get("storageClassName") not in STORAGE_CLASSES:
            yield f"{name}: storage class {spec.get('storageClassName')}"
        if spec["accessModes"] != ["ReadWriteMany"]:
            yield f"{name}: access modes {spec['accessModes']}"


def _one_postgres(manifests: list[Manifest]) -> Iterator[str]:
    for manifest in of_kind(manifests, "Deployment", "StatefulSet"):
        images = [container["image"] for container in manifest["spec"]["template"]["spec"]["containers"]]
        if not any("postgres" in image for image in images):
            continue
        if manifest["spec"]["replicas"] != 1:
            yield f"{name_of(manifest)}: {manifest['spec']['replicas']} replicas on one data directory"
        # A StatefulSet never has two pods of one number.
        strategy = manifest["spec"].get("strategy", {}).get("type")
        if manifest["kind"] == "Deployment" and strategy != "Recreate":
            yield f"{name_of(manifest)}: two pods on one data directory during an update"


def _images(manifests: list[Manifest]) -> Iterator[str]:
    for pod in pods(manifests):
        if pod.spec.get("imagePullSecrets") != [{"name": "registry-nersc"}]:
            yield f"{pod.owner}: no pull secret"
        for container in pod.containers:
            if not IMAGE.fullmatch(container["image"]):
                yield f"{pod.owner}: image {container['image']}"


def _ingresses(manifests: list[Manifest]) -> Iterator[str]:
    for ingress in of_kind(manifests, "Ingress"):
        spec, metadata = ingress["spec"], ingress["metadata"]
        if spec.get("ingressClassName") != "nginx":
            yield f"ingress class {spec.get('ingressClassName')}"
        if metadata["annotations"].get("nginx.ingress.kubernetes.io/backend-protocol") != "GRPC":
            yield "the ingress does not speak gRPC to the gateway"
        hosts = {rule["host"] for rule in spec["rules"]}
        with_tls = {host for tls in spec.get("tls", ()) for host in tls["hosts"] if tls.get("secretName")}
        if hosts != with_tls:
            yield f"hosts without TLS of their own: {hosts ^ with_tls}"
        for host in hosts:
            match = HOST.fullmatch(host)
            if (
                match is None
                or match["ingress"] != name_of(ingress)
                or match["namespace"] != metadata["namespace"]
            ):
                yield f"host {host}"


def _services(manifests: list[Manifest]) -> Iterator[str]:
    for service in of_kind(manifests, "Service"):
        if service["spec"].get("type", "ClusterIP") != "ClusterIP":
            yield f"{name_of(service)}: type {service['spec']['type']}"


RULES: tuple[Rule, ...] = (
    _kinds, _privileges, _file_systems, _claims, _one_postgres, _images, _ingresses, _services,
)  # fmt: skip
