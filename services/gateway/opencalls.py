"""Calls being forwarded, by token or peer, so that its end ends them too."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from librarian.errors import LibrarianError


class _OpenCall:
    __slots__ = ("error", "task")

    def __init__(self, task: asyncio.Task[object]) -> None:
        self.task = task
        self.error: LibrarianError | None = None


class OpenCalls:
    """Knows every call in flight; `end` makes those of a token fail with a given error at once."""

    def __init__(self) -> None:
        self._by_token: dict[str, set[_OpenCall]] = {}

    @contextmanager
    def watch(self, token_id: str) -> Iterator[None]:
        """Runs the body as a call of this token; raises the token's error when it ends meanwhile.

        The body must stay in the calling task, for it is that task which is interrupted.
        """
        task = asyncio.current_task()
        if task is None:  # pragma: no cover - every gRPC handler runs in a task
            raise RuntimeError("a call outside any task")
        call = _OpenCall(task)
        self._by_token.setdefault(token_id, set()).add(call)
        try:
            yield
        except asyncio.CancelledError:
            if call.error is None:
                raise
            task.uncancel()
            raise call.error from None
        finally:
            self._leave(token_id, call)

    def end(self, token_id: str, error: LibrarianError) -> int:
        """Makes every open call of this token raise `error`; answers how many there were."""
        calls = [call for call in self._by_token.get(token_id, ()) if call.error is None]
        for call in calls:
            call.error = error
            call.task.cancel()
        return len(calls)

    def tokens(self) -> list[str]:
        """The tokens that have calls in flight."""
        return list(self._by_token)

    def _leave(self, token_id: str, call: _OpenCall) -> None:
        calls = self._by_token[token_id]
        calls.discard(call)
        if not calls:
            del self._by_token[token_id]
