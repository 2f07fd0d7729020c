"""Addresses as the settings have them: "unix:/path.sock", "host:port", and DSNs."""

from __future__ import annotations

import ipaddress
import os
import socket
import stat
from pathlib import Path

from librarian.errors import AlreadyRunning, InvalidConfig

# sockaddr_un.sun_path holds 108 bytes with the final NUL.
_SOCKET_PATH_BYTES = 107


def unix_path(address: str) -> Path | None:
    """The path of "unix:/path"; None for others."""
    if not address.startswith("unix:"):
        return None
    return Path("/" + address.removeprefix("unix:").lstrip("/"))


def split_host_port(address: str) -> tuple[str, int]:
    """Raises InvalidConfig."""
    host, separator, port = address.rpartition(":")
    if not separator or not port.isdigit() or int(port) > 65535:
        raise InvalidConfig(
            f"config: {address!r} is no address", remedy="use host:port or unix:/path.sock", address=address
        )
    return host.strip("[]"), int(port)


def plain_dsn(dsn: str) -> str:
    """`dsn` as asyncpg takes it. Raises InvalidConfig."""
    scheme, separator, rest = dsn.partition("://")
    if not separator or scheme.split("+")[0] not in {"postgresql", "postgres"}:
        raise InvalidConfig(
            "config: the database DSN is no PostgreSQL DSN",
            remedy="use postgresql://USER:PASSWORD@HOST/DATABASE, with ?host=/directory for a unix socket",
        )
    return f"postgresql://{rest}"


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach it."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def prepare_socket(path: Path) -> None:
    """Make `path` free to bind: a directory only we may enter, and no socket left by a dead process.

    Raises InvalidConfig (path too long, or something else lies there), AlreadyRunning.
    """
    if len(os.fsencode(path)) > _SOCKET_PATH_BYTES:
        raise InvalidConfig(
            f"config: the socket path {path} is longer than {_SOCKET_PATH_BYTES} bytes",
            remedy="use a directory with a shorter path",
            path=path,
        )
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise InvalidConfig(f"config: {path} is there and is no socket", path=path)
    if _answers(path):
        raise AlreadyRunning(
            f"a process already listens on {path}", remedy="stop it, or configure another address", path=path
        )
    path.unlink(missing_ok=True)


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(os.fspath(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except OSError:
            return True
        return True
