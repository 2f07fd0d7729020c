"""VerifyReplica: every byte of a held dataset against its recorded manifest.

The manifest and the tree are walked side by side in path order, so memory does not grow with the
dataset; files are read by all cores, a bounded number ahead.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from itertools import islice
from threading import Event
from typing import Final

from librarian.checksums import Checksum
from librarian.errors import Cancelled, LibrarianError, ReplicaCorrupt
from librarian.filehash import hash_descriptor
from librarian.manifests import DatasetKind, Member, TreeDigest
from store_svc import layout
from store_svc.claims import Looks
from store_svc.directories import READ, below, opened
from store_svc.identity import OpenRoot
from store_svc.kit import Kit
from store_svc.looking import SPECIAL, look, walk_dataset
from store_svc.queries import holdings as queries
from store_svc.reading import held, members_of
from store_svc.records import Fingerprint, Holding, Store
from store_svc.taking import SealedEntry

MAX_FINDINGS: Final = 1000
_GROUP_FILES: Final = 64
_GROUP_BYTES: Final = 64 << 20
_TELL_SECONDS: Final = 1.0


class Finding(StrEnum):
    CHANGED = "CHANGED"
    MISSING = "MISSING"
    EXTRA = "EXTRA"
    UNREADABLE = "UNREADABLE"
    KIND_CHANGED = "KIND_CHANGED"


class Verdict(StrEnum):
    AVAILABLE = "AVAILABLE"
    CORRUPT = "CORRUPT"
    MISSING = "MISSING"


@dataclass(frozen=True, slots=True)
class MemberFinding:
    path: str
    reason: Finding
    location: str
    expected: Checksum | None = None
    found: Checksum | None = None


@dataclass(slots=True)
class Report:
    holding: Holding
    verdict: Verdict = Verdict.AVAILABLE
    findings: list[MemberFinding] = field(default_factory=list)
    finding_count: int = 0
    read_bytes: int = 0
    time: datetime | None = None


@dataclass(frozen=True, slots=True)
class VerifyProgress:
    """`report` on the last one."""

    verified_bytes: int
    total_bytes: int
    report: Report | None = None


@dataclass(frozen=True, slots=True)
class Pair:
    """What is recorded and what is there, of one path."""

    member: Member | None
    entry: SealedEntry | None


async def verify_replica(kit: Kit, store_name: str, uid: str) -> AsyncIterator[VerifyProgress]:
    """Raises ReplicaNotFound, StoreDisabled, StoreIdentity."""
    store = await kit.store(store_name)
    holding = await held(kit, store_name, uid)
    async with kit.open_root(store) as root:
        run = _Verification(kit, store, root, holding)
        work = asyncio.create_task(run.run())
        try:
            while not work.done():
                await asyncio.wait([work], timeout=_TELL_SECONDS)
                if not work.done():
                    yield VerifyProgress(run.report.read_bytes, holding.size_bytes)
            report = work.result()
        finally:
            run.stop.set()
            await asyncio.gather(work, return_exceptions=True)
    if report.verdict is Verdict.AVAILABLE:
        assert run.looks is not None
        async with kit.database.transaction() as connection:
            await queries.set_verified(connection, holding, run.looks, kit.clock.now())
    report.time = kit.clock.now()
    yield VerifyProgress(report.read_bytes, holding.size_bytes, report)


class _Verification:
    def __init__(self, kit: Kit, store: Store, root: OpenRoot, holding: Holding) -> None:
        self._kit = kit
        self._root = root
        self._holding = holding
        self._location = layout.dataset_path(store.root, holding.name)
        self._looks = Looks()
        self._recorded = TreeDigest(holding.digest.algorithm)
        self.report = Report(holding)
        self.looks: Fingerprint | None = None
        self.stop = Event()

    async def run(self) -> Report:
        folders, last = layout.split_name(self._holding.name)
        try:
            with below(self._root.root, folders) as parent:
                found = await self._kit.threads.io(look, parent, last)
                if found is not None:
                    await self._compare(self._pairs(parent, last))
        except (FileNotFoundError, NotADirectoryError):
            found = None
        except ReplicaCorrupt as error:
            # The bytes may be good, and nothing is left to tell by.
            self._tell(MemberFinding(error.metadata.get("path", ""), Finding.UNREADABLE, self._location))
        if found is None:
            self._tell(MemberFinding("", Finding.MISSING, self._location, self._holding.digest))
            self.report.verdict = Verdict.MISSING
        elif self.report.finding_count:
            self.report.verdict = Verdict.CORRUPT
        self.looks = self._looks.fingerprint()
        return self.report

    async def _compare(self, pairs: Iterator[Pair]) -> None:
        """Groups of files are read by the pool, a few groups ahead of the one whose findings come next."""
        ahead: deque[asyncio.Task[list[MemberFinding]]] = deque()
        limit = 2 * self._kit.threads.hash_threads
        more = True
        try:
            while more or ahead:
                while more and len(ahead) < limit:
                    group = await self._kit.threads.io(_group, pairs)
                    more = bool(group)
                    if group:
                        ahead.append(asyncio.create_task(self._kit.threads.hash(self._read_group, group)))
                if ahead:
                    for finding in await ahead.popleft():
                        self._tell(finding)
        finally:
            self.stop.set()
            await asyncio.gather(*ahead, return_exceptions=True)
        self._check_recorded()

    def _check_recorded(self) -> None:
        """The manifest itself has to have the digest that the dataset was published with."""
        if self._holding.kind is DatasetKind.DIRECTORY:
            recorded = self._recorded.checksum()
            if recorded != self._holding.digest:
                place = "/".join((layout.OWN, *layout.manifest(self._holding.uid)))
                self._tell(
                    MemberFinding(place, Finding.CHANGED, self._location, self._holding.digest, recorded)
                )

    def _pairs(self, parent: int, last: str) -> Iterator[Pair]:
        members = members_of(self._root, self._holding)
        entries = walk_dataset(parent, last)
        member, entry = next(members, None), next(entries, None)
        while member is not None or entry is not None:
            if entry is None or (member is not None and member.path < entry.path):
                assert member is not None
                self._recorded_one(member)
                yield Pair(member, None)
                member = next(members, None)
            elif member is None or entry.path < member.path:
                self._looks.add(entry)
                yield Pair(None, entry)
                entry = next(entries, None)
            else:
                self._recorded_one(member)
                self._looks.add(entry)
                yield Pair(member, entry)
                member, entry = next(members, None), next(entries, None)

    def _recorded_one(self, member: Member) -> None:
        if self._holding.kind is DatasetKind.DIRECTORY:
            self._recorded.add(member)

    def _read_group(self, pairs: Sequence[Pair]) -> list[MemberFinding]:
        return [finding for pair in pairs if (finding := self._judge(pair)) is not None]

    def _judge(self, pair: Pair) -> MemberFinding | None:
        path = pair.member.path if pair.member is not None else pair.entry.path if pair.entry else ""
        expected = None if pair.member is None else pair.member.checksum
        reason, found = differs(pair), None
        if reason is None and expected is not None:
            try:
                found = self._hash(path)
            except Cancelled:
                raise
            except (LibrarianError, OSError):
                reason = Finding.UNREADABLE
            else:
                reason = None if found == expected else Finding.CHANGED
        if reason is None:
            return None
        location = f"{self._location}/{path}" if path else self._location
        return MemberFinding(path, reason, location, expected, found)

    def _hash(self, path: str) -> Checksum:
        name = f"{self._holding.name}/{path}" if path else self._holding.name
        *folders, last = name.split("/")
        with below(self._root.root, folders) as folder, opened(last, at=folder, flags=READ) as fd:
            checksum, _ = hash_descriptor(
                fd, self._holding.digest.algorithm, name=name, progress=self._count, alone=not path
            )
        return checksum

    def _count(self, count: int) -> None:
        if self.stop.is_set():
            raise Cancelled("nobody waits for this any more")
        self.report.read_bytes += count

    def _tell(self, finding: MemberFinding) -> None:
        self.report.finding_count += 1
        if len(self.report.findings) < MAX_FINDINGS:
            self.report.findings.append(finding)


def differs(pair: Pair) -> Finding | None:
    """What can be told without reading."""
    member, entry = pair.member, pair.entry
    if member is None:
        return Finding.EXTRA
    if entry is None:
        return Finding.MISSING
    if entry.kind is not member.kind or entry.size_bytes == SPECIAL:
        return Finding.KIND_CHANGED
    if (entry.link_target, entry.size_bytes) != (member.link_target, member.size_bytes):
        return Finding.CHANGED
    return None


def _group(pairs: Iterator[Pair]) -> list[Pair]:
    """The next pairs, as many as are worth a thread's while; empty at the end."""
    group: list[Pair] = []
    size = 0
    for pair in islice(pairs, _GROUP_FILES):
        group.append(pair)
        size += pair.entry.size_bytes if pair.entry is not None else 0
        if size >= _GROUP_BYTES:
            break
    return group
