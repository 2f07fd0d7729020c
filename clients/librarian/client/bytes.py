"""Bringing data in and taking it out."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import aclosing
from datetime import datetime
from pathlib import Path

from librarian.checksums import DEFAULT_ALGORITHM, check_algorithm
from librarian.client.datasets import DatasetsClient
from librarian.errors import KindMismatch
from librarian.fetch.manifest import wanted_members
from librarian.fetch.reading import FileReader
from librarian.fetch.session import Fetch, GetResult
from librarian.ingest.context import PutContext
from librarian.ingest.items import PutItem, PutResult, items_of
from librarian.ingest.pipeline import put_items
from librarian.journal import Journal
from librarian.manifests import DatasetKind
from librarian.names import printable
from librarian.progress import Progress

PathLike = str | os.PathLike[str]


class BytesClient(DatasetsClient):
    async def put(
        self,
        path: PathLike,
        name: str,
        *,
        tags: Mapping[str, str] | None = None,
        create_time: datetime | None = None,
        algorithm: str = DEFAULT_ALGORITHM,
        store: str = "",
        progress: Progress | None = None,
    ) -> PutResult:
        """Keeps a file or directory as the dataset `name`. When it returns, every byte was re-read by the
        site, is durable and catalogued. The same bytes under the same name again: success, nothing done.

        Interrupted, call it again: it goes on with the same ingest. `create_time`: when the data was
        made; else now. `store`: that one only; else the site's placement order.
        """
        source = Path(path)
        item = PutItem(source, name, tags or {}, create_time)
        context = self._put_context(algorithm, store, progress, alone=True)
        context.progress.begin("copying")
        job = self._job(source, name, algorithm, store)
        async with aclosing(self._put(context, [item], job)) as results:
            [result] = [result async for result in results]
        if result.error is not None:
            raise result.error
        return result

    async def put_each(
        self,
        directory: PathLike,
        prefix: str = "",
        *,
        tags: Mapping[str, str] | None = None,
        algorithm: str = DEFAULT_ALGORITHM,
        store: str = "",
        progress: Progress | None = None,
    ) -> AsyncGenerator[PutResult, None]:
        """Every entry of a directory as a dataset `prefix/entry`, hundreds in one round trip. A result for
        each, in order of their names; those that failed carry their error and stop nobody else.
        """
        source = Path(directory)
        context = self._put_context(algorithm, store, progress)
        context.progress.begin("putting")
        job = self._job(source, prefix, algorithm, store, "each")
        items = await asyncio.to_thread(lambda: list(items_of(source, prefix.rstrip("/"), tags or {})))
        async with aclosing(self._put(context, items, job)) as results:
            async for result in results:
                yield result

    async def put_many(
        self,
        items: Iterable[PutItem],
        *,
        algorithm: str = DEFAULT_ALGORITHM,
        store: str = "",
        progress: Progress | None = None,
    ) -> AsyncGenerator[PutResult, None]:
        """As `put_each`, of items of your own; they are taken as they are needed, in a thread."""
        context = self._put_context(algorithm, store, progress)
        context.progress.begin("putting")
        async with aclosing(self._put(context, items, ())) as results:
            async for result in results:
                yield result

    async def get(
        self,
        name: str,
        destination: PathLike,
        *,
        members: str | Sequence[str] = (),
        force: bool = False,
        store: str = "",
        progress: Progress | None = None,
    ) -> GetResult:
        """Takes a dataset out as `cp -r name destination` would: into a directory that is there, else as
        `destination`. `members`: only those whose paths match one of these globs.

        Every byte is verified before it appears. Interrupted, call it again: it goes on from its `.part`.
        What is there with the same content is left; with other content it is DESTINATION_EXISTS, unless
        `force`. Where a copy proves bad the next one is read; REPLICA_CORRUPT when none is good.
        """
        dataset = await self.show(name)
        fetch = Fetch(self._site, dataset, progress or Progress(), store=store)
        return await fetch.run(os.fspath(destination), _globs(members), force=force)

    async def read(
        self, name: str, *, members: str | Sequence[str] = (), store: str = ""
    ) -> AsyncGenerator[bytes, None]:
        """The bytes of a single file, or of members one after another in path order. A file that proves
        bad at its end raises REPLICA_CORRUPT: what was read of it must not be used.
        """
        dataset = await self.show(name)
        globs = _globs(members)
        if dataset.kind == int(DatasetKind.DIRECTORY) and not globs:
            shown = printable(name)
            raise KindMismatch(
                f"{shown} is a directory: its members have to be chosen",
                remedy="--member GLOB (`members=` in Python) chooses them",
            )
        wanted = await wanted_members(self._site, dataset, globs)
        async with aclosing(FileReader(self._site, dataset, store=store).read(wanted)) as chunks:
            async for chunk in chunks:
                yield chunk

    def _job(self, source: Path, *rest: str) -> tuple[str, ...]:
        """What makes a put, typed again, the same one."""
        return (self.settings.address.text, str(source.absolute()), *rest)

    def _put_context(
        self, algorithm: str, store: str, progress: Progress | None, *, alone: bool = False
    ) -> PutContext:
        check_algorithm(algorithm)
        return PutContext(self._site, progress or Progress(), algorithm=algorithm, store=store, alone=alone)

    async def _put(
        self, context: PutContext, items: Iterable[PutItem | PutResult], job: Sequence[str]
    ) -> AsyncGenerator[PutResult, None]:
        """With a journal where the job has a name."""
        journal = await asyncio.to_thread(lambda: Journal.open(job) if job else Journal.none())
        try:
            async with aclosing(put_items(context, items, journal)) as results:
                async for result in results:
                    yield result
        finally:
            journal.close()


def _globs(members: str | Sequence[str]) -> list[str]:
    return [members] if isinstance(members, str) and members else list(members)
