"""Members as columns, checked one by one. Pure."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, fields

from librarian.api.common.v1 import common_pb2
from librarian.checksums import Checksum
from librarian.errors import InvalidInput, InvalidSize, LibrarianError
from librarian.manifests import MemberKind
from librarian.names import check_member_path, printable

from .columns import is_storable

# What a 4-byte integer column takes; permission bits are far fewer.
_MAX_MODE = 0o177777
_KINDS = frozenset(int(kind) for kind in MemberKind)


@dataclass(slots=True)
class MemberColumns:
    """Index i of every list speaks of member i."""

    uids: list[str] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    kinds: list[int] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    algorithms: list[str | None] = field(default_factory=list)
    checksums: list[bytes | None] = field(default_factory=list)
    targets: list[str] = field(default_factory=list)
    modes: list[int] = field(default_factory=list)
    mtimes: list[int] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.paths)

    def add(self, uid: str, member: common_pb2.Member) -> None:
        """Raises InvalidName, InvalidSize, InvalidInput or AlgorithmNotAllowed, naming the member."""
        check_member_path(member.path)
        try:
            checksum = _checksum(member)
        except LibrarianError as error:
            error.metadata.update(uid=uid, path=printable(member.path))
            raise
        self.uids.append(uid)
        self.paths.append(member.path)
        self.kinds.append(member.kind)
        self.sizes.append(member.size_bytes)
        self.algorithms.append(checksum.algorithm if checksum else None)
        self.checksums.append(checksum.value if checksum else None)
        self.targets.append(member.link_target)
        self.modes.append(member.mode)
        self.mtimes.append(member.mtime_ns)

    def last_words(self, closed: Collection[str]) -> MemberColumns:
        """Each member once, as last told, without those of the datasets in `closed`."""
        last = {key: index for index, key in enumerate(zip(self.uids, self.paths, strict=True))}
        if len(last) == len(self) and not closed:
            return self
        chosen = [index for (uid, _), index in last.items() if uid not in closed]
        columns = (getattr(self, each.name) for each in fields(self))
        return MemberColumns(*([column[index] for index in chosen] for column in columns))


def _checksum(member: common_pb2.Member) -> Checksum | None:
    """A file's checksum; None for what is no file. Refuses what cannot be a member."""
    kind = int(member.kind)
    is_file = kind == MemberKind.FILE
    if kind not in _KINDS:
        raise _bad(member, "is of an unknown kind")
    if member.size_bytes < 0 or (member.size_bytes and not is_file):
        raise InvalidSize(f"the member {printable(member.path)!r} has a size of {member.size_bytes} bytes")
    if member.HasField("checksum") != is_file:
        raise _bad(member, "is a file without a checksum" if is_file else "has a checksum and is no file")
    if bool(member.link_target) != (kind == MemberKind.SYMLINK) or not is_storable(member.link_target):
        raise _bad(member, "has a link target that does not fit")
    if member.mode > _MAX_MODE:
        raise _bad(member, f"has mode {member.mode:o}, which no file has")
    return Checksum(member.checksum.algorithm, member.checksum.value).checked() if is_file else None


def _bad(member: common_pb2.Member, trouble: str) -> InvalidInput:
    return InvalidInput(f"the member {printable(member.path)!r} {trouble}")
