"""The image carries all that the processes of a site need, and is built as it should be.

Nothing builds it here: there is no engine to ask. The instructions are read, and what they would put into
the image is looked at with the tools that would make it.
"""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from support.deployment import DOCKERFILE, K8S, ROOT
from support.deployment.compose import containers, processes
from support.deployment.manifests import pods, rendered

from svckit.handout import HOLDERS

SERVICES = ("catalog_svc", "store_svc", "transfer_svc", "gateway", "svckit")


def instructions() -> list[tuple[str, str]]:
    joined = re.sub(r"\\\n\s*", "", DOCKERFILE.read_text())
    lines = [line for line in joined.splitlines() if line and not line.startswith("#")]
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in lines)]


def values(word: str) -> list[str]:
    return [rest for each, rest in instructions() if each == word]


def test_it_needs_no_registry_but_for_its_base() -> None:
    assert not re.search(r"^#\s*syntax", DOCKERFILE.read_text(), re.MULTILINE)


def test_what_builds_it_does_not_stay_in_it() -> None:
    first, last = values("FROM")
    image, _, stage = first.partition(" AS ")
    assert last == image
    assert f"--from={stage} /opt/librarian /opt/librarian" in values("COPY")
    assert re.fullmatch(r"python:3\.1[1-9]-slim-\w+", image)


def test_it_runs_as_a_user_with_a_number_that_is_not_root() -> None:
    (user,) = values("USER")
    assert re.fullmatch(r"[1-9]\d{3,}:[1-9]\d{3,}", user)
    security = next(pods(rendered("generic"))).spec["securityContext"]
    assert user == f"{security['runAsUser']}:{security['runAsGroup']}"


def ignored(path: str) -> bool:
    """By .dockerignore: the last line that matches decides."""
    verdict = False
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        if line.startswith("#") or not line:
            continue
        pattern = line.removeprefix("!")
        if pattern in {"*", path.split("/", maxsplit=1)[0], path}:
            verdict = not line.startswith("!")
    return verdict


def test_all_that_is_copied_is_there_and_nothing_else_is_sent() -> None:
    copied = {
        source for rest in values("COPY") if not rest.startswith("--from") for source in rest.split()[:-1]
    }
    assert all((ROOT / source).exists() and not ignored(source) for source in copied)
    sent = {path.name for path in ROOT.iterdir() if not ignored(path.name)}
    assert sent == copied


@pytest.fixture(scope="module")
def packed() -> set[str]:
    """The paths in the wheel that `pip install .` makes."""
    return {file.distribution_path for file in WheelBuilder(str(ROOT)).recurse_included_files()}


def test_every_module_and_migration_is_packed(packed: set[str]) -> None:
    roots = [*(ROOT / "services").iterdir(), ROOT / "clients" / "librarian"]
    for root in roots:
        if not (root / "__init__.py").exists():
            continue
        sources = {str(path.relative_to(root.parent)) for path in root.rglob("*.py")}
        assert sources <= packed, root
    for service in ("catalog_svc", "store_svc", "transfer_svc", "gateway"):
        assert any(path.startswith(f"{service}/migrations/versions/0001") for path in packed)


def test_every_command_of_a_container_is_packed(packed: set[str]) -> None:
    commands = [each.spec["command"] for each in containers().values() if each.role != "postgres"]
    commands += [pod.containers[0]["command"] for pod in pods(rendered("spin")) if pod.kind != "StatefulSet"]
    for command in commands:
        module = command[2].replace(".", "/")
        assert {f"{module}.py", f"{module}/__main__.py"} & packed, command


def imported(package: Path) -> set[str]:
    """Top-level names of all modules that its files import."""
    names = set()
    for file in package.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                names.add(node.module or "")
    return {name.partition(".")[0] for name in names}


def required(extra: str) -> set[str]:
    """Distributions that `pip install librarian[extra]` names."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = [*project["dependencies"], *project["optional-dependencies"][extra]]
    # Each names what it brings for others to import.
    brings = {"pyjwt": {"cryptography"}, "aiohttp": {"yarl"}}
    names = {canonicalize_name(Requirement(line).name) for line in lines}
    return names | {other for name in names for other in brings.get(name, ())}


@pytest.mark.parametrize("package", SERVICES)
def test_everything_imported_is_installed(package: str) -> None:
    """In the image there are no extras but `server`."""
    assert 'optional-dependencies"]["server"]' in DOCKERFILE.read_text()
    distributions = packages_distributions()
    ours = {*SERVICES, "librarian", "standalone"}
    for module in imported(ROOT / "services" / package) - ours - sys.stdlib_module_names:
        providers = {canonicalize_name(name) for name in distributions.get(module, ())}
        assert providers & required("server"), f"{package} imports {module}"


def test_volumes_have_directories_to_take_their_owner_from() -> None:
    """A fresh volume belongs to root unless the image has the directory that it is mounted on."""
    (run,) = (rest for word, rest in instructions() if word == "RUN" and "useradd" in rest)
    made = set(re.findall(r"(?<=\s)/[\w/]+", run.partition("install -d")[2]))
    mounts = [mount for each in containers().values() if each.role != "postgres" for mount in each.mounts]
    assert {mount.target for mount in mounts if mount.is_volume} <= made
    assert {f"/secrets/{holder.service}" for holder in HOLDERS} <= made
    written = {mount.target for each in processes() for mount in each.mounts if not mount.read_only}
    assert written == {"/data", "/var/lib/librarian"}


def test_the_manifests_use_this_image_and_that_of_postgresql_alone() -> None:
    for file in (K8S / "base").glob("*.yaml"):
        assert set(re.findall(r"^\s+image: (\S+)$", file.read_text(), re.MULTILINE)) <= {"librarian"}
    assert {each.spec["image"].partition(":")[0] for each in containers().values()} == {
        "librarian",
        "postgres",
    }
