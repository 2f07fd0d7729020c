"""Promises never exceed what there is."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from store_svc.room import NO_LIMIT, Amount, Books, Disk, Limits, grants, room, wanted

sizes = st.integers(0, 1 << 50)
counts = st.integers(0, 1 << 30)
amounts = st.builds(Amount, sizes, counts)


def a_disk(available: int = 1000 << 20, inodes: int = 0) -> Disk:
    return Disk(2000 << 20, available, 2 * inodes, inodes)


@given(
    disk=st.builds(Disk, sizes, sizes, counts, counts),
    limits=st.builds(Limits, st.floats(0, 1), sizes, counts),
    books=st.builds(Books, amounts, amounts, amounts),
    wants=st.lists(st.builds(wanted, sizes, counts), max_size=30),
)
def test_granted_sums_fit(disk: Disk, limits: Limits, books: Books, wants: list[Amount]) -> None:
    available = room(disk, limits, books)
    granted = [want for want, answer in zip(wants, grants(available, wants), strict=True) if answer]
    total = sum(granted, Amount())
    if granted:
        assert total.footprint_bytes <= available.disk_bytes <= disk.available_bytes
        assert total.data_bytes <= available.own_bytes
        assert total.inodes <= min(available.disk_inodes, available.own_inodes)
        if limits.max_bytes:
            assert books.held.data_bytes + books.promised.data_bytes + total.data_bytes <= limits.max_bytes
    assert available.grantable_bytes >= 0


@given(
    disk=st.builds(Disk, sizes, sizes, counts, counts),
    limits=st.builds(Limits, st.floats(0, 1), sizes, counts),
)
def test_grantable_is_granted_and_a_byte_more_is_not(disk: Disk, limits: Limits) -> None:
    available = room(disk, limits, Books())
    most = available.grantable_bytes
    if most:
        assert grants(available, [wanted(most, 1), wanted(0, 1)])[0]
    assert not available.has(wanted(most + 1, 1)) or most == NO_LIMIT


def test_fill_fraction_keeps_some_free() -> None:
    assert room(a_disk(), Limits(0.75), Books()).disk_bytes == 500 << 20
    assert room(a_disk(), Limits(), Books()).disk_bytes == 900 << 20
    assert (
        room(a_disk(), Limits(1.0, max_bytes=100), Books(held=Amount(30), promised=Amount(20))).own_bytes
        == 50
    )


def test_file_systems_without_an_inode_limit() -> None:
    assert room(a_disk(), Limits(), Books()).disk_inodes == NO_LIMIT
    assert room(a_disk(inodes=100), Limits(1.0), Books(to_come=Amount(0, 40))).disk_inodes == 60


def test_small_files_count_with_their_blocks() -> None:
    assert wanted(1, 0).footprint_bytes > 3 * 4096
