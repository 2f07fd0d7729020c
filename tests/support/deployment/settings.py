"""The settings a process gets in a container: the mounted file and the container's environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from unittest import mock

from svckit.settings import Settings, load_settings

CONFIG_OPTION = "--config"


def settings_of(command: list[str], environ: Mapping[str, str], file: Path) -> Settings:
    """As the process of `command` loads them. Raises WrongSettings. `file`: what is mounted where --config
    points.
    """
    assert command[:2] == ["python", "-m"]
    at = command.index(CONFIG_OPTION)
    argv = [*command[3:at], CONFIG_OPTION, str(file), *command[at + 2 :]]
    with mock.patch.dict(os.environ, environ, clear=True):
        return load_settings(argv)
