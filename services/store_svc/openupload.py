"""An upload that takes bytes: which streams bring them, and what is known of what they brought."""

from __future__ import annotations

from dataclasses import dataclass, field
from threading import Lock
from typing import Protocol

from store_svc.chunks import closed
from store_svc.following import EarlyChecksum, Follower
from store_svc.identity import StoreRoot
from store_svc.records import Store, Upload


class Session(Protocol):
    """One stream."""

    def drop(self, upload_id: str) -> None:
        """Closes the files of one upload."""


@dataclass(eq=False, slots=True)
class OpenUpload:
    """An upload that takes bytes, as this process remembers it. `written_bytes`: of all its files, as far
    as they came in streams or were there when the first chunk came. `last_news`: seconds since 1970.
    `early`: of members, by path, that came whole in one stream. `growing`: held while a file grows and that
    is counted, as two streams may be at one file for a moment.
    """

    upload: Upload
    store: Store
    root: StoreRoot
    written_bytes: int = 0
    closed: bool = False
    last_news: float = 0.0
    early: dict[str, EarlyChecksum] = field(default_factory=dict)
    growing: Lock = field(default_factory=Lock)
    _followers: dict[str, Follower] = field(default_factory=dict)
    _sessions: set[Session] = field(default_factory=set)
    _guard: Lock = field(default_factory=Lock)

    def join(self, session: Session) -> None:
        """Raises UploadClosed."""
        with self._guard:
            if self.closed:
                raise closed(self.upload.upload_id)
            self._sessions.add(session)

    def leave(self, session: Session) -> None:
        with self._guard:
            self._sessions.discard(session)

    def follow(self, path: str, follower: Follower) -> None:
        with self._guard:
            self._followers[path] = follower

    def begin_anew(self, path: str) -> None:
        """Whoever else is at work on a member shall not stand in the way of opening it."""
        self.early.pop(path, None)
        with self._guard:
            follower = self._followers.pop(path, None)
        if follower is not None:
            follower.give_up()

    def close(self) -> None:
        """Refuses bytes from now on; no descriptor of ours is open for writing when this returns."""
        with self._guard:
            self.closed = True
            sessions = list(self._sessions)
        for session in sessions:
            session.drop(self.upload.upload_id)
