"""Data to put: small, and with everything in it that a directory may have."""

from __future__ import annotations

import os
import random
from pathlib import Path


def make_book(root: Path, rng: random.Random, *, files: int = 6, size_bytes: int = 30_000) -> Path:
    """Files on two levels, an empty file, an empty directory, a link, and names nobody expects."""
    (root / "data").mkdir(parents=True)
    for number in range(files):
        path = root / "data" / f"det{number:02}.g3"
        path.write_bytes(rng.randbytes(size_bytes))
        os.utime(path, ns=(1_718_574_200_000_000_000, 1_718_574_200_123_456_789 + number))
    (root / "M_index.yaml").write_text("book: true\n")
    (root / "empty.dat").touch()
    (root / "nothing").mkdir()
    (root / "latest").symlink_to("data/det00.g3")
    (root / "Ünïcode and space %41").write_text("ok")
    (root / "UPPER").write_text("1")
    (root / "upper").write_text("2")
    return root


def contents(root: Path) -> dict[str, bytes | str]:
    """{relative path: bytes of a file, "-> target" of a link, "empty" of an empty directory}."""
    found: dict[str, bytes | str] = {}
    for path in sorted(root.rglob("*")):
        relative = str(path.relative_to(root))
        if path.is_symlink():
            found[relative] = f"-> {path.readlink()}"
        elif path.is_file():
            found[relative] = path.read_bytes()
        elif not any(path.iterdir()):
            found[relative] = "empty"
    return found
