"""What a dataset, a member and a store may be called.

A name is a relative POSIX path of valid UTF-8; anything else POSIX allows is allowed. Two names that
differ only in Unicode normalisation are one name to people, so they share a `name_key`.
"""

from __future__ import annotations

import re
import unicodedata

from librarian.errors import InvalidName, InvalidStore

MAX_NAME_BYTES = 2048
MAX_COMPONENT_BYTES = 255
RESERVED_COMPONENT = ".librarian"

_STORE_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_SHOWN_CHARACTERS = 200


def printable(text: str) -> str:
    """The text as it may travel in a message: valid UTF-8 without control characters, cut when long."""
    shown = text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}..."
    if shown.isprintable():
        return shown
    return "".join(character if character.isprintable() else ascii(character)[1:-1] for character in shown)


def check_name(name: str) -> str:
    """The name itself, where a dataset may have it. Raises InvalidName.

    The first component `.librarian` is the store's own area, in any spelling that a file system
    without case would take for it.
    """
    _check_path(name, "name")
    first = name.partition("/")[0]
    if len(first) == len(RESERVED_COMPONENT) and first.lower() == RESERVED_COMPONENT:
        raise _invalid(name, "name", f"starts with {RESERVED_COMPONENT}, which belongs to the store")
    return name


def check_member_path(path: str) -> str:
    """The path itself, where an entry of a directory dataset may lie there. Raises InvalidName."""
    _check_path(path, "path")
    return path


def name_key(name: str) -> str:
    """What two spellings of one name have in common: NFC."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def ancestors(name: str) -> list[str]:
    """Proper prefixes at segment borders, shortest first: `a/b/c` has `a` and `a/b`."""
    found = []
    slash = name.find("/")
    while slash != -1:
        found.append(name[:slash])
        slash = name.find("/", slash + 1)
    return found


def check_store_name(name: str) -> str:
    """The name itself, where a store may have it. Raises InvalidStore."""
    if _STORE_NAME.fullmatch(name) is None:
        raise InvalidStore(
            f"{printable(name)!r} cannot be a store's name",
            remedy="use lower-case letters, digits, `-` and `_`, at most 63, starting with a letter or digit",
            store=printable(name),
        )
    return name


def _check_path(path: str, what: str) -> None:
    if not path:
        raise _invalid(path, what, "is empty")
    if "\0" in path:
        raise _invalid(path, what, "contains a NUL character")
    if not path.isascii() and not _is_utf8(path):
        raise _invalid(path, what, "is not valid UTF-8")
    size = len(path) if path.isascii() else len(path.encode())
    if size > MAX_NAME_BYTES:
        raise _invalid(path, what, f"is {size} bytes long; {MAX_NAME_BYTES} are allowed")
    if path[0] == "/":
        raise _invalid(path, what, "is absolute")
    if path[-1] == "/":
        raise _invalid(path, what, "ends with a slash")
    for component in path.split("/"):
        _check_component(component, path, what)


def _check_component(component: str, path: str, what: str) -> None:
    if not component:
        raise _invalid(path, what, "contains an empty part")
    if component in {".", ".."}:
        raise _invalid(path, what, f"contains `{component}` as a part")
    # A character is at most four bytes of UTF-8.
    if len(component) > MAX_COMPONENT_BYTES // 4 and len(component.encode()) > MAX_COMPONENT_BYTES:
        raise _invalid(path, what, f"has a part longer than {MAX_COMPONENT_BYTES} bytes")


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _invalid(path: str, what: str, trouble: str) -> InvalidName:
    shown = printable(path)
    return InvalidName(f"the {what} {shown!r} {trouble}", **{what: shown})
