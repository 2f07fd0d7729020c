"""Who brings, by the verified caller of a call."""

from __future__ import annotations

from librarian.errors import BatchNotFound
from svckit.auth import Caller, Role
from transfer_svc.receiving.values import Bringer


def bringer_of(caller: Caller) -> Bringer:
    """A peer by its site's name; everyone else who may call is a service of this site."""
    if caller.role is Role.PEER:
        return Bringer(caller.subject, caller.token_id, caller.subject)
    return Bringer("", caller.token_id, caller.subject)


def no_such_batch(batch_id: str) -> BatchNotFound:
    """Also of others' batches: who asks is told nothing of them."""
    return BatchNotFound(f"there is no batch {batch_id[:80]} of yours here", batch_id=batch_id[:80])
