"""Where things of ours lie below a store's root. Pure; paths are relative to `.librarian/`.

store.json                   identity: which store this is
lock                         held by the one service that works on the store
staging/<area>/<upload_id>   where clients write; an area is one client's, its name cannot be guessed
sealed/<upload_id>           out of every client's reach; `.in`: on its way there, `~`: being copied
sidecars/<2>/<uid>.json      what a catalogue row needs
manifests/<2>/<uid>.jsonl    members of a directory dataset
"""

from __future__ import annotations

import re
from typing import Final

from librarian.errors import InvalidInput
from librarian.names import RESERVED_COMPONENT, printable

OWN: Final = RESERVED_COMPONENT
IDENTITY: Final = "store.json"
LOCK: Final = "lock"
STAGING: Final = "staging"
SEALED: Final = "sealed"
SIDECARS: Final = "sidecars"
MANIFESTS: Final = "manifests"
PROOF: Final = ".proof"
PROBE: Final = "probe-"

OWN_MODE: Final = 0o755
PRIVATE_MODE: Final = 0o700
# Passed through by all, listed by nobody: area names stay secret.
STAGING_PARENT_MODE: Final = 0o711

# Of entries of SEALED, each made by a function below.
_SUFFIXES: Final = ("", "~", ".in", ".part", ".out", ".placing")
_HOST: Final = r"(?:[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:.]+\])"
_USER: Final = r"(?:[a-z0-9_][a-z0-9_.-]*@)?"
_PATH: Final = r"(?:/[\w.+@%=,:~-]*)"
_RSYNC_ROOT = re.compile(
    rf"{_USER}{_HOST}:(?!//){_PATH}+|rsync://{_USER}{_HOST}(?::[0-9]{{1,5}})?/[\w.+-]+{_PATH}*", re.IGNORECASE
)
_UID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


def check_uid(uid: str) -> str:
    """The uid itself; it becomes part of paths, so anything else than a canonical UUID is refused."""
    if _UID.fullmatch(uid) is None:
        raise InvalidInput(
            f"{printable(uid)!r} is not a uid", remedy="use canonical lower-case UUIDs", uid=printable(uid)
        )
    return uid


def is_uid(text: str) -> bool:
    return _UID.fullmatch(text) is not None


def shard(uid: str) -> str:
    """The folder a uid's sidecar lies in. The last digits: those of a UUIDv7's start hardly change."""
    return uid[-2:]


def sidecar(uid: str) -> tuple[str, str, str]:
    return SIDECARS, shard(uid), f"{uid}.json"


def manifest(uid: str) -> tuple[str, str, str]:
    return MANIFESTS, shard(uid), f"{uid}.jsonl"


def arriving(upload_id: str) -> str:
    """In SEALED: a directory upload as it was taken from staging, to be moved over entry by entry."""
    return f"{upload_id}.in"


def partial(upload_id: str) -> str:
    """In SEALED: what will be `arriving`, where it cannot be taken from staging in one move."""
    return f"{upload_id}.part"


def copying(upload_id: str) -> str:
    """In SEALED: a file that is being copied because its inode cannot be trusted."""
    return f"{upload_id}~"


def leaving(upload_id: str) -> str:
    """In SEALED: a committed directory that was taken back from its place, to be removed."""
    return f"{upload_id}.out"


def intent(upload_id: str) -> str:
    """In SEALED: that a placeholder at the final path, if empty, is this upload's."""
    return f"{upload_id}.placing"


def sealed_entries(upload_id: str) -> tuple[str, ...]:
    """All that SEALED may hold of an upload."""
    return tuple(upload_id + suffix for suffix in _SUFFIXES)


def upload_of(entry: str) -> str:
    """The upload an entry of SEALED belongs to; "" for what never was ours."""
    uid = entry[:36]
    return uid if is_uid(uid) and entry[36:] in _SUFFIXES else ""


def split_name(name: str) -> tuple[tuple[str, ...], str]:
    """The folders of a dataset's name, and its last part."""
    *folders, last = name.split("/")
    return tuple(folders), last


def is_rsync_root(text: str) -> bool:
    """host:/path, user@host:/path, or rsync://host[:port]/module[/path]; nothing that a shell or rsync
    itself takes for more than an address.
    """
    return _RSYNC_ROOT.fullmatch(text) is not None and ".." not in text.split("/")


def staging_path(client_root: str, area: str) -> str:
    """As client hosts see it, or rsync."""
    return f"{client_root.rstrip('/')}/{OWN}/{STAGING}/{area}"


def identity_path(client_root: str) -> str:
    return f"{client_root.rstrip('/')}/{OWN}/{IDENTITY}"


def dataset_path(client_root: str, name: str) -> str:
    return f"{client_root.rstrip('/')}/{name}"
