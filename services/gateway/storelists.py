"""One list of stores out of the answers of several store services. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from librarian.api.store.v1.store_pb2 import Store


@dataclass(frozen=True, slots=True)
class Answer:
    """What one store service said: its stores, or `trouble` and the stores it last told of."""

    stores: Sequence[Store]
    trouble: str = ""


def merged(answers: Mapping[str, Answer]) -> list[Store]:
    """All stores by priority, then name. Those of a service in trouble say so; where none is known of it,
    one entry named "(SERVICE)", which no store can be called, says it in their place.
    """
    stores: list[Store] = []
    for service, answer in answers.items():
        if not answer.trouble:
            stores += answer.stores
        elif answer.stores:
            stores += [_troubled(store, answer.trouble) for store in answer.stores]
        else:
            stores.append(Store(name=f"({service})", trouble=answer.trouble))
    return sorted(stores, key=lambda store: (store.priority, store.name))


def homes(answers: Mapping[str, Answer]) -> dict[str, str]:
    """The service of each store. Where two claim a name the first service, by name, has it: what it was
    yesterday it is today.
    """
    found: dict[str, str] = {}
    for service in sorted(answers):
        for store in answers[service].stores:
            found.setdefault(store.name, service)
    return found


def _troubled(store: Store, trouble: str) -> Store:
    copy = Store()
    copy.CopyFrom(store)
    copy.trouble = trouble
    return copy
