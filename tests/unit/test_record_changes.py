"""Protects what saves and failures of our own change: a token set is never dropped, and each trouble ends with it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from evergrant.profiles.model import Profile
from evergrant.record import failures as failing
from evergrant.record import token_save
from evergrant.record.connection import Connection, RecordChange
from evergrant.record.refresh_schedule import choose_shard, deliver_soon, schedule_due, schedule_refresh
from evergrant.record.sealed import Sealed
from evergrant.record.state_machine import rebase_change
from evergrant.record.status import Status
from evergrant.settings import Settings
from evergrant.times import DAY_SECONDS, TICK_SECONDS
from tests.unit.samples import KEAP, NOW, SEALED, connection, event_types, fields_of, tokens

NEW = Sealed(b"k", b"n", b"new")


def attempting(**fields: Any) -> Connection:
    return connection(attempt_id="attempt-1", attempt_at=NOW, **fields)


def save(current: Connection, lifetime: int = DAY_SECONDS, profile: Profile = KEAP, now: int = NOW) -> RecordChange:
    return token_save.save_token_set(current, tokens(lifetime), NEW, profile, Settings(), now)


# Saving


def test_a_save_is_the_next_generation_with_every_trouble_gone() -> None:
    moments = ("in_doubt_since", "unclear_at", "token_rejected_at", "failing_since", "alone_since", "rejected_at")
    texts = ("last_error", "last_detail", "rejected_code")
    troubled = attempting(
        **dict.fromkeys((*moments, "last_error_at", "last_status", "alerted_at"), NOW - 5),
        **dict.fromkeys(texts, "x"),
        status=Status.DEGRADED,
        failures=4,
        attempt_replays=1,
        unreadable_response=SEALED,
    )
    changes = save(troubled, now=NOW + 3)
    assert (fields_of(changes)["generation"], fields_of(changes)["sealed"], changes.status) == (4, NEW, Status.ACTIVE)
    assert (fields_of(changes)["issued_at"], fields_of(changes)["expires_at"]) == (NOW, NOW + DAY_SECONDS)
    assert fields_of(changes)["failures"] == fields_of(changes)["attempt_replays"] == 0
    gone = (*moments, *texts, "last_error_at", "last_status", "alerted_at", "unreadable_response", "attempt_id")
    assert [fields_of(changes)[name] for name in (*gone, "attempt_at")] == [None] * (len(gone) + 1)


def test_a_save_is_due_within_a_tick_until_published_and_then_later() -> None:
    """A save is due within a tick until it is published, and refreshed much later."""
    changes = save(connection(), now=NOW + 3)
    assert fields_of(changes)["due_at"] == NOW + 3 + 60
    assert fields_of(changes)["due_shard"] == choose_shard("keap/main")
    assert NOW + 19 * 3600 < fields_of(changes)["refresh_at"] <= NOW + 21 * 3600


def test_a_save_says_which_endpoint_the_next_refresh_goes_to() -> None:
    """By its circuit the connection is held back, and the due index shows it."""
    current = connection(variables={"host": "api.example.com"}, endpoint="https://old.example.com/token")
    assert fields_of(save(current))["endpoint"] == "https://api.example.com/token"


def test_a_variable_that_no_url_can_hold_throws_no_token_set_away() -> None:
    for variables in ({}, {"host": "no host"}):
        changes = fields_of(save(connection(variables=variables)))
        assert (changes["sealed"], changes["endpoint"]) == (NEW, None)


def test_the_lease_is_not_the_saves_to_free() -> None:
    assert not {"lease_owner", "lease_until"} & fields_of(save(connection())).keys()


@pytest.mark.parametrize(
    ("status", "types"),
    [
        (Status.AWAITING_AUTHORIZATION, ["Connection Authorized"]),
        (Status.ACTIVE, ["Token Rotated"]),
        (Status.DEGRADED, ["Token Rotated", "Connection Recovered"]),
        (Status.CLIENT_REFUSED, ["Token Rotated", "Connection Recovered"]),
        (Status.AUTHORIZATION_REQUIRED, ["Token Rotated", "Connection Recovered"]),
    ],
)
def test_a_save_tells_what_it_changed(status: Status, types: list[str]) -> None:
    changes = save(connection(status=status))
    assert event_types(changes) == types
    details = [body["detail"] for body in changes.events.values() if body]
    assert details[0]["generation"] == 4
    assert details[0]["expires_at"] == "2026-11-23T10:00:00Z"


def test_no_event_holds_a_token() -> None:
    assert "access-1" not in repr(save(connection(status=Status.DEGRADED)))
    assert "refresh-1" not in repr(save(connection()))


@pytest.mark.parametrize(
    ("lifetime", "fields", "revokes", "published"),
    [
        (DAY_SECONDS, {}, False, True),
        (1800, {}, False, True),
        (1799, {}, False, False),
        (300, {}, False, False),
        (DAY_SECONDS, {"direct_read": False}, False, False),
        (DAY_SECONDS, {}, True, False),
    ],
)
def test_only_tokens_that_live_long_enough_get_a_secret(
    lifetime: int, fields: dict[str, Any], revokes: bool, published: bool
) -> None:
    rotation = msgspec.structs.replace(KEAP.rotation, old_access_token_revoked=revokes)
    changes = save(connection(**fields), lifetime, msgspec.structs.replace(KEAP, rotation=rotation))
    # Where there will be no secret, the generation counts as published.
    assert fields_of(changes).get("published_generation") == (None if published else 4)


def test_a_connection_put_to_rest_meanwhile_keeps_the_set_and_its_rest() -> None:
    changes = save(attempting())
    kept = rebase_change(changes, Status.PAUSED)
    assert fields_of(changes).keys() - fields_of(kept).keys() == {"status"}, (
        "due, since a worker has to deliver its events"
    )
    assert fields_of(kept)["sealed"] == NEW
    assert fields_of(kept)["generation"] == 4
    assert fields_of(kept)["attempt_id"] is None


# Failures of our own


def test_an_event_makes_its_connection_due_at_the_next_tick() -> None:
    changes = failing.require_authorization(connection(), NOW)
    assert fields_of(changes)["due_at"] is None
    soon = deliver_soon(connection(), changes, NOW)
    assert (soon.fields["due_at"], soon.fields["refresh_at"]) == (NOW + TICK_SECONDS, None)
    assert deliver_soon(connection(), failed := RecordChange({"failures": 1}), NOW) == failed


def test_an_outage_of_ours_degrades_only_when_it_lasts() -> None:
    error = failing.SERVICE_UNAVAILABLE
    assert failing.apply_preparation_failure(connection(failures=1), error, NOW).status is None
    assert failing.apply_preparation_failure(connection(failures=2), error, NOW).status == Status.DEGRADED


@pytest.mark.parametrize(("expires_in", "within"), [(100, 70), (-60, 50), (-7200, 300)])
def test_a_failure_of_our_own_is_retried_like_one_of_the_provider(expires_in: int, within: int) -> None:
    """However many failures it has: just before the token expires, and then as often."""
    failing_long = connection(failures=9, expires_at=NOW + expires_in)
    changes = failing.apply_preparation_failure(failing_long, failing.SERVICE_UNAVAILABLE, NOW)
    assert NOW < fields_of(changes)["refresh_at"] <= NOW + within


def test_what_is_missing_on_our_side_degrades_and_is_looked_for_again() -> None:
    changes = failing.apply_preparation_failure(connection(), "unknown_client", NOW)
    assert (changes.status, fields_of(changes)["last_error"]) == (Status.DEGRADED, "unknown_client")
    assert NOW < fields_of(changes)["refresh_at"] <= NOW + 1125
    assert not {"attempt_id", "attempt_at"} & fields_of(changes).keys(), "a doubt from before stays one"


def test_with_nothing_to_refresh_a_person_is_called_for() -> None:
    changes = failing.require_authorization(connection(last_status=502, last_detail="text/html"), NOW)
    assert (changes.status, fields_of(changes)["last_error"]) == (Status.AUTHORIZATION_REQUIRED, "no_refresh_token")
    assert (fields_of(changes)["last_status"], fields_of(changes)["last_detail"]) == (None, None)
    assert (fields_of(changes)["refresh_at"], fields_of(changes)["due_at"]) == (None, None)
    assert failing.require_authorization(connection(status=Status.AUTHORIZATION_REQUIRED), NOW).status is None


def test_a_due_date_and_its_shard_come_and_go_together() -> None:
    assert schedule_due(connection(), NOW) == {"due_at": NOW, "due_shard": choose_shard("keap/main")}
    assert schedule_due(connection(), None) == {"due_at": None, "due_shard": None}
    assert schedule_refresh(connection(), NOW)["refresh_at"] == NOW
