from __future__ import annotations

import hashlib
import random
from dataclasses import replace
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from librarian.api.common.v1 import common_pb2
from librarian.checksums import Checksum, checksum_of
from librarian.errors import InvalidInput, InvalidName, InvalidSize, LibrarianError, LinkOutside
from librarian.manifests import (
    DatasetKind,
    Member,
    MemberKind,
    TreeDigest,
    check_members,
    tree_digest,
    tree_line,
)

EMPTY = checksum_of("sha256", b"")
part = st.text(st.sampled_from("ab-%é \n\x01.Z\U0001f52d"), min_size=1, max_size=4).filter(
    lambda text: text not in {".", ".."}
)
paths = st.lists(part, min_size=1, max_size=3).map("/".join)


def file(path: str, content: bytes = b"", *, mode: int = 0o644, mtime_ns: int = 0) -> Member:
    return Member(
        path, MemberKind.FILE, len(content), checksum_of("sha256", content), mode=mode, mtime_ns=mtime_ns
    )


def directory(path: str) -> Member:
    return Member(path, MemberKind.DIRECTORY)


def link(path: str, target: str) -> Member:
    return Member(path, MemberKind.SYMLINK, link_target=target)


@st.composite
def trees(draw: st.DrawFn) -> list[Member]:
    found = []
    for path in draw(st.sets(paths, max_size=6)):
        kind = draw(st.sampled_from(["file", "file", "directory", "link"]))
        if kind == "file":
            found.append(file(path, draw(st.binary(max_size=3)), mtime_ns=draw(st.integers(0, 9))))
        else:
            found.append(directory(path) if kind == "directory" else link(path, draw(part)))
    found.sort(key=lambda member: member.path)
    try:
        check_members(found)
    except LibrarianError:
        assume(False)
    return found


def test_kinds_are_those_of_the_protocol() -> None:
    for kind in DatasetKind:
        assert common_pb2.DatasetKind.Value(f"DATASET_KIND_{kind.name}") == kind
    for member_kind in MemberKind:
        assert common_pb2.MemberKind.Value(f"MEMBER_KIND_{member_kind.name}") == member_kind
    assert len(common_pb2.DatasetKind.keys()) == len(DatasetKind) + 1
    assert len(common_pb2.MemberKind.keys()) == len(MemberKind) + 1


def test_the_digest_to_the_byte() -> None:
    members = [
        link("z l", "a b/100%"),
        file("a/\n\x01", b"hello"),
        directory("a b"),
        file("é", b""),
        file("Z", b"x"),
    ]
    hello, x = hashlib.sha256(b"hello").hexdigest(), hashlib.sha256(b"x").hexdigest()
    expected = (
        "librarian-tree-v1\n"
        f"f 1 sha256:{x} Z\n"
        "d a%20b\n"
        f"f 5 sha256:{hello} a/%0A%01\n"
        "l a%20b/100%25 z%20l\n"
        f"f 0 sha256:{hashlib.sha256(b'').hexdigest()} é\n"
    ).encode()
    assert tree_digest("sha256", members) == checksum_of("sha256", expected)
    assert tree_digest("blake3", members) == checksum_of("blake3", expected)
    assert tree_digest("sha256", []) == checksum_of("sha256", b"librarian-tree-v1\n")


@given(trees(), st.randoms())
def test_order_modes_and_times_do_not_count(members: list[Member], rng: random.Random) -> None:
    shuffled = [replace(member, mode=rng.randrange(4096), mtime_ns=rng.randrange(10)) for member in members]
    rng.shuffle(shuffled)
    assert tree_digest("sha256", shuffled) == tree_digest("sha256", members)


@given(trees(), trees())
def test_different_trees_have_different_digests(one: list[Member], other: list[Member]) -> None:
    def counted(members: list[Member]) -> list[Member]:
        return [replace(member, mode=0, mtime_ns=0) for member in members]

    same = counted(one) == counted(other)
    assert (tree_digest("sha256", one) == tree_digest("sha256", other)) == same


@given(trees(), st.data())
def test_any_change_changes_the_digest(members: list[Member], data: st.DataObject) -> None:
    assume(members)
    index = data.draw(st.integers(0, len(members) - 1))
    chosen = members[index]
    rest = members[:index] + members[index + 1 :]
    changes = [rest, [*rest, replace(chosen, path=f"{chosen.path}!")], [*members, directory("zz")]]
    if chosen.kind is MemberKind.FILE:
        changes += [
            [*rest, replace(chosen, size_bytes=chosen.size_bytes + 1)],
            [*rest, replace(chosen, checksum=checksum_of("sha256", b"another content"))],
            [*rest, replace(chosen, checksum=Checksum("blake3", EMPTY.value))],
            [*rest, directory(chosen.path)],
        ]
    if chosen.kind is MemberKind.SYMLINK:
        changes.append([*rest, replace(chosen, link_target=f"{chosen.link_target}!")])
    if chosen.kind is MemberKind.DIRECTORY:
        changes.append([*rest, file(chosen.path)])
    digests = [tree_digest("sha256", changed) for changed in changes]
    assert tree_digest("sha256", members) not in digests


@given(trees())
def test_lines_can_be_read_back(members: list[Member]) -> None:
    """So no two lists share the bytes that are hashed."""
    for member in members:
        line = tree_line(member)
        assert line.count(b"\n") == 1
        fields = line.removesuffix(b"\n").split(b" ")
        assert unquote_to_bytes(fields[-1]).decode() == member.path
        if member.kind is MemberKind.FILE:
            assert fields[:-1] == [b"f", b"%d" % member.size_bytes, str(member.checksum).encode()]
        elif member.kind is MemberKind.SYMLINK:
            assert [fields[0], unquote_to_bytes(fields[1]).decode()] == [b"l", member.link_target]
        else:
            assert fields[:-1] == [b"d"]


@given(trees())
def test_feeding_in_order_is_the_same(members: list[Member]) -> None:
    digest = TreeDigest("sha256")
    for member in members:
        digest.add(member)
    assert digest.checksum() == tree_digest("sha256", members)


def test_a_long_list_is_fed_in_pieces() -> None:
    members = [file(f"{index:06}") for index in range(5000)]
    lines = b"librarian-tree-v1\n" + b"".join(map(tree_line, members))
    assert tree_digest("sha256", reversed(members)) == checksum_of("sha256", lines)


def test_feeding_out_of_order_or_twice_is_refused() -> None:
    digest = TreeDigest("sha256")
    digest.add(file("b"))
    with pytest.raises(InvalidInput, match="twice"):
        digest.add(file("b"))
    with pytest.raises(InvalidInput, match="out of order"):
        digest.add(file("a"))


def test_neighbours_that_are_no_parents() -> None:
    check_members([file("a"), file("a-b"), file("a.b"), file("ab/c"), file("ab/d"), directory("b")])


BAD: list[tuple[list[Member], type[LibrarianError], str]] = [
    ([file("a"), file("a")], InvalidInput, "twice"),
    ([file("b"), file("a")], InvalidInput, "out of order"),
    ([file("a"), file("a/b")], InvalidInput, "lies inside"),
    ([file("a"), file("a-b"), file("a/b")], InvalidInput, "lies inside"),
    ([link("a", "b"), file("a/b")], InvalidInput, "lies inside"),
    ([directory("a"), file("a!"), file("a!b"), file("a/b/c")], InvalidInput, "lies inside"),
    ([file("../a")], InvalidName, "`..`"),
    ([file("")], InvalidName, "empty"),
    ([link("a", "../b")], LinkOutside, "outside"),
    ([link("a", "/b")], LinkOutside, "outside"),
    ([link("d", "."), link("x", "d/../y")], LinkOutside, "outside"),
    ([Member("a", MemberKind.FILE)], InvalidInput, "without a checksum"),
    ([Member("a", MemberKind.FILE, -1, EMPTY)], InvalidSize, "negative"),
    ([Member("a", MemberKind.DIRECTORY, 0, EMPTY)], InvalidInput, "no file"),
    ([Member("a", MemberKind.DIRECTORY, 1)], InvalidInput, "no file"),
    ([Member("a", MemberKind.SYMLINK)], InvalidInput, "without a target"),
    ([Member("a", MemberKind.FILE, 0, EMPTY, "b")], InvalidInput, "no link"),
]


@pytest.mark.parametrize(("members", "error", "words"), BAD)
def test_lists_that_can_be_no_dataset(members: list[Member], error: type[LibrarianError], words: str) -> None:
    with pytest.raises(error, match=words) as caught:
        check_members(members)
    assert type(caught.value) is error


def test_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("librarian.manifests.MAX_MEMBERS", 2)
    check_members([file("a"), file("b")])
    with pytest.raises(InvalidSize, match="3 entries") as caught:
        check_members([file("a"), file("b"), file("c")])
    assert "several datasets" in caught.value.remedy
