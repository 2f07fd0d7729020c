"""Which routes want a dataset, and why the others do not. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from librarian.globs import compile_glob
from transfer_svc.sending.values import BackfillState, Destination, DestinationKind, Route

# Clocks of services of one site may differ by so much.
_SLACK: Final = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Subject:
    """A dataset, as far as routes ask. `stores`: of this site, with a copy that is well; `sites`: other
    sites that have receipted it.
    """

    uid: str
    name: str
    kind: int
    size_bytes: int
    tags: Mapping[str, str]
    publish_time: datetime
    stores: Collection[str]
    sites: Collection[str]

    def is_at(self, destination: Destination) -> bool:
        held = self.sites if destination.kind is DestinationKind.PEER else self.stores
        return destination.name in held


def name_mismatch(name: str, route: Route) -> str:
    """Why the route does not want this name; "" where it does."""
    if route.name_glob and not compile_glob(route.name_glob).matches(name):
        return f"its name does not match {route.name_glob}"
    return ""


def mismatch(subject: Subject, route: Route) -> str:
    """Why the route does not want the dataset; "" where it does."""
    if reason := name_mismatch(subject.name, route):
        return reason
    for key, wanted in route.tags.items():
        if key not in subject.tags:
            return f"it has no tag {key}"
        if wanted and subject.tags[key] != wanted:
            return f"its tag {key} is {subject.tags[key]}, not {wanted}"
    if route.backfill_state == BackfillState.NONE and subject.publish_time < route.create_time - _SLACK:
        return "it is older than the route, which was added without backfill"
    return ""


def obstacle(subject: Subject, route: Route) -> str:
    """Why a dataset that the route wants is not to be planned now; "" where it is."""
    if subject.is_at(route.to):
        return f"it is at {route.to} already"
    if not subject.stores:
        return "no copy here is well"
    return ""
