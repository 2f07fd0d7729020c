"""Generate the typed stubs in clients/librarian/api from protos/, or check that they are current."""

from __future__ import annotations

import argparse
import filecmp
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROTOS = ROOT / "protos"
STUBS = ROOT / "clients" / "librarian" / "api"


def generate(into: Path) -> None:
    """Write stubs below `into` (a source root: `into`/librarian/api/...)."""
    files = sorted(str(p.relative_to(PROTOS)) for p in PROTOS.rglob("*.proto"))
    plugin = Path(sys.executable).parent
    subprocess.run(  # noqa: S603 - our own fixed command line
        [
            sys.executable,
            "-m",
            "grpc_tools.protoc",
            "-I.",
            f"--plugin=protoc-gen-mypy={plugin / 'protoc-gen-mypy'}",
            f"--plugin=protoc-gen-mypy_grpc={plugin / 'protoc-gen-mypy_grpc'}",
            f"--python_out={into}",
            f"--mypy_out=quiet:{into}",
            f"--grpc_python_out={into}",
            f"--mypy_grpc_out=quiet,async_only:{into}",
            *files,
        ],
        cwd=PROTOS,
        check=True,
    )
    api = into / "librarian" / "api"
    for directory in [api, *(d for d in api.rglob("*") if d.is_dir())]:
        (directory / "__init__.py").write_text("")


def stubs_of(api: Path) -> dict[str, Path]:
    return {str(p.relative_to(api)): p for p in api.rglob("*.py*") if p.suffix in {".py", ".pyi"}}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; fail when stubs are stale")
    check = parser.parse_args().check
    with tempfile.TemporaryDirectory() as scratch:
        generate(Path(scratch))
        fresh = Path(scratch) / "librarian" / "api"
        if check:
            new, old = stubs_of(fresh), stubs_of(STUBS)
            stale = sorted(
                name
                for name in new.keys() | old.keys()
                if name not in new or name not in old or not filecmp.cmp(new[name], old[name], shallow=False)
            )
            for name in stale:
                print(f"stale stub: {name}", file=sys.stderr)
            if stale:
                print("run `make protos` and commit the result", file=sys.stderr)
            return 1 if stale else 0
        shutil.rmtree(STUBS, ignore_errors=True)
        shutil.copytree(fresh, STUBS)
    return 0


if __name__ == "__main__":
    sys.exit(main())
