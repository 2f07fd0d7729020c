"""Leaves nothing on the store of an upload that was given up or failed. Can be done again."""

from __future__ import annotations

import os
from contextlib import suppress

from librarian.manifests import DatasetKind
from store_svc import layout
from store_svc.directories import below, lstat, prune, remove
from store_svc.identity import OpenRoot
from store_svc.placing import is_its_own, is_placeholder
from store_svc.records import Upload
from store_svc.sidecars import remove_sidecar


def remove_upload(root: OpenRoot, upload: Upload, *, records: bool) -> None:
    """Staged, sealed and placed bytes, folders left empty, and with `records` sidecar and manifest. OSError
    where something cannot be removed: whatever can be is gone by then, and a later call does the rest.
    """
    uid = upload.upload_id
    _take_back(root, upload)
    with (
        suppress(FileNotFoundError, NotADirectoryError),
        below(root.own, (layout.STAGING, upload.area)) as area,
    ):
        remove(uid, at=area)
    for entry in layout.sealed_entries(uid):
        remove(entry, at=root.sealed)
    if records:
        remove_sidecar(root.own, upload.uid)


def _take_back(root: OpenRoot, upload: Upload) -> None:
    """From the final path, what this upload placed there; what is another's stays."""
    folders, last = layout.split_name(upload.name)
    noted = lstat(layout.intent(upload.upload_id), at=root.sealed) is not None
    with suppress(FileNotFoundError, NotADirectoryError), below(root.root, folders) as parent:
        there = lstat(last, at=parent)
        if there is not None and is_its_own(upload, there):
            # Out of sight in one step; emptied there.
            leaving = layout.leaving(upload.upload_id)
            os.rename(last, leaving, src_dir_fd=parent, dst_dir_fd=root.sealed)
        elif there is not None and noted:
            _remove_placeholder(last, parent, there, directory=upload.kind is DatasetKind.DIRECTORY)
    prune(root.root, folders)


def _remove_placeholder(last: str, parent: int, there: os.stat_result, *, directory: bool) -> None:
    if not is_placeholder(there, directory=directory):
        return
    if directory:
        with suppress(OSError):  # not empty: somebody uses it now
            os.rmdir(last, dir_fd=parent)
    else:
        os.unlink(last, dir_fd=parent)
