"""The meaning of a glob, written down a second time and as plainly as possible."""

from __future__ import annotations


class NaiveGlob:
    """Tries everything. `pattern` must be one that compiles."""

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern

    def matches(self, text: str) -> bool:
        self._text = text
        self._known: dict[tuple[int, int], bool] = {}
        return self._match(0, 0)

    def _match(self, p: int, t: int) -> bool:
        if (p, t) not in self._known:
            self._known[p, t] = self._try(p, t)
        return self._known[p, t]

    def _try(self, p: int, t: int) -> bool:
        if p == len(self._pattern):
            return t == len(self._text)
        symbol = self._pattern[p]
        if symbol == "*":
            return self._star(p, t)
        if t == len(self._text):
            return False
        if symbol == "[":
            end, inside = self._class(p, self._text[t])
            return inside and self._match(end, t + 1)
        one = self._text[t] != "/" if symbol == "?" else self._text[t] == symbol
        return one and self._match(p + 1, t + 1)

    def _star(self, p: int, t: int) -> bool:
        text, end = self._text, p
        while self._pattern[end : end + 1] == "*":
            end += 1
        if end - p == 1:
            return any(self._match(end, stop) for stop in range(t, len(text) + 1) if "/" not in text[t:stop])
        begins_segment = p == 0 or self._is_slash(p - 1)
        if begins_segment and end == len(self._pattern):
            return t < len(text)
        if begins_segment and self._pattern[end] == "/":
            after_slash = [stop + 1 for stop in range(t, len(text)) if text[stop] == "/"]
            return any(self._match(end + 1, stop) for stop in [t, *after_slash])
        return any(self._match(end, stop) for stop in range(t, len(text) + 1))

    def _is_slash(self, p: int) -> bool:
        """Not one inside a class."""
        at = 0
        while at < p:
            at = self._class(at, "x")[0] if self._pattern[at] == "[" else at + 1
        return at == p and self._pattern[p] == "/"

    def _class(self, p: int, character: str) -> tuple[int, bool]:
        """Where the class that begins at p is over, and whether the character is of it."""
        pattern, at = self._pattern, p + 1
        negated = pattern[at] in "!^"
        at += negated
        inside, first = False, True
        while first or pattern[at] != "]":
            first = False
            if pattern[at + 1] == "-" and pattern[at + 2] != "]":
                inside |= pattern[at] <= character <= pattern[at + 2]
                at += 3
            else:
                inside |= pattern[at] == character
                at += 1
        return at + 1, inside != negated and character != "/"
