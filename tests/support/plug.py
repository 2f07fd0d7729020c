"""The plug of a process: pulled at a failpoint of the test's choice (see svckit.faults)."""

from __future__ import annotations

import json
from collections.abc import Callable

from librarian.errors import Unavailable
from librarian.testing.site import Site

# No scenario of ours passes so many; a loop that goes on for ever would tell nothing.
MOST_STEPS = 200


class Plug:
    """Pulled at the n-th failpoint that the process reaches from now on. The site's settings have
    `[faults] file = "<home>/faults"`.
    """

    def __init__(self, site: Site, process: str) -> None:
        self._file = site.home / f"faults.{process}"
        self._trace = site.home / f"trace.{process}"

    def set(self, n: int) -> None:
        self._plan(kill_at=n)

    def watch(self) -> None:
        """Only tells what is reached."""
        self._plan()

    def pulled(self) -> str:
        """The failpoint it died at; "" while it has not."""
        return "" if self._file.exists() else self.trace()[-1]

    def remove(self) -> None:
        self._file.unlink(missing_ok=True)

    def trace(self) -> list[str]:
        return self._trace.read_text().split() if self._trace.exists() else []

    def _plan(self, **plan: int) -> None:
        self._trace.unlink(missing_ok=True)
        unfinished = self._file.with_suffix(".new")
        unfinished.write_text(json.dumps({**plan, "trace": str(self._trace)}))
        unfinished.replace(self._file)


def after_restart(check: Callable[[], object]) -> Callable[[], bool]:
    """As `check`, but that a service which is just being started again means "not yet"."""

    def checked() -> bool:
        try:
            check()
        except Unavailable as error:
            raise AssertionError(f"not available: {error.message}") from error
        return True

    return checked
