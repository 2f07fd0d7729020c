"""Scope strings: `urn:…:all[*https://…/data_access]`. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

TRANSFER: Final = "urn:globus:auth:scope:transfer.api.globus.org:all"
TRANSFER_SERVER: Final = "transfer.api.globus.org"
AUTH_SERVER: Final = "auth.globus.org"
_OF_AUTH: Final = {"openid", "email", "profile"}
_DATA_ACCESS: Final = ("https://auth.globus.org/scopes/", "/data_access")


@dataclass(frozen=True, slots=True)
class Scope:
    """`depends`: what the scope is wanted for, in brackets; each optional (`*`) or not."""

    name: str
    depends: tuple[Scope, ...] = ()

    @property
    def server(self) -> str:
        if self.name in _OF_AUTH or self.name.startswith("urn:globus:auth:scope:auth.globus.org:"):
            return AUTH_SERVER
        return TRANSFER_SERVER if self.name == TRANSFER else self.name.rpartition(":")[0] or self.name

    def __str__(self) -> str:
        inner = " ".join(f"*{each}" for each in self.depends)
        return f"{self.name}[{inner}]" if inner else self.name


def data_access(collection_id: str) -> str:
    return f"{_DATA_ACCESS[0]}{collection_id}{_DATA_ACCESS[1]}"


def collection_of(scope: str) -> str:
    """Of a data_access scope; "" for any other."""
    before, after = _DATA_ACCESS
    if scope.startswith(before) and scope.endswith(after):
        return scope[len(before) : -len(after)]
    return ""


def parse(text: str) -> list[Scope]:
    """Raises ValueError."""
    found, rest = _several(text.strip())
    if rest:
        raise ValueError(f"{rest!r} closes nothing")
    return found


def _several(text: str) -> tuple[list[Scope], str]:
    found: list[Scope] = []
    while text and not text.startswith("]"):
        end = next((at for at, letter in enumerate(text) if letter in " []"), len(text))
        name, text = text[:end].lstrip("*"), text[end:]
        depends: list[Scope] = []
        if text.startswith("["):
            depends, text = _several(text[1:])
            if not text.startswith("]"):
                raise ValueError("a bracket is not closed")
            text = text[1:]
        if not name:
            raise ValueError("a scope has no name")
        found.append(Scope(name, tuple(depends)))
        text = text.lstrip(" ")
    return found, text
