from __future__ import annotations

import random

import asyncpg
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from support.naive_glob import NaiveGlob

from librarian.errors import InvalidGlob
from librarian.globs import MAX_GLOB_CHARACTERS, MAX_WILDCARDS, Glob, compile_glob

PIECES = [
    *(
        "a",
        "b",
        "ab",
        "/",
        "/",
        ".",
        "-",
        "é",
        "\\",
        "$",
        "\n",
        " ",
        "(",
        "{2}",
        "+",
        "|",
        "^",
        "_",
        "d",
        "#",
    ),
    *("*", "*", "?", "**", "**/", "/**/", "/**", "***"),
    *(
        "[ab]",
        "[!a]",
        "[^b]",
        "[a-é]",
        "[+-9]",
        "[]a]",
        "[!]]",
        "[-a]",
        "[a-]",
        "[\\]",
        "[[:alpha:]]",
        "[.^$]",
    ),
]
CHARACTERS = "aabb//.-é\\$\n (+|^_d2{}]:[p#"

patterns = st.lists(st.sampled_from(PIECES), min_size=1, max_size=8).map("".join)
texts = st.text(st.sampled_from(CHARACTERS), max_size=12)


def compiled(pattern: str) -> Glob | None:
    try:
        return compile_glob(pattern)
    except InvalidGlob:
        return None


@settings(max_examples=2000)
@given(patterns, st.lists(texts, min_size=1, max_size=8))
def test_matches_what_it_means(pattern: str, candidates: list[str]) -> None:
    glob = compiled(pattern)
    assume(glob is not None)
    assert glob is not None
    naive = NaiveGlob(pattern)
    for text in candidates:
        assert glob.matches(text) == naive.matches(text), (pattern, text)
        if glob.matches(text):
            assert text.startswith(glob.literal_prefix)
            assert text == pattern or not glob.is_literal


@pytest.mark.parametrize(
    ("pattern", "matching", "others"),
    [
        ("a/**", ["a/b", "a/b/c"], ["a", "b/a", "ab"]),
        ("**/x", ["x", "a/x", "a/b/x"], ["ax", "x/a", "a/bx"]),
        ("**", ["a", "a/b"], []),
        ("a/**/b", ["a/b", "a/c/b", "a/c/d/b"], ["ab", "a/cb", "a/b/c"]),
        ("a/*", ["a/b", "a/.b"], ["a", "a/b/c"]),
        ("*/obs_*.g3", ["s/obs_1.g3"], ["obs_1.g3", "s/t/obs_1.g3"]),
        ("satp?/[0-9][0-9]", ["satp3/17"], ["satp/17", "satp3/1", "satp33/17", "satp//17"]),
        ("a**z", ["az", "a/z", "abc/xyz"], ["a", "a/zy"]),
        ("[!a]", ["b", "]"], ["a", "/", "bb"]),
        ("[+-9]", ["+", ".", "0"], ["/"]),
        ("*.txt", ["a.txt", ".txt"], ["atxt", "a.txt\n"]),
        ("a\\*", ["a\\", "a\\b"], ["a*"]),
        ("[*]", ["*"], ["a"]),
    ],
)
def test_documented_meaning(pattern: str, matching: list[str], others: list[str]) -> None:
    glob = compile_glob(pattern)
    assert [text for text in [*matching, *others] if glob.matches(text)] == matching


@pytest.mark.parametrize(
    "pattern",
    ["", "/a", "a/", "a//b", "**/", "a/**//b", "[", "a[", "a[]", "[!]", "[z-a]", "[/]", "a\0", "\ud800"],
)
def test_refused(pattern: str) -> None:
    with pytest.raises(InvalidGlob) as caught:
        compile_glob(pattern)
    assert caught.value.remedy
    caught.value.message.encode()


def test_bounds() -> None:
    with pytest.raises(InvalidGlob, match="longer"):
        compile_glob("a" * (MAX_GLOB_CHARACTERS + 1))
    with pytest.raises(InvalidGlob, match="wildcards"):
        compile_glob("*a" * (MAX_WILDCARDS + 1))


@pytest.mark.parametrize(
    ("pattern", "prefix"),
    [("a/b*c", "a/b"), ("a/b", "a/b"), ("**/x", ""), ("a/**", "a/"), ("a[b]", "a"), ("ab?", "ab")],
)
def test_literal_prefix(pattern: str, prefix: str) -> None:
    assert compile_glob(pattern).literal_prefix == prefix


@pytest.mark.timeout(60)
@pytest.mark.parametrize("piece", ["*a", "**a", "**/*a", "a*/**/"])
def test_hostile_patterns_take_no_time(piece: str) -> None:
    pattern = piece * (MAX_WILDCARDS // 2) + "b"
    for text in ("a" * 2000, "a/" * 1000 + "c", "a" * 255 + "/a" * 800):
        assert not compile_glob(pattern).matches(text)


async def test_postgresql_matches_the_same(database_dsn: str, rng: random.Random) -> None:
    globs = list[Glob]()
    while len(globs) < 500:
        pattern = "".join(rng.choices(PIECES, k=rng.randint(1, 7)))
        if (glob := compiled(pattern)) is not None:
            globs.append(glob)
    texts = ["".join(rng.choices(CHARACTERS, k=rng.randint(1, 10))) for _ in range(100)]
    texts += [glob.text for glob in globs[:50]]
    expected = [[glob.matches(text) for text in texts] for glob in globs]
    # Without some of both the comparison says nothing.
    assert 1000 < sum(sum(row) for row in expected) < len(globs) * len(texts) // 2
    connection = await asyncpg.connect(database_dsn)
    try:
        for glob, row in zip(globs, expected, strict=True):
            found = await connection.fetchval(
                "SELECT array_agg(t ~ $1 ORDER BY i) FROM unnest($2::text[]) WITH ORDINALITY AS x (t, i)",
                glob.sql_regex,
                texts,
            )
            assert found == row, glob
    finally:
        await connection.close()


async def test_postgresql_takes_the_largest(database_dsn: str) -> None:
    connection = await asyncpg.connect(database_dsn)
    try:
        for pattern in (
            "?" * 500,
            "*a" * MAX_WILDCARDS,
            "**/a" * 20,
            "[!" + "".join(map(chr, range(0x100, 0x800))) + "]",
        ):
            await connection.fetchval(
                "SELECT 'abc' ~ $1", compile_glob(pattern[:MAX_GLOB_CHARACTERS]).sql_regex
            )
    finally:
        await connection.close()
