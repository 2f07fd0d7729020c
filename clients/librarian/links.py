"""Whether a symbolic link leads out of its dataset, judged by the links alone."""

from __future__ import annotations

from collections.abc import Mapping

_MAX_FOLLOWED = 40  # as the kernel's ELOOP: a longer chain leads nowhere
MAX_TARGET_BYTES = 4095


def escapes(path: str, links: Mapping[str, str]) -> bool:
    """Whether the link at `path` can lead outside, through any of the dataset's other `links` on its way.

    Judging the text of the target alone is not enough: with a link `d` to a shallower place, `p/d/..`
    is not `p`. What is neither a link nor known is taken for a directory. Links that circle lead nowhere.
    """
    followed = 0
    at = path.split("/")[:-1]
    ahead = _parts(links[path])
    while ahead:
        if ahead[-1] == "/":
            return True
        part = ahead.pop()
        if part == "..":
            if not at:
                return True
            at.pop()
            continue
        at.append(part)
        target = links.get("/".join(at))
        if target is not None:
            followed += 1
            if followed > _MAX_FOLLOWED:
                return False
            at.pop()
            ahead += _parts(target)
    return False


def _parts(target: str) -> list[str]:
    """Segments, last first; an absolute target starts with `/`, a bad one counts as absolute."""
    if target.startswith("/") or "\0" in target or not target or len(target) > MAX_TARGET_BYTES:
        return ["/"]
    return [part for part in reversed(target.split("/")) if part not in {"", "."}]
