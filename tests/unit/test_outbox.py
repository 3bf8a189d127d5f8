"""Protects the room for a token set: a bus that takes nothing for months fills no record and hides no call for help."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from evergrant.oauth.token_request import Refusal
from evergrant.record import failures as failing
from evergrant.record import outbox, token_save
from evergrant.record.connection import Connection, EventType, Sealed, Status, event
from evergrant.record.outbox import MOST_UNTOLD, taken
from evergrant.record.refresh_schedule import DAY
from evergrant.settings import Settings
from tests.unit.samples import KEAP, NOW, connection, tokens

SEALED = Sealed(b"", b"", b"")


def apply(current: Connection, changes: dict[str, Any]) -> Connection:
    """As the table does it."""
    held: dict[str, Any] = dict(current.outbox)
    for name, value in changes.items():
        if name.startswith("outbox."):
            held[name.removeprefix("outbox.")] = value
    plain = {name: value for name, value in changes.items() if "." not in name}
    return replace(current, **plain, outbox={key: body for key, body in held.items() if body is not None})


def full(kind: EventType, **detail: Any) -> Connection:
    current = connection()
    for number in range(MOST_UNTOLD):
        current = apply(current, event(kind, current, NOW + number, **detail))
    return current


def kinds(current: Connection) -> list[str]:
    return [body["type"] for body in current.outbox.values()]


def saved(current: Connection, now: int) -> Connection:
    given = replace(tokens(), issued_at=now, expires_at=now + DAY)
    return apply(current, token_save.saved(current, given, SEALED, KEAP, Settings(), now))


@pytest.mark.parametrize("kind", [EventType.ROTATED, EventType.DEGRADED, EventType.RECOVERED, EventType.AUTHORIZED])
def test_a_full_outbox_takes_no_event_that_nobody_needs(kind: EventType) -> None:
    current = full(EventType.ROTATED)
    assert taken(current, event(kind, current, NOW + 500)) == {}


def test_what_a_person_needs_takes_the_place_of_the_oldest_that_nobody_needs() -> None:
    current = full(EventType.ROTATED)
    later = apply(current, taken(current, event(EventType.AUTHORIZATION_REQUIRED, current, NOW + 500)))
    assert kinds(later).count("Authorization Required") == 1
    assert len(later.outbox) == MOST_UNTOLD
    assert min(body["at"] for body in later.outbox.values()) == NOW + 1


def test_where_all_are_needed_the_newest_takes_the_place_of_the_oldest_of_its_kind() -> None:
    current = full(EventType.DEGRADED, alert=True)
    later = apply(current, taken(current, event(EventType.AUTHORIZATION_REQUIRED, current, NOW + 500)))
    assert len(later.outbox) == MOST_UNTOLD + 1, "one of a kind has a place beyond"
    last = apply(later, taken(later, event(EventType.AUTHORIZATION_REQUIRED, later, NOW + 600)))
    assert len(last.outbox) == MOST_UNTOLD + 1
    assert [body["at"] for body in last.outbox.values() if body["type"] == "Authorization Required"] == [NOW + 600]


def test_a_connection_that_flaps_while_the_bus_is_down_for_months_keeps_a_bounded_outbox_and_says_the_last() -> None:
    current, now = connection(), NOW
    failures = [Refusal("transient", 503)] * 3, [Refusal("client_rejected", 401)], [Refusal("grant_rejected", 400)] * 2
    for number in range(600):
        now += 20 * 3600
        for refusal in failures[number % 3]:
            now += failing.SECOND_STRIKE
            changes = failing.refused(current, refusal, now)
            current = apply(current, failing.still_failing(current, changes, now))
        if number < 599:
            current = saved(current, now)
        assert len(current.outbox) <= MOST_UNTOLD + len(EventType)
    assert current.status is Status.AUTHORIZATION_REQUIRED
    newest = max(current.outbox.values(), key=lambda body: int(body["at"]))
    assert (newest["type"], newest["at"]) == ("Authorization Required", now)


def test_a_client_that_is_refused_again_and_again_fills_no_outbox_either() -> None:
    current = full(EventType.CLIENT_REFUSED)
    news = event(EventType.CLIENT_REFUSED, current, NOW + 500)
    assert len(apply(current, outbox.taken(current, news)).outbox) == MOST_UNTOLD
