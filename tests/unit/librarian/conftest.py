from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

NOBODY = 65534


@pytest.fixture
def unprivileged() -> Iterator[Path]:
    """A directory of one's own, and no privileges even where the tests run as root."""
    place = Path(tempfile.mkdtemp(prefix="librarian-test-"))
    privileged = os.geteuid() == 0
    if privileged:
        os.chown(place, NOBODY, NOBODY)
        os.setegid(NOBODY)
        os.seteuid(NOBODY)
    try:
        yield place
    finally:
        if privileged:
            os.seteuid(0)
            os.setegid(0)
        shutil.rmtree(place)
