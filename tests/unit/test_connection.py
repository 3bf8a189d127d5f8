"""Protects the record and its events: what counts as leased and unpublished, and the form of what goes on the bus."""

from __future__ import annotations

import json
import uuid

import pytest

from evergrant.oauth.token_set import TokenLifetime
from evergrant.record.connection import FIELDS, Connection, create_event
from evergrant.record.status import INACTIVE_STATUSES, EventType, Status
from tests.unit.samples import NOW, connection


def test_a_name_is_provider_and_account() -> None:
    assert (connection().provider, connection().account) == ("keap", "main")


def test_the_lease_is_free_from_the_second_it_runs_out() -> None:
    held = connection(lease_owner="worker", lease_until=NOW)
    assert held.is_leased(NOW - 1)
    assert not held.is_leased(NOW)
    assert not connection().is_leased(NOW)
    assert not connection(lease_until=NOW + 9).is_leased(NOW)


def test_a_connection_without_a_token_set_has_no_life() -> None:
    assert connection().token_lifetime == TokenLifetime(NOW, NOW + 86_400)
    assert connection(expires_at=None).token_lifetime is None
    assert connection(issued_at=None).token_lifetime is None


@pytest.mark.parametrize(
    ("fields", "unpublished"),
    [
        ({}, False),
        ({"published_generation": 2}, True),
        ({"published_generation": 2, "direct_read": False}, False),
        ({"outbox": {"id": {}}}, True),
        ({"outbox": {"id": {}}, "direct_read": False}, True),
        ({"generation": 0, "published_generation": 0, "sealed": None}, False),
    ],
)
def test_what_is_not_yet_published_or_delivered_is_unpublished(fields: dict[str, object], unpublished: bool) -> None:
    assert connection(**fields).is_unpublished is unpublished


def test_a_new_record_is_empty_and_readable_by_default() -> None:
    new = Connection("keap/main", Status.AWAITING_AUTHORIZATION, "authorization_code", "keap", "0" * 64)
    assert (new.generation, new.failures, new.attempt_replays, dict(new.outbox)) == (0, 0, 0, {})
    assert new.direct_read
    assert new.due_at is None


def test_states_are_stored_under_stable_words() -> None:
    assert {str(status) for status in Status} == {
        *("awaiting_authorization", "active", "degraded", "authorization_required"),
        *("client_refused", "paused", "disconnected"),
    }
    assert {Status.PAUSED, Status.DISCONNECTED} == INACTIVE_STATUSES


def test_the_fields_that_hold_state_keep_their_names() -> None:
    """The table outlives every release: a renamed field would lose what is stored under the old name."""
    assert {
        *(
            "name",
            "status",
            "generation",
            "published_generation",
            "sealed",
            "unreadable_response",
            "outbox",
            "due_shard",
        ),
        *(
            "due_at",
            "refresh_at",
            "lease_owner",
            "lease_until",
            "attempt_id",
            "attempt_at",
            "attempt_replays",
            "rejected_at",
        ),
        *("expires_at", "issued_at", "profile_hash", "variables", "client", "grant", "redirect_uri", "direct_read"),
    } <= FIELDS


def test_an_event_names_its_connection_and_its_time() -> None:
    ((identity, body),) = create_event(EventType.ROTATED, connection(), NOW, generation=4).items()
    assert body
    assert str(uuid.UUID(identity)) == identity
    assert body == {
        "type": "Token Rotated",
        "at": NOW,
        "detail": {
            "connection": "keap/main",
            "provider": "keap",
            "account": "main",
            "time": "2026-11-22T10:00:00Z",
            "generation": 4,
        },
    }
    json.dumps(body)


def test_two_changes_of_state_are_two_events() -> None:
    assert (
        len(
            {
                **create_event(EventType.DEGRADED, connection(), NOW),
                **create_event(EventType.DEGRADED, connection(), NOW),
            }
        )
        == 2
    )


def test_events_are_named_as_the_rules_of_the_bus_expect_them() -> None:
    assert {str(kind) for kind in EventType} >= {
        *("Connection Authorized", "Token Rotated", "Connection Degraded", "Connection Recovered"),
        *("Authorization Required", "Client Refused", "Connection Disconnected"),
    }
