"""Registered with pytest wherever librarian is installed; imports almost nothing until it is used.

def test_my_pipeline(librarian_site):
    with librarian_site.blocking_client() as librarian:
        librarian.put("book", librarian_site.new_name("book"))
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from librarian.testing.shared import SharedSite
    from librarian.testing.site import Site


@pytest.fixture(scope="session")
def librarian_server() -> Iterator[Site]:
    """One live site for the whole run; with xdist one for each worker."""
    from librarian.testing.site import Site, remove_home, temporary_home

    home = temporary_home()
    site = Site(home)
    try:
        yield site.start()
    finally:
        site.stop()
        remove_home(home)


@pytest.fixture
def librarian_site(librarian_server: Site, request: pytest.FixtureRequest) -> SharedSite:
    """A live site. It is shared with other tests, and `new_name` gives names that are this test's alone."""
    from librarian.testing.shared import SharedSite

    return SharedSite(librarian_server, request.node.name)


@pytest.fixture
def site_factory() -> Iterator[Callable[..., Site]]:
    """`site_factory(name="test", settings="")`: a started site for this test alone, to be stopped, killed
    and started again at will. Some three seconds each.
    """
    from librarian.testing.site import Site, remove_home, temporary_home

    sites: list[Site] = []

    def make(*, name: str = "test", settings: str = "") -> Site:
        site = Site(temporary_home(), name=name, settings=settings)
        sites.append(site)
        return site.start()

    try:
        yield make
    finally:
        for site in sites:
            site.stop()
            remove_home(site.home)
