"""A measurement and what it is given."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bench.data import drain, make_file, make_files, remove
from tests.bench.rows import Row

if TYPE_CHECKING:
    from tests.bench.bulk import Filling
    from tests.bench.emptyservice import EmptyService
    from tests.bench.sites import BenchSite


class Bench:
    """Scratch space, input and one live site, made when first asked for and shared by all measurements.

    `scale` shrinks sizes and counts, for trying things out.
    """

    def __init__(self, stack: ExitStack, directory: Path, *, rounds: int, scale: float) -> None:
        self._stack = stack
        self._rounds = rounds
        self._scale = scale
        self.scratch = Path(tempfile.mkdtemp(prefix="lib-bench-", dir=directory))
        stack.callback(remove, self.scratch)

    def rounds(self, usual: int) -> int:
        return self._rounds or usual

    def scaled(self, count: int) -> int:
        return max(1, int(count * self._scale))

    @cached_property
    def site(self) -> BenchSite:
        from tests.bench.sites import running_site

        return self._stack.enter_context(running_site(self.scratch / "site"))

    @cached_property
    def filling(self) -> Filling:
        from tests.bench.bulk import Filling

        return Filling()

    def filled_site(self, count: int) -> BenchSite:
        """The site, with at least so many datasets in its catalogue."""

        async def fill() -> None:
            async with self.site.channels() as channels:
                await self.filling.fill_to(count, channels.catalog)

        asyncio.run(fill())
        return self.site

    @cached_property
    def empty_service(self) -> EmptyService:
        from tests.bench.emptyservice import running_empty_service

        return self._stack.enter_context(running_empty_service(self.site.config("catalog"), self.scratch))

    def file(self, size: int) -> Path:
        """The one large input; another size replaces it."""
        path = self.scratch / "input" / "large.bin"
        if not path.exists() or path.stat().st_size != size:
            make_file(path, size)
        return path

    def files(self, count: int, size: int) -> Path:
        path = self.scratch / "input" / f"{count}x{size}"
        return path if path.exists() else make_files(path, count, size)

    def output(self, name: str) -> Path:
        """A place for a plain loop's output, empty, on a disk that is idle."""
        path = self.scratch / "output" / name
        path.parent.mkdir(exist_ok=True)
        remove(path)
        drain()
        return path


@dataclass(frozen=True, slots=True)
class Measurement:
    """`run` answers one or several rows; `name` is what --only looks for."""

    name: str
    run: Callable[[Bench], Iterable[Row]]
