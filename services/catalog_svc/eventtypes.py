"""The types of events in the site's log."""

from __future__ import annotations

# A dataset became visible, with the replica on the event's store.
DATASET_PUBLISHED = "DATASET_PUBLISHED"
# A replica that was not known.
REPLICA_ADDED = "REPLICA_ADDED"
# Every byte was re-read and agreed; the replica stays AVAILABLE.
REPLICA_VERIFIED = "REPLICA_VERIFIED"
REPLICA_STATE_CHANGED = "REPLICA_STATE_CHANGED"
# Another site's receipt came that was not known; the event's details say for which copy there.
RECEIPT_RECORDED = "RECEIPT_RECORDED"
