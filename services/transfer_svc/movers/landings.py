"""Where bytes may go: the receiver says where it wants them, and what was agreed with it is the limit."""

from __future__ import annotations

import errno
import os
import re

from librarian.api.store.v1.store_pb2 import UploadGrant
from librarian.errors import LandingInvalid, LibrarianError, StoreFull, Unavailable, UploadTooLarge
from librarian.fileerrors import is_full, no_room
from librarian.ingest.local import StagingArea, prove_staging
from librarian.names import printable
from transfer_svc.movers.base import Batch

_UPLOAD_ID = re.compile(r"[0-9A-Za-z][0-9A-Za-z-]{0,63}")
_PROOF_NAME = re.compile(r"\.?[0-9A-Za-z][0-9A-Za-z._-]{0,63}")
_GONE = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.EACCES, errno.EPERM, errno.EROFS}


def check_upload_id(upload_id: str) -> str:
    """The id itself, where it can be one part of a path. Raises LandingInvalid."""
    if _UPLOAD_ID.fullmatch(upload_id) is None:
        raise LandingInvalid(f"{printable(upload_id)!r} cannot be the id of an upload")
    return upload_id


def agreed_root(batch: Batch) -> str:
    """What was agreed with the peer; "" for this site itself. Raises LandingInvalid where nothing was."""
    if batch.peer and not batch.landing_root:
        raise LandingInvalid(
            f"no landing was agreed with {batch.peer} for this way",
            remedy="set the landing of the route to what the peer offers",
            peer=batch.peer,
        )
    return batch.landing_root


def proven_area(grant: UploadGrant, root: str) -> StagingArea:
    """Blocking. The directory of `staging_path`, which lies below `root` (where given) after all links and
    is the receiver's. Raises LandingInvalid, StoreFull.
    """
    path = grant.staging_path
    shown = printable(path)
    if not path.startswith("/") or "\0" in path:
        raise LandingInvalid("the receiver offers no path for this way", path=shown)
    real = os.path.realpath(path)
    if root and os.path.commonpath([real, os.path.realpath(root)]) != os.path.realpath(root):
        raise LandingInvalid(
            f"{shown!r} is not below {printable(root)!r}, which was agreed", path=shown, root=printable(root)
        )
    if _PROOF_NAME.fullmatch(grant.proof_name) is None:
        raise LandingInvalid(f"{shown!r} cannot be proven to be the receiver's", path=shown)
    resolved = UploadGrant(staging_path=real, proof_name=grant.proof_name, proof=grant.proof)
    area = prove_staging(resolved)
    if area is None:
        raise _unproven(real, shown)
    return area


def _unproven(path: str, shown: str) -> LibrarianError:
    try:
        room = os.statvfs(path)
    except OSError:
        room = None
    if room is not None and room.f_blocks and not room.f_bavail:
        return StoreFull(f"no room to write below {shown!r}", path=shown)
    return LandingInvalid(
        f"{shown!r} is not the receiver's staging area, or cannot be written to",
        remedy="mount the receiver's store where it says, writable; or take another way",
        path=shown,
    )


def landing_error(error: OSError, place: str) -> LibrarianError:
    """For trouble while writing at `place`."""
    shown = printable(place)
    if is_full(error):
        return no_room(error, place)
    if error.errno == errno.EFBIG:
        return UploadTooLarge(f"{shown!r} is larger than files can be there", path=shown)
    if error.errno in _GONE:
        return LandingInvalid(f"{shown!r} cannot be written: {error.strerror}", path=shown)
    return Unavailable(f"{shown!r} could not be written: {error.strerror or error}", path=shown)
