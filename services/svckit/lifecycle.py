"""One transition table per lifecycle: `(state, event) -> state`; whatever is absent raises.

Pure: a table is data, and the diagrams in docs/lifecycles.md are drawn from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Generic, TypeVar

from librarian.errors import IllegalTransition

S = TypeVar("S", bound=Enum)
E = TypeVar("E", bound=Enum)


@dataclass(frozen=True)
class Lifecycle(Generic[S, E]):
    """`why` says in a sentence what each event means; it labels the edges of the diagram."""

    name: str
    initial: S
    transitions: Mapping[tuple[S, E], S]
    why: Mapping[E, str]

    def move(self, state: S, event: E, *, item: str = "") -> S:
        """The state after `event`; IllegalTransition names the lifecycle, the item and both."""
        following = self.transitions.get((state, event))
        if following is None:
            raise IllegalTransition(
                f"{self.name} {item} is {state.name}: {event.name} is not possible now".replace("  ", " "),
                remedy="look at its state again; someone else moved it first",
                lifecycle=self.name,
                state=state.name,
                event=event.name,
                item=item,
            )
        return following

    def allows(self, state: S, event: E) -> bool:
        return (state, event) in self.transitions

    @property
    def final(self) -> frozenset[S]:
        """States that nothing leaves."""
        leaving = {state for state, _ in self.transitions}
        return frozenset(state for state in type(self.initial) if state not in leaving)
