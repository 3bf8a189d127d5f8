"""Protects the room for a token set: a bus that takes nothing for months fills no record and hides no call for help."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from evergrant.oauth.error_response import Refusal
from evergrant.record import failures as failing
from evergrant.record import outbox, refusals, token_save
from evergrant.record.circuit import NO_SURROUNDINGS
from evergrant.record.connection import Connection, RecordChange, create_event
from evergrant.record.outbox import MAX_PENDING_EVENTS, add_events
from evergrant.record.sealed import Sealed
from evergrant.record.status import EventType, Status
from evergrant.settings import Settings
from evergrant.times import DAY_SECONDS
from tests.unit.samples import KEAP, NOW, apply, connection, tokens

SEALED = Sealed(b"", b"", b"")


def full(kind: EventType, **detail: Any) -> Connection:
    current = connection()
    for number in range(MAX_PENDING_EVENTS):
        current = apply(current, RecordChange(events=create_event(kind, current, NOW + number, **detail)))
    return current


def kinds(current: Connection) -> list[str]:
    return [body["type"] for body in current.outbox.values()]


def save(current: Connection, now: int) -> Connection:
    given = replace(tokens(), issued_at=now, expires_at=now + DAY_SECONDS)
    return apply(current, token_save.save_token_set(current, given, SEALED, KEAP, Settings(), now))


@pytest.mark.parametrize("kind", [EventType.ROTATED, EventType.DEGRADED, EventType.RECOVERED, EventType.AUTHORIZED])
def test_a_full_outbox_takes_no_event_without_an_alert(kind: EventType) -> None:
    current = full(EventType.ROTATED)
    assert add_events(current, create_event(kind, current, NOW + 500)) == RecordChange()


def test_an_alert_replaces_the_oldest_event_without_one() -> None:
    """An event that a person needs takes the place of the oldest event that no person needs."""
    current = full(EventType.ROTATED)
    later = apply(current, add_events(current, create_event(EventType.AUTHORIZATION_REQUIRED, current, NOW + 500)))
    assert kinds(later).count("Authorization Required") == 1
    assert len(later.outbox) == MAX_PENDING_EVENTS
    assert min(body["at"] for body in later.outbox.values()) == NOW + 1


def test_among_alerts_the_newest_replaces_the_oldest_of_its_kind() -> None:
    """Where all events are needed, the newest takes the place of the oldest of its kind."""
    current = full(EventType.DEGRADED, alert=True)
    later = apply(current, add_events(current, create_event(EventType.AUTHORIZATION_REQUIRED, current, NOW + 500)))
    assert len(later.outbox) == MAX_PENDING_EVENTS + 1, "one of a kind has a place beyond"
    last = apply(later, add_events(later, create_event(EventType.AUTHORIZATION_REQUIRED, later, NOW + 600)))
    assert len(last.outbox) == MAX_PENDING_EVENTS + 1
    assert [body["at"] for body in last.outbox.values() if body["type"] == "Authorization Required"] == [NOW + 600]


def test_the_outbox_stays_bounded_through_months_without_a_bus() -> None:
    """A connection that flaps while the bus is down for months keeps a bounded outbox with the last event."""
    current, now = connection(), NOW
    failures = [Refusal("transient", 503)] * 3, [Refusal("client_rejected", 401)], [Refusal("grant_rejected", 400)] * 2
    for number in range(600):
        now += 20 * 3600
        for refusal in failures[number % 3]:
            now += refusals.MIN_SECOND_REJECTION_SECONDS
            change = refusals.apply_refusal(current, KEAP, refusal, NO_SURROUNDINGS, now)
            current = apply(current, failing.alert_when_due(current, change, NO_SURROUNDINGS, now)[0])
        if number < 599:
            current = save(current, now)
        assert len(current.outbox) <= MAX_PENDING_EVENTS + len(EventType)
    assert current.status is Status.AUTHORIZATION_REQUIRED
    newest = max(current.outbox.values(), key=lambda body: int(body["at"]))
    assert (newest["type"], newest["at"]) == ("Authorization Required", now)


def test_a_client_that_is_refused_again_and_again_fills_no_outbox_either() -> None:
    current = full(EventType.CLIENT_REFUSED)
    news = create_event(EventType.CLIENT_REFUSED, current, NOW + 500)
    assert len(apply(current, outbox.add_events(current, news)).outbox) == MAX_PENDING_EVENTS
