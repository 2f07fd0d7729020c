"""Paths of collections on this machine: none leads out of its root. Blocking."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from globus_sim.errors import Fault, TransferError
from globus_sim.model import Collection

_CODES = {
    errno.ENOENT: "FILE_NOT_FOUND",
    errno.ENOTDIR: "FILE_NOT_FOUND",
    errno.EACCES: "PERMISSION_DENIED",
    errno.EPERM: "PERMISSION_DENIED",
    errno.EROFS: "PERMISSION_DENIED",
    errno.EISDIR: "IS_A_DIRECTORY",
    errno.ENOSPC: "NO_SPACE_LEFT",
    errno.EDQUOT: "QUOTA_EXCEEDED",
    errno.ENAMETOOLONG: "INVALID_PATH_NAME",
}


def place_of(collection: Collection, path: str) -> Path:
    """Raises Fault: the path is not absolute, or leads out (also by a link)."""
    if not path.startswith("/") or "\0" in path:
        raise Fault("INVALID_PATH_NAME", f"{path!r} is not an absolute path")
    root = Path(os.path.realpath(collection.root))
    place = root / path.strip("/")
    real = Path(os.path.realpath(place))
    if ".." in path.split("/") or (real != root and root not in real.parents):
        raise Fault("PERMISSION_DENIED", f"Path not allowed: {path}")
    return place


def fault_of(error: OSError, path: str) -> Fault:
    return Fault(_CODES.get(error.errno or 0, "TIMEOUT"), f"{path}: {error.strerror}")


def walk(collection: Collection, path: str) -> Iterator[tuple[str, int | None]]:
    """Paths below `path`, relative, with the size of a file and None for a directory; links are ignored, as
    Globus does by default. Raises Fault.
    """
    top = place_of(collection, path)
    try:
        if not stat.S_ISDIR(os.lstat(top).st_mode):
            raise Fault("FILE_NOT_FOUND", f"{path} is not a directory")
        yield from _below(top, "")
    except OSError as error:
        raise fault_of(error, path) from error


def _below(directory: Path, shown: str) -> Iterator[tuple[str, int | None]]:
    yield shown, None
    with os.scandir(directory) as found:
        entries = sorted(found, key=lambda entry: entry.name)
    for entry in entries:
        inner = f"{shown}/{entry.name}" if shown else entry.name
        if entry.is_symlink():
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _below(Path(entry.path), inner)
        elif entry.is_file(follow_symlinks=False):
            yield inner, entry.stat(follow_symlinks=False).st_size


def file_document(place: Path) -> dict[str, Any]:
    """Raises OSError."""
    status = place.lstat()
    kinds = {stat.S_IFDIR: "dir", stat.S_IFREG: "file"}
    modified = datetime.fromtimestamp(int(status.st_mtime), UTC)
    return {
        "DATA_TYPE": "file",
        "name": place.name,
        "type": kinds.get(stat.S_IFMT(status.st_mode), "invalid_symlink"),
        "size": status.st_size,
        "permissions": f"{stat.S_IMODE(status.st_mode):04o}",
        "last_modified": modified.isoformat(sep=" ", timespec="seconds"),
        "user": str(status.st_uid),
        "group": str(status.st_gid),
        "link_target": None,
        "link_size": None,
        "link_user": None,
        "link_group": None,
        "link_last_modified": None,
    }


def refusal(fault: Fault, collection: Collection, command: str) -> TransferError:
    """What an operation answers where a task would meet that fault."""
    where = f"{collection.name} ({collection.collection_id})"
    what = f"Error ({command})\nEndpoint: {where}\nMessage: {fault.details}"
    if fault.code == "FILE_NOT_FOUND":
        return TransferError(404, "NotFound", f"Path not found, {what}")
    if fault.code == "PERMISSION_DENIED":
        return TransferError(403, "EndpointPermissionDenied", f"Denied by endpoint, {what}")
    return TransferError(502, "ExternalError", what)
