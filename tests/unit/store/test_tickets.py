"""Nobody else can make one, and each has its end."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from librarian.errors import TicketInvalid, TokenRevoked
from store_svc.tickets import Purpose, Ticket, TicketOffice

NOW = datetime(2026, 1, 1, tzinfo=UTC)
TICKET = Ticket(Purpose.WRITE, "area", "token", "alice")


def an_office(secret: bytes = b"s" * 32) -> TicketOffice:
    return TicketOffice({1: secret}, (), timedelta(hours=1))


@given(st.builds(Ticket, st.sampled_from(Purpose), st.text(), st.text(), st.text()))
def test_round_trip(ticket: Ticket) -> None:
    office = an_office()
    text, expires = office.issue(ticket, NOW)
    assert expires == NOW + timedelta(hours=1)
    assert office.check(text, ticket.purpose, NOW) == ticket


@given(st.data())
def test_any_changed_character_is_refused(data: st.DataObject) -> None:
    office = an_office()
    text, _ = office.issue(TICKET, NOW)
    # The last character of either part carries bits that mean nothing.
    at = data.draw(st.integers(0, len(text) - 2).filter(lambda n: text[n + 1] != "."))
    other = data.draw(st.sampled_from("ABCxyz019-_.").filter(lambda c: c != text[at]))
    with pytest.raises(TicketInvalid):
        office.check(text[:at] + other + text[at + 1 :], TICKET.purpose, NOW)


@given(st.text())
def test_garbage_is_refused(text: str) -> None:
    with pytest.raises(TicketInvalid):
        an_office().check(text, Purpose.READ, NOW)


def test_limits() -> None:
    office = an_office()
    text, expires = office.issue(TICKET, NOW)
    with pytest.raises(TicketInvalid, match="expired"):
        office.check(text, Purpose.WRITE, expires)
    with pytest.raises(TicketInvalid, match="something else"):
        office.check(text, Purpose.READ, NOW)
    with pytest.raises(TicketInvalid, match="not issued"):
        an_office(b"t" * 32).check(text, Purpose.WRITE, NOW)
    office.revoke(["token"])
    with pytest.raises(TokenRevoked):
        office.check(text, Purpose.WRITE, NOW)


def test_areas_cannot_be_guessed() -> None:
    assert an_office().area_of("alice") == an_office().area_of("alice")
    assert an_office().area_of("alice") != an_office(b"t" * 32).area_of("alice")
    assert an_office().area_of("alice") != an_office().area_of("bob")
