"""What the watch does when it can read the tokens, and when it cannot."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
import structlog

from gateway.authentication import FRESH_SECONDS, Authentication
from gateway.opencalls import OpenCalls
from gateway.revocations import pause_after
from gateway.tokens import Token, digest_of
from gateway.watch import BLIND_SECONDS, CallWatch, end_of, ends_of_tokens
from librarian.errors import TokenInvalid, TokenRevoked, Unavailable
from svckit.auth import Role
from svckit.clock import ManualClock

SECRET = "lib_" + "A" * 43
TOKEN_ID = "0192f0c1-0000-7000-8000-000000000001"


class FakeDatabase:
    """Holds one token, or does not answer; counts how often it was asked."""

    def __init__(self, clock: ManualClock) -> None:
        self.row: dict[str, Any] | None = {
            "token_id": TOKEN_ID,
            "subject": "shift",
            "role": "reader",
            "name_prefix": "",
            "create_time": clock.now(),
            "expire_time": None,
            "revoke_time": None,
            "secret_sha256": digest_of(SECRET),
        }
        self.answers = True
        self.asked = 0

    @asynccontextmanager
    async def hot(self) -> AsyncIterator[FakeDatabase]:
        self.asked += 1
        if not self.answers:
            raise Unavailable("the database does not answer")
        yield self

    async def fetchrow(self, _sql: str, digest: bytes) -> dict[str, Any] | None:
        return self.row if self.row is not None and digest == self.row["secret_sha256"] else None

    async def fetch(self, _sql: str, ids: list[str]) -> list[dict[str, Any]]:
        return [self.row] if self.row is not None and self.row["token_id"] in ids else []


class Lab:
    def __init__(self) -> None:
        self.clock = ManualClock()
        self.database = FakeDatabase(self.clock)
        self.calls = OpenCalls()
        self.authentication = Authentication(self.database, self.clock)  # type: ignore[arg-type] # a fake
        self.watch = CallWatch(
            self.calls,
            ends_of_tokens(self.database, self.clock),  # type: ignore[arg-type] # a fake
            self.clock,
            structlog.get_logger(),
            forget=self.authentication.forget,
        )

    async def open_call(self) -> asyncio.Task[None]:
        async def call() -> None:
            with self.calls.watch(TOKEN_ID):
                await asyncio.Event().wait()

        task = asyncio.create_task(call())
        await asyncio.sleep(0)
        return task

    async def authenticate(self) -> str:
        return (await self.authentication({"authorization": f"Bearer {SECRET}"}, "")).subject


@pytest.fixture
def lab() -> Lab:
    return Lab()


async def test_with_no_call_open_nothing_is_asked(lab: Lab) -> None:
    await lab.watch.look()
    assert lab.database.asked == 0


async def test_a_good_token_keeps_its_calls(lab: Lab) -> None:
    task = await lab.open_call()
    await lab.watch.look()
    assert not task.done()
    task.cancel()


@pytest.mark.parametrize(("ended", "error"), [("revoked", TokenRevoked), ("deleted", TokenInvalid)])
async def test_a_token_that_ended_loses_its_calls(lab: Lab, ended: str, error: type[Exception]) -> None:
    task = await lab.open_call()
    if ended == "deleted":
        lab.database.row = None
    else:
        assert lab.database.row is not None
        lab.database.row["revoke_time"] = lab.clock.now()
    await lab.watch.look()
    with pytest.raises(error):
        await task


async def test_a_silent_database_cuts_nobody_at_once_but_in_the_end(lab: Lab) -> None:
    task = await lab.open_call()
    lab.database.answers = False
    lab.clock.advance(BLIND_SECONDS)
    await lab.watch.look()
    assert not task.done()
    lab.clock.advance(1)
    await lab.watch.look()
    with pytest.raises(Unavailable, match="could not be checked") as caught:
        await task
    assert caught.value.remedy


async def test_an_idle_time_does_not_count_as_blind(lab: Lab) -> None:
    lab.clock.advance(10 * BLIND_SECONDS)
    await lab.watch.look()
    task = await lab.open_call()
    lab.database.answers = False
    await lab.watch.look()
    assert not task.done()
    task.cancel()


async def test_a_token_is_remembered_for_a_moment_only(lab: Lab) -> None:
    assert await lab.authenticate() == "shift"
    assert await lab.authenticate() == "shift"
    assert lab.database.asked == 1
    lab.clock.advance(FRESH_SECONDS + 0.01)
    assert await lab.authenticate() == "shift"
    assert lab.database.asked == 2
    lab.authentication.forget()
    await lab.authenticate()
    assert lab.database.asked == 3


async def test_without_its_database_nobody_gets_in(lab: Lab) -> None:
    await lab.authenticate()
    lab.database.answers = False
    lab.clock.advance(FRESH_SECONDS + 0.01)
    with pytest.raises(Unavailable, match="cannot be checked") as caught:
        await lab.authenticate()
    assert "PostgreSQL" in caught.value.remedy


async def test_a_deleted_token_is_forgotten(lab: Lab) -> None:
    await lab.authenticate()
    lab.database.row = None
    lab.clock.advance(FRESH_SECONDS + 0.01)
    with pytest.raises(TokenInvalid):
        await lab.authenticate()


async def test_secrets_at_hand_do_not_fill_the_memory(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.authentication._REMEMBERED", 2)
    assert lab.database.row is not None
    for number in range(4):
        secret = f"lib_{number}"
        lab.database.row["secret_sha256"] = digest_of(secret)
        await lab.authentication({"authorization": f"bearer {secret}"}, "")
    assert len(lab.authentication._known) == 2


def test_why_calls_may_not_go_on() -> None:
    now = ManualClock().now()
    good = Token(TOKEN_ID, "shift", Role.READER, "", now)
    assert end_of(good, now) is None
    assert isinstance(end_of(None, now), TokenInvalid)


def test_pauses_grow_up_to_a_limit() -> None:
    pauses = [pause_after(count) for count in range(100)]
    assert pauses == sorted(pauses)
    assert pauses[0] == timedelta(seconds=0.5)
    assert pauses[-1] == timedelta(seconds=30)
