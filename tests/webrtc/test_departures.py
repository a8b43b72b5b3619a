"""What is remembered of ended sessions: bounded in number and time."""

from __future__ import annotations

import pytest

from webrtc.departures import KEPT, KEPT_NS, Departure, Departures, Ticket
from webrtc.session import End

pytestmark = pytest.mark.unit


def departure(text: str = "Gone.") -> Departure:
    return Departure(ticket=Ticket("key"), reason=End.REVOKED, text=text)


def test_it_is_remembered_for_a_while() -> None:
    now = [5]
    departures = Departures(lambda: now[0])
    departures.note("a", departure("First."))
    now[0] += KEPT_NS - 1
    departures.note("b", departure("Second."))
    found = departures.find("a")
    assert found is not None
    assert found.text == "First."
    now[0] += 1
    assert departures.find("a") is None
    assert departures.find("b") is not None
    now[0] += KEPT_NS
    assert departures.find("b") is None
    assert len(departures) == 0


def test_the_oldest_goes_where_there_are_many() -> None:
    departures = Departures(lambda: 0)
    for number in range(KEPT + 3):
        departures.note(str(number), departure())
    assert len(departures) == KEPT
    assert departures.find("2") is None
    assert departures.find("3") is not None


def test_a_ticket_admits_its_token_alone() -> None:
    ticket = Ticket("key")
    assert ticket.admits("key")
    assert not ticket.admits("ke")
    assert not ticket.admits(None)
    assert not ticket.admits("\ud800")
    assert Ticket(None).admits(None)
    assert Ticket(None).admits("any")
    assert "key" not in repr(departure())
