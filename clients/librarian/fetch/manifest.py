"""Which members a dataset has, and which of them are asked for."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence

from librarian.api.catalog.v1 import catalog_pb2
from librarian.api.common.v1 import common_pb2
from librarian.connection.channel import SiteChannel
from librarian.errors import ChecksumMismatch, KindMismatch, MemberNotFound
from librarian.manifests import Member, MemberKind, check_members, tree_digest
from librarian.messages import checksum_from_proto, member_from_proto
from librarian.names import printable

PAGE_SIZE = 1000


async def list_members(
    site: SiteChannel, uid: str, glob: str = ""
) -> AsyncGenerator[common_pb2.Member, None]:
    """In path order."""
    page_token = ""
    while True:
        request = catalog_pb2.ListMembersRequest(
            uid=uid, page_size=PAGE_SIZE, page_token=page_token, path_glob=glob
        )
        answer = await site.unary(site.catalog.ListMembers, request)
        for member in answer.members:
            yield member
        page_token = answer.next_page_token
        if not page_token:
            return


async def wanted_members(
    site: SiteChannel, dataset: catalog_pb2.Dataset, globs: Sequence[str]
) -> list[Member]:
    """In path order, checked: paths and links that stay inside, and for a whole directory the digest over
    all of them. A dataset of one file is one member without a path.

    Raises MEMBER_NOT_FOUND, KIND_MISMATCH, CHECKSUM_MISMATCH.
    """
    shown = printable(dataset.name)
    if dataset.kind == common_pb2.DATASET_KIND_FILE:
        if globs:
            raise KindMismatch(f"{shown} is a single file and has no members", name=dataset.name)
        checksum = checksum_from_proto(dataset.digest)
        return [Member("", MemberKind.FILE, dataset.size_bytes, checksum)]
    found: dict[str, Member] = {}
    for glob in globs or [""]:
        async for message in list_members(site, dataset.uid, glob):
            found[message.path] = member_from_proto(message)
    if globs and not found:
        what = " or ".join(printable(glob) for glob in globs)
        raise MemberNotFound(f"no member of {shown} matches {what}", name=dataset.name)
    members = [found[path] for path in sorted(found)]
    check_members(members)
    if not globs and tree_digest(dataset.digest.algorithm, members) != checksum_from_proto(dataset.digest):
        raise ChecksumMismatch(
            f"the catalogue's list of members of {shown} does not agree with its digest",
            remedy="the catalogue is damaged: tell the site's admin",
            name=dataset.name,
        )
    return members
