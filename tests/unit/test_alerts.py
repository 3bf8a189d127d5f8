"""Protects alerts: they come in time, in words, with the command that fixes it, and only when a person is needed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from random import Random
from typing import Any

import pytest
from msgspec import structs

from evergrant.oauth.error_response import Refusal
from evergrant.profiles.model import Profile
from evergrant.record import failures as failing
from evergrant.record import lost_response, token_save
from evergrant.record.alerts import describe_event
from evergrant.record.connection import Connection, RecordChange
from evergrant.record.expiry_warning import compute_first_warning_at, compute_next_warning_at, warn_of_expiry
from evergrant.record.refresh_schedule import schedule_refresh
from evergrant.record.sealed import Sealed
from evergrant.record.status import EventType, Status
from evergrant.settings import Settings
from evergrant.times import DAY_SECONDS, format_rfc3339
from tests.unit.samples import KEAP, NOW, apply, connection, tokens

REFUSED = Refusal("transient", 503, "server_error")
SEALED = Sealed(b"", b"", b"")
HARD = structs.replace(KEAP, rotation=structs.replace(KEAP.rotation, refresh_token_life="hard"))


def events(change: RecordChange) -> list[dict[str, Any]]:
    return [describe_event(body) | {"type": body["type"]} for body in change.events.values() if body]


# When


@pytest.mark.parametrize(
    ("lifetime", "days"), [(365, 30), (61, 30), (60, 7), (45, 7), (14, 1), (15, 7), (3, 1), (2, None), (1, None)]
)
def test_the_first_warning_falls_in_the_second_half_of_the_grants_life(lifetime: int, days: int | None) -> None:
    """The first warning is the earliest one that falls in the second half of the grant's life."""
    ends_at = NOW + lifetime * DAY_SECONDS
    assert compute_first_warning_at(NOW, ends_at) == (None if days is None else ends_at - days * DAY_SECONDS)


def test_warnings_follow_one_another_and_missed_ones_are_skipped() -> None:
    """Warnings follow one another, and those that were missed are left out."""
    ends_at = NOW + 365 * DAY_SECONDS
    assert compute_next_warning_at(ends_at, ends_at - 30 * DAY_SECONDS) == ends_at - 7 * DAY_SECONDS
    assert compute_next_warning_at(ends_at, ends_at - 7 * DAY_SECONDS) == ends_at - DAY_SECONDS
    assert compute_next_warning_at(ends_at, ends_at - 3 * DAY_SECONDS) == ends_at - DAY_SECONDS
    assert compute_next_warning_at(ends_at, ends_at - DAY_SECONDS) is None


def save(current: Connection, profile: Profile, ends_at: int | None, issued_at: int = NOW) -> Connection:
    given = replace(tokens(), issued_at=issued_at, expires_at=issued_at + DAY_SECONDS, refresh_expires_at=ends_at)
    return apply(current, token_save.save_token_set(current, given, SEALED, profile, Settings(), issued_at))


def test_a_grant_that_rotation_prolongs_is_never_warned_of() -> None:
    first = save(connection(status=Status.AWAITING_AUTHORIZATION), KEAP, NOW + 45 * DAY_SECONDS)
    assert first.warn_at is None
    again = save(first, KEAP, NOW + 46 * DAY_SECONDS, NOW + DAY_SECONDS)
    assert again.warn_at is None


def test_a_hard_end_is_warned_of_and_no_refresh_forgets_the_warning() -> None:
    """A grant with a hard end is warned of, and refreshing forgets no warning."""
    ends_at = NOW + 365 * DAY_SECONDS
    current = save(connection(status=Status.AWAITING_AUTHORIZATION), HARD, ends_at)
    assert current.warn_at == ends_at - 30 * DAY_SECONDS
    current = save(current, HARD, ends_at, ends_at - 20 * DAY_SECONDS)
    assert current.warn_at == ends_at - 30 * DAY_SECONDS, "not reported yet: late is better than never"
    current = apply(current, warn_of_expiry(current, ends_at - 20 * DAY_SECONDS))
    assert current.warn_at == ends_at - 7 * DAY_SECONDS
    assert save(current, HARD, ends_at, ends_at - 19 * DAY_SECONDS).warn_at == ends_at - 7 * DAY_SECONDS
    current = apply(current, warn_of_expiry(current, ends_at - DAY_SECONDS))
    assert current.warn_at is None
    assert save(current, HARD, ends_at, ends_at - DAY_SECONDS // 2).warn_at is None, "all were reported"


def test_an_end_that_a_rotation_left_in_place_is_warned_of() -> None:
    """An end that a rotation left where it was is warned of, though the profile declares rotation."""
    ends_at = NOW + 100 * DAY_SECONDS
    first = save(connection(status=Status.AWAITING_AUTHORIZATION), KEAP, ends_at)
    assert first.warn_at is None
    assert save(first, KEAP, ends_at, NOW + DAY_SECONDS).warn_at == ends_at - 30 * DAY_SECONDS


def simulate_life(
    profile: Profile, lifetime: int, until: int, stated_end: Callable[[int], int]
) -> tuple[list[float], list[int]]:
    """The days before ``until`` on which a connection warned that was refreshed until then, and when it was refreshed.

    ``stated_end`` says what end of the grant an answer at that time tells.
    """
    current, now = connection(status=Status.AWAITING_AUTHORIZATION), NOW
    warnings, refreshed = [], []
    while now < until:
        refreshed.append(now)
        given = replace(tokens(lifetime), issued_at=now, expires_at=now + lifetime, refresh_expires_at=stated_end(now))
        current = apply(current, token_save.save_token_set(current, given, SEALED, profile, Settings(), now))
        again = current.refresh_at or until
        while current.warn_at is not None and current.warn_at <= again:
            at = max(current.warn_at, now)
            warnings.append((until - at) / DAY_SECONDS)
            current = apply(current, warn_of_expiry(current, at))
        now = again
    return warnings, refreshed


@pytest.mark.parametrize("wobble", [1, 2])
@pytest.mark.parametrize("profile", [KEAP, HARD], ids=["rotating", "hard"])
@pytest.mark.parametrize(
    ("lifetime", "days", "expected"),
    [(7200, 90, [30, 7, 1]), (300, 20, [7, 1]), (60, 3, [1])],
)
def test_an_end_that_wobbles_by_seconds_counts_as_the_same_end(
    lifetime: int, days: int, expected: list[int], profile: Profile, wobble: int
) -> None:
    """An end that is given in seconds stays the same, though each response puts it a second or two apart."""
    random, end = Random(1), NOW + days * DAY_SECONDS
    warnings, refreshed = simulate_life(profile, lifetime, end, lambda now: end + random.randint(-wobble, wobble))
    assert warnings == pytest.approx(expected, abs=5 / DAY_SECONDS)
    assert len(refreshed) < 3 * days * DAY_SECONDS / lifetime, "nor is that end raced against"


@pytest.mark.parametrize("lifetime", [30, 60, 300, 7200])
@pytest.mark.parametrize("wobble", [0, 2])
def test_an_end_that_each_refresh_moves_is_never_warned_of_or_reached(lifetime: int, wobble: int) -> None:
    """An end that each refresh moves is never warned of, and every refresh is in time for it."""
    random, window = Random(1), max(lifetime * 2 // 3, 20)  # ends before the access token
    stated_end = lambda now: now + window - random.randint(0, wobble)  # noqa: E731
    warnings, refreshed = simulate_life(KEAP, lifetime, NOW + 200 * lifetime, stated_end)
    assert warnings == []
    assert max(later - sooner for sooner, later in pairwise(refreshed)) < window - wobble


def test_a_refresh_within_seconds_of_another_forgets_no_warning() -> None:
    end = NOW + 60 * DAY_SECONDS
    current = connection(refresh_expires_at=end, warn_at=end - 30 * DAY_SECONDS)
    for seconds, end_stated in ((3, end + 2), (5, end), (6, end + 1)):
        current = save(current, KEAP, end_stated, NOW + seconds)
        assert (current.warn_at, current.refresh_expires_at) == (end - 30 * DAY_SECONDS, end)


def test_a_new_authorization_begins_its_warnings_anew() -> None:
    ends_at = NOW + 365 * DAY_SECONDS
    old = replace(save(connection(status=Status.AWAITING_AUTHORIZATION), HARD, ends_at), warn_at=None)
    again = replace(old, status=Status.AWAITING_AUTHORIZATION)
    assert save(again, HARD, ends_at).warn_at == ends_at - 30 * DAY_SECONDS


def test_a_connection_is_due_when_its_warning_is() -> None:
    current = connection(refresh_at=NOW + 90 * DAY_SECONDS, warn_at=NOW + 10 * DAY_SECONDS)
    assert current.next_action_at == NOW + 10 * DAY_SECONDS
    assert schedule_refresh(current, NOW + 80 * DAY_SECONDS)["due_at"] == NOW + 10 * DAY_SECONDS
    assert schedule_refresh(current, None)["due_at"] == NOW + 10 * DAY_SECONDS
    assert schedule_refresh(current, NOW + DAY_SECONDS)["due_at"] == NOW + DAY_SECONDS
    assert connection(refresh_at=None, warn_at=None).next_action_at is None


def test_a_grant_that_is_over_already_is_not_warned_of() -> None:
    dead = connection(
        status=Status.AUTHORIZATION_REQUIRED, refresh_at=NOW + DAY_SECONDS, refresh_expires_at=NOW, warn_at=NOW
    )
    changes = warn_of_expiry(dead, NOW)
    assert not events(changes)
    assert (changes.fields["warn_at"], changes.fields["due_at"]) == (None, NOW + DAY_SECONDS), (
        "and is not due for it again and again"
    )


# Whether


def build_degraded(expires_in: int = DAY_SECONDS, **fields: Any) -> Connection:
    fields = {"issued_at": NOW + expires_in - DAY_SECONDS, "expires_at": NOW + expires_in, "failures": 3, **fields}
    return connection(status=Status.DEGRADED, **fields)


def test_a_failure_early_in_the_tokens_life_raises_no_alert() -> None:
    current = replace(build_degraded(), status=Status.ACTIVE)
    [event] = events(failing.apply_refusal(current, REFUSED, NOW))
    assert (event["type"], event["alert"]) == (EventType.DEGRADED, False)


def test_one_alert_is_raised_when_the_token_is_about_to_expire() -> None:
    current = build_degraded(DAY_SECONDS // 4 + 1)
    changes = failing.apply_refusal(current, REFUSED, NOW)
    assert not events(failing.alert_when_urgent(current, changes, NOW))
    [event] = events(failing.alert_when_urgent(current, changes, NOW + 1))
    assert (event["type"], event["alert"], event["reason"]) == (EventType.DEGRADED, True, "server_error")
    assert f"valid until {format_rfc3339(current.expires_at or 0)}" in event["summary"]
    current = apply(current, failing.alert_when_urgent(current, changes, NOW + 1))
    assert current.alerted_at == NOW + 1
    assert not events(failing.alert_when_urgent(current, failing.apply_refusal(current, REFUSED, NOW + 2), NOW + 2))


def test_a_failure_late_in_the_tokens_life_alerts_at_once_and_once() -> None:
    current = replace(build_degraded(DAY_SECONDS // 8), status=Status.ACTIVE)
    changes = failing.apply_refusal(current, REFUSED, NOW)
    [event] = events(failing.alert_when_urgent(current, changes, NOW))
    assert event["alert"]


@pytest.mark.parametrize("status", [Status.ACTIVE, Status.DEGRADED])
def test_a_retry_after_beyond_the_tokens_life_alerts_at_once(status: Status) -> None:
    """A provider that asks for a longer wait than the token lives raises an alert at once."""
    current = replace(build_degraded(DAY_SECONDS // 2), status=status, failures=0)
    for patience, alerts in ((DAY_SECONDS // 2 - 1, []), (DAY_SECONDS // 2, [True])):
        refusal = Refusal("rate_limited", 429, retry_after=patience)
        changes = failing.alert_when_urgent(current, failing.apply_refusal(current, refusal, NOW), NOW)
        assert [event["alert"] for event in events(changes) if event["alert"]] == alerts


def test_an_unreadable_response_alerts_at_once() -> None:
    current = replace(build_degraded(), status=Status.ACTIVE)
    [event] = events(lost_response.apply_unreadable_response(current, KEAP, SEALED, NOW))
    assert (event["type"], event["alert"]) == (EventType.DEGRADED, True)


@pytest.mark.parametrize(("alerted_at", "alert"), [(None, False), (NOW - 5, True)])
def test_a_recovery_alerts_where_the_failure_did(alerted_at: int | None, alert: bool) -> None:
    changes = token_save.save_token_set(build_degraded(alerted_at=alerted_at), tokens(), SEALED, KEAP, Settings(), NOW)
    [recovered] = [event for event in events(changes) if event["type"] == EventType.RECOVERED]
    assert recovered["alert"] is alert
    assert changes.fields["alerted_at"] is None


def test_nothing_changes_nothing() -> None:
    assert failing.alert_when_urgent(build_degraded(1), RecordChange(), NOW) == RecordChange()


# In what words


@pytest.mark.parametrize("kind", EventType)
def test_every_event_has_words_of_its_own_and_a_command(kind: EventType) -> None:
    detail = {"connection": "keap/main", "client": "keap-app", "reason": "invalid_grant", "ends_at": "2027-02-01"}
    event = describe_event({"type": str(kind), "detail": detail})
    assert event["summary"].endswith(".")
    assert "keap/main" in event["summary"]
    assert event["command"].startswith("evergrant ")
    assert "None" not in event["summary"] + event["command"]


def test_a_refused_client_is_reported_with_the_connections_it_stops() -> None:
    detail = {"connection": "keap/main", "client": "keap-app", "connections": ["keap/main", "keap/two", "keap/b"]}
    summary = describe_event({"type": EventType.CLIENT_REFUSED, "detail": detail})["summary"]
    assert "keap-app, with which keap/main, keap/two and keap/b must be refreshed" in summary


def test_an_unreadable_response_promises_no_further_try() -> None:
    """Where a kept response has to be reparsed, the summary does not promise a further try."""
    detail = {"connection": "keap/main", "reason": "unreadable_response"}
    summary = describe_event({"type": EventType.DEGRADED, "detail": detail})["summary"]
    assert "tries again" not in summary
    assert "corrected profile" in summary


@pytest.mark.parametrize(
    ("kind", "command"),
    [
        (EventType.AUTHORIZATION_REQUIRED, "evergrant connect keap/main"),
        (EventType.GRANT_EXPIRING, "evergrant connect keap/main"),
        (EventType.CLIENT_REFUSED, "evergrant client set keap-app"),
        (EventType.DEGRADED, "evergrant status keap/main"),
    ],
)
def test_the_command_is_the_one_that_fixes_it(kind: EventType, command: str) -> None:
    detail = {"connection": "keap/main", "client": "keap-app"}
    assert describe_event({"type": str(kind), "detail": detail})["command"] == command


@pytest.mark.parametrize("kind", EventType)
def test_events_only_a_person_can_resolve_alert_a_person(kind: EventType) -> None:
    needs = {EventType.AUTHORIZATION_REQUIRED, EventType.CLIENT_REFUSED, EventType.GRANT_EXPIRING}
    assert describe_event({"type": str(kind), "detail": {"connection": "keap/main"}})["alert"] is (kind in needs)
