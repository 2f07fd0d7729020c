"""Opening ingests on stores: place, tell the store, and fall to the next store where one refuses."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from librarian.api.store.v1 import store_pb2
from librarian.errors import IngestClosed, LibrarianError, Unavailable
from librarian.manifests import DatasetKind
from librarian.messages import error_of
from svckit.auth import Caller
from transfer_svc import queries
from transfer_svc.context import Context
from transfer_svc.lifecycle import IngestState
from transfer_svc.messages import upload_spec
from transfer_svc.outcomes import another_store_may
from transfer_svc.planning import Plan, Wanted, place
from transfer_svc.values import Ingest

# Of one BeginUploads call.
MAX_UPLOADS: Final = 500


@dataclass(frozen=True, slots=True)
class _Group:
    """Ingests (by index) that share a staging area. `subject`: whose they are. `resumed`: the store was
    chosen by an earlier request, and bytes may lie there.
    """

    store: str
    name: str
    subject: str
    indices: Sequence[int]
    resumed: bool


class Opening:
    """Of one request. After `run` each ingest is in `opened` (the number of its grant) or in `errors`;
    `refused` has those of the latter that nothing is left of (the store that refused it last, or "").

    `subject_of`: whose an ingest is that an earlier request has placed.
    """

    def __init__(
        self, context: Context, caller: Caller, *, only: str, subject_of: Callable[[Ingest], str]
    ) -> None:
        self._context = context
        self._caller = caller
        self._only = only
        self._subject_of = subject_of
        self._ingests: Mapping[int, Ingest] = {}
        self._store_of: dict[int, str] = {}
        self._refused_by: dict[int, dict[str, LibrarianError]] = {}
        self.opened: dict[int, int] = {}
        self.errors: dict[int, LibrarianError] = {}
        self.refused: dict[int, str] = {}
        self.grants: list[store_pb2.UploadGrant] = []

    async def run(self, ingests: Mapping[int, Ingest]) -> None:
        self._ingests = ingests
        self._store_of = {index: ingest.store for index, ingest in ingests.items()}
        groups = await self._resumed()
        todo = [index for index, ingest in ingests.items() if not ingest.store]
        while todo or groups:
            if todo:
                groups += await self._place(todo)
            again = await asyncio.gather(*(self._begin(group) for group in groups))
            self._context.faults.hit("begin.stores_told")
            todo = [index for indices in again for index in indices]
            groups = []

    async def _resumed(self) -> list[_Group]:
        """Groups of the ingests that have a store already; their expiry is put off."""
        placed = {index: ingest for index, ingest in self._ingests.items() if ingest.store}
        if placed:
            now = self._context.clock.now()
            ids = [ingest.ingest_id for ingest in placed.values()]
            async with self._context.database.hot() as connection:
                await queries.prolong_ingests(
                    connection, ids, now=now, expire_time=now + self._context.lifetime
                )
            self._context.faults.hit("begin.prolonged")
        return self._as_placed(placed)

    def _as_placed(self, placed: Mapping[int, Ingest]) -> list[_Group]:
        sharing: dict[tuple[str, str, str], list[int]] = {}
        for index, ingest in placed.items():
            self._store_of[index] = ingest.store
            key = (ingest.store, ingest.staging_group, self._subject_of(ingest))
            sharing.setdefault(key, []).append(index)
        return [_Group(*key, indices, resumed=True) for key, indices in sharing.items()]

    async def _place(self, todo: Sequence[int]) -> list[_Group]:
        """Chooses a store for each and writes the choice down; those without one are refused."""
        plan = await self._plan(todo)
        for index, error in plan.errors.items():
            # What the last store said is nearer to the truth than our own arithmetic.
            said = list(self._refused_by.get(index, {}).values())
            self._refuse(index, said[-1] if said else error)
        if not plan.by_store:
            return []
        calls = [
            (store, self._context.ids.new_uid(), part)
            for store, indices in plan.by_store.items()
            for part in _parts(indices)
        ]
        places = [
            (self._ingests[index].ingest_id, self._store_of[index], store, group)
            for store, group, part in calls
            for index in part
        ]
        async with self._context.database.hot() as connection:
            ours = await queries.place_ingests(connection, places)
            others = [uid for uid, *_ in places if uid not in ours]
            found = await queries.fetch_ingests(connection, others) if others else {}
        self._context.faults.hit("begin.placed")
        groups = []
        for store, group, part in calls:
            mine = [index for index in part if self._ingests[index].ingest_id in ours]
            self._store_of |= dict.fromkeys(mine, store)
            if mine:
                groups.append(_Group(store, group, self._caller.subject, mine, resumed=False))
        return groups + self._placed_by_another(found, plan, ours)

    def _placed_by_another(
        self, found: Mapping[str, Ingest], plan: Plan, ours: Collection[str]
    ) -> list[_Group]:
        """The same request is under way twice: both go on with the store that was written down first."""
        elsewhere: dict[int, Ingest] = {}
        for index in (index for indices in plan.by_store.values() for index in indices):
            uid = self._ingests[index].ingest_id
            if uid in found and found[uid].state == IngestState.OPEN:
                elsewhere[index] = found[uid]
            elif uid not in ours:
                self.errors[index] = _gone(uid, found.get(uid))
        return self._as_placed(elsewhere)

    async def _plan(self, todo: Sequence[int]) -> Plan:
        """By what stores said a moment ago; where that leaves one without a place, by what they say now."""
        wanted = [self._wanted(index) for index in todo]
        plan = Plan()
        for fresh in (False, True):
            listing = await self._context.stores.listing(fresh=fresh)
            plan = place(wanted, listing.stores, only=self._only, silent=listing.silent)
            if not plan.errors:
                break
        return plan

    def _wanted(self, index: int) -> Wanted:
        ingest = self._ingests[index]
        return Wanted(
            index,
            ingest.size_bytes,
            is_file=ingest.kind == DatasetKind.FILE,
            refused_by=frozenset(self._refused_by.get(index, ())),
        )

    async def _begin(self, group: _Group) -> list[int]:
        """Tells the store of a group; answers the indices that another store may take."""
        uploads = [upload_spec(self._ingests[index]) for index in group.indices]
        try:
            service = await self._context.stores.service_of(group.store)
            response = await service.BeginUploads(
                store_pb2.BeginUploadsRequest(
                    request_id=self._context.ids.new_uid(),
                    store=group.store,
                    uploads=uploads,
                    token_id=self._caller.token_id,
                    subject=group.subject,
                )
            )
        except LibrarianError as error:
            return [index for index in group.indices if not self._is_decided(group, index, error, whole=True)]
        errors = {each.upload_id: error_of(each.error) for each in response.errors}
        opened = [index for index in group.indices if self._ingests[index].ingest_id not in errors]
        if opened:
            number = len(self.grants)
            self.grants.append(response.grant)
            self.opened |= dict.fromkeys(opened, number)
        refused = {index: errors.get(self._ingests[index].ingest_id) for index in group.indices}
        return [
            index
            for index, error in refused.items()
            if error is not None and not self._is_decided(group, index, error, whole=False)
        ]

    def _is_decided(self, group: _Group, index: int, error: LibrarianError, *, whole: bool) -> bool:
        """Whether this error is the item's verdict; False: the next store is to be asked.

        `whole`: the call failed, and what the store did before may not be known. Then the ingest stays as
        it is: this request again goes on with the same store, and nothing is reserved twice. A store that
        refuses one item of a call holds nothing of it.
        """
        if another_store_may(error) and not (whole and group.resumed):
            self._refused_by.setdefault(index, {})[group.store] = error
            return False
        if group.resumed or whole:
            self.errors[index] = error
        else:
            self._refuse(index, error)
        return True

    def _refuse(self, index: int, error: LibrarianError) -> None:
        self.errors[index] = error
        self.refused[index] = self._store_of[index]


def _parts(indices: Sequence[int]) -> list[Sequence[int]]:
    """As one call to a store takes them."""
    return [indices[start : start + MAX_UPLOADS] for start in range(0, len(indices), MAX_UPLOADS)]


def _gone(uid: str, ingest: Ingest | None) -> LibrarianError:
    """Why an ingest can be placed no more."""
    if ingest is None:
        # This request was under way twice, and the other one met passing trouble and forgot the ingest.
        return Unavailable(f"ingest {uid} met trouble in a repetition of this request", ingest_id=uid)
    return IngestClosed(f"ingest {uid} was closed while it was opened", ingest_id=uid)
