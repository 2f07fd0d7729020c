"""Globs over names and paths, the same in Python and in PostgreSQL.

`*` and `?` stay inside a segment and so does `[...]` (`[!...]` and `[^...]` negate, ranges go by code
point). `**` crosses segments. As a whole segment it stands for any number of them: `**/x` also
matches `x`, `a/**/b` also matches `a/b`; at the end it matches everything below: `a/**` does not match
`a` itself. There is no escape character: `[*]` is a star.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache

from librarian.errors import InvalidGlob
from librarian.names import printable

MAX_GLOB_CHARACTERS = 2048
MAX_WILDCARDS = 64


@dataclass(frozen=True, slots=True)
class Glob:
    """One compiled pattern. `literal_prefix` starts every text that matches."""

    text: str
    literal_prefix: str
    sql_regex: str
    is_literal: bool
    _pattern: re.Pattern[str] = field(repr=False, compare=False)

    def matches(self, text: str) -> bool:
        return self._pattern.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class _One:
    """Exactly one character, not a slash unless it is a literal one."""

    python: str
    sql: str


@dataclass(frozen=True, slots=True)
class _Star:
    """Any run of characters inside a segment."""


@dataclass(frozen=True, slots=True)
class _Anything:
    """Any run of characters; at least one where `some`."""

    some: bool


@dataclass(frozen=True, slots=True)
class _Segments:
    """Any number of whole segments, each with its slash."""


_Token = _One | _Star | _Anything | _Segments


@lru_cache(maxsize=512)
def compile_glob(text: str) -> Glob:
    """Raises InvalidGlob, also for patterns that no name can ever match."""
    _check_text(text)
    tokens = _Parser(text).tokens()
    wild = [index for index, token in enumerate(tokens) if not isinstance(token, _One)]
    if len(wild) > MAX_WILDCARDS:
        raise _invalid(text, f"has more than {MAX_WILDCARDS} wildcards")
    prefix = re.match(r"[^*?\[]*", text)
    assert prefix is not None
    return Glob(
        text=text,
        literal_prefix=prefix.group(),
        sql_regex=_sql_regex(tokens),
        is_literal=prefix.end() == len(text),
        _pattern=re.compile(_python_regex(tokens), re.DOTALL),
    )


def _check_text(text: str) -> None:
    if not text:
        raise _invalid(text, "is empty")
    if len(text) > MAX_GLOB_CHARACTERS:
        raise _invalid(text, f"is longer than {MAX_GLOB_CHARACTERS} characters")
    if "\0" in text:
        raise _invalid(text, "contains a NUL character")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise _invalid(text, "is not valid UTF-8") from None


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def tokens(self) -> list[_Token]:
        text, found = self._text, list[_Token]()
        segment_start = 0
        while self._at < len(text):
            character = text[self._at]
            if character == "*":
                found.append(self._stars(segment_start))
                if isinstance(found[-1], _Segments):
                    segment_start = self._at
            elif character == "?":
                self._at += 1
                found.append(_One("[^/]", "[^/]"))
            elif character == "[":
                found.append(self._class())
            else:
                if character == "/":
                    if self._at == segment_start or self._at == len(text) - 1:
                        raise _invalid(text, "has an empty part, which no name has")
                    segment_start = self._at + 1
                self._at += 1
                found.append(_One(re.escape(character), _sql_escape(character)))
        return found

    def _stars(self, segment_start: int) -> _Token:
        text, start = self._text, self._at
        while self._at < len(text) and text[self._at] == "*":
            self._at += 1
        if self._at - start == 1:
            return _Star()
        whole_from_start = start == segment_start
        if self._at == len(text):
            return _Anything(some=whole_from_start)
        if whole_from_start and text[self._at] == "/":
            self._at += 1
            if self._at == len(text):
                raise _invalid(text, "ends with a slash, which no name does")
            return _Segments()
        return _Anything(some=False)

    def _class(self) -> _One:
        text = self._text
        at = self._at + 1
        negated = at < len(text) and text[at] in "!^"
        at += negated
        # A `]` in the first place is a member of the class.
        end = text.find("]", at + 1)
        if end == -1:
            raise _invalid(text, "has a `[` without its `]`; a literal one is written `[[]`")
        ranges = _ranges(text, text[at:end])
        self._at = end + 1
        if negated:
            ranges.append(("/", "/"))
        else:
            ranges = _without_slash(ranges)
            if not ranges:
                raise _invalid(text, "has a class of nothing but `/`, which no part of a name contains")
        opening = "[^" if negated else "["
        return _One(
            opening + "".join(_range(low, high, re.escape) for low, high in ranges) + "]",
            opening + "".join(_range(low, high, _sql_escape) for low, high in ranges) + "]",
        )


def _ranges(text: str, content: str) -> list[tuple[str, str]]:
    found = []
    at = 0
    while at < len(content):
        low = high = content[at]
        if at + 2 < len(content) and content[at + 1] == "-":
            high = content[at + 2]
            at += 2
        if low > high:
            raise _invalid(text, f"has the empty range `{printable(f'{low}-{high}')}`")
        found.append((low, high))
        at += 1
    return found


def _without_slash(ranges: list[tuple[str, str]]) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for low, high in ranges:
        parts = [(low, "."), ("0", high)] if low <= "/" <= high else [(low, high)]
        found.extend((first, last) for first, last in parts if first <= last)
    return found


def _range(low: str, high: str, escape: Callable[[str], str]) -> str:
    return escape(low) if low == high else f"{escape(low)}-{escape(high)}"


def _sql_escape(character: str) -> str:
    """A literal in a PostgreSQL ARE, also inside brackets: a backslash before a letter, digit or `_` is
    an escape of its own, before other ASCII punctuation it takes the meaning away.
    """
    plain = not character.isascii() or character.isalnum() or character in "_/" or not character.isprintable()
    return character if plain or character == " " else f"\\{character}"


def _sql_regex(tokens: list[_Token]) -> str:
    parts = []
    for token in tokens:
        match token:
            case _One(sql=sql):
                parts.append(sql)
            case _Star():
                parts.append("[^/]*")
            case _Anything(some=some):
                parts.append(".+" if some else ".*")
            case _Segments():
                parts.append("(?:.*/)?")
    return f"^{''.join(parts)}$"


def _python_regex(tokens: list[_Token]) -> str:
    """As the SQL one, but without catastrophic backtracking: what lies between two crossing wildcards
    is matched where it first ends and never tried again, because the next wildcard can absorb whatever
    a later match would have skipped. The same holds between two stars of one segment.
    """
    portions: list[list[_Token]] = [[]]
    joiners: list[_Token] = []
    for token in tokens:
        if isinstance(token, _Anything | _Segments):
            joiners.append(token)
            portions.append([])
        else:
            portions[-1].append(token)
    parts = [_portion(portions[0], last=not joiners)]
    for index, joiner in enumerate(joiners, start=1):
        last = index == len(joiners)
        body = _portion(portions[index], last=last)
        if isinstance(joiner, _Segments):
            parts.append(f"(?:.*/)?{body}" if last else f"(?>(?:.*?/)??{body})")
        elif last:
            parts.append(f"{'.+' if isinstance(joiner, _Anything) and joiner.some else '.*'}{body}")
        else:
            parts.append(f"(?>.*?{body})")
    return "".join(parts)


def _portion(tokens: list[_Token], *, last: bool) -> str:
    chunks = [""]
    for token in tokens:
        if isinstance(token, _One):
            chunks[-1] += token.python
        else:
            chunks.append("")
    middle, final = (chunks[1:-1], chunks[-1:]) if last else (chunks[1:], [])
    parts = [chunks[0], *(f"(?>[^/]*?{chunk})" for chunk in middle)]
    if len(chunks) > 1:
        parts += [f"[^/]*{chunk}" for chunk in final]
    return "".join(parts)


def _invalid(text: str, trouble: str) -> InvalidGlob:
    return InvalidGlob(
        f"the glob {printable(text)!r} {trouble}",
        remedy="`*` and `?` stay inside a part, `**` crosses parts, `[...]` is a class of characters",
        glob=printable(text),
    )
