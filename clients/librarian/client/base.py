"""Connecting, and what every part of the client needs."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from types import TracebackType
from typing import Protocol, Self, TypeVar

from librarian.connection.address import parse_address
from librarian.connection.channel import SiteChannel
from librarian.connection.settings import ConnectionSettings, find_connection


class Page(Protocol):
    """An answer of a List call."""

    @property
    def next_page_token(self) -> str: ...


PageT = TypeVar("PageT", bound=Page)
Item = TypeVar("Item")


class ClientBase:
    def __init__(self, settings: ConnectionSettings) -> None:
        self.settings = settings
        self._site = SiteChannel(settings)

    @classmethod
    def connect(cls, *, site: str = "", address: str = "", token: str = "", insecure: bool = False) -> Self:
        """A client to be opened with `with`. Nothing is sent yet.

        Without an address the site is found as `librarian.connection.settings` tells: `site` names a
        connection, else the environment, else the site on this machine. `insecure` allows a plain
        connection to another machine.
        """
        if address:
            return cls(
                ConnectionSettings(parse_address(address, insecure=insecure), token, source="the program")
            )
        return cls(find_connection(site=site))

    @property
    def channel(self) -> SiteChannel:
        """For calls that have no method of their own yet."""
        return self._site

    async def __aenter__(self) -> Self:
        await self._site.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._site.__aexit__(kind, error, trace)


async def paged(
    ask: Callable[[str], Awaitable[PageT]],
    items: Callable[[PageT], Iterable[Item]],
    limit: int | None = None,
) -> AsyncGenerator[Item, None]:
    """The items of all pages, at most `limit`; `ask` takes a page token."""
    page_token = ""
    left = limit
    while left is None or left > 0:
        page = await ask(page_token)
        for item in items(page):
            if left is not None:
                if left == 0:
                    return
                left -= 1
            yield item
        page_token = page.next_page_token
        if not page_token:
            return
