"""Protects alerts: they come in time, in words, with the command that fixes it, and only when a person is needed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from random import Random
from typing import Any

import pytest
from msgspec import structs

from evergrant.oauth.error_codes import RefusalKind
from evergrant.oauth.error_response import Refusal
from evergrant.profiles.model import Profile
from evergrant.record import failures as failing
from evergrant.record import lost_response, refusals, token_save
from evergrant.record.alerts import describe_event
from evergrant.record.circuit import NO_SURROUNDINGS, Circuit, Surroundings
from evergrant.record.connection import Connection, RecordChange
from evergrant.record.expired_arrivals import report_expired_arrivals
from evergrant.record.expiry_warning import compute_first_warning_at, compute_next_warning_at, warn_of_expiry
from evergrant.record.refresh_schedule import schedule_refresh
from evergrant.record.sealed import Sealed
from evergrant.record.status import EventType, Status
from evergrant.settings import Settings
from evergrant.times import DAY_SECONDS, HOUR_SECONDS, format_rfc3339
from tests.unit.samples import ENDPOINT_URL, KEAP, NOW, apply, connection, surround, tokens

REFUSED = Refusal("transient", 503, "server_error")
REFUSED_CLIENT = Refusal("client_rejected", 401, "invalid_client")
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


def build_failing(expires_in: int = DAY_SECONDS, **fields: Any) -> Connection:
    token = {"issued_at": NOW + expires_in - DAY_SECONDS, "expires_at": NOW + expires_in}
    return connection(**{"attempt_id": "attempt-1", "attempt_at": NOW, "failures": 2, **token, **fields})


def fail(
    current: Connection, refusal: Refusal = REFUSED, around: Surroundings = NO_SURROUNDINGS, now: int = NOW
) -> tuple[RecordChange, Circuit | None]:
    """Apply a refusal, and report it if it is time for that."""
    change = refusals.apply_refusal(current, KEAP, refusal, around, now)
    return failing.alert_when_due(current, change, around, now)


def list_alerts(change: RecordChange) -> list[dict[str, Any]]:
    return [event for event in events(change) if event["alert"]]


@pytest.mark.parametrize(
    ("failures", "expires_in", "alerts"),
    [
        (2, 300, True),
        (2, 301, False),
        (1, 300, False),
        (0, -DAY_SECONDS, False),
        (2, -1, True),
        (50, DAY_SECONDS, False),
        (50, 299, True),
    ],
)
def test_a_third_failure_within_five_minutes_of_the_end_alerts(failures: int, expires_in: int, alerts: bool) -> None:
    """Not each blip of an hourly token: the third failure at the earliest, once the token is about to expire."""
    change, circuit = fail(build_failing(expires_in, failures=failures))
    assert bool(list_alerts(change)) is alerts
    assert len(events(change)) <= 1, "the alert takes the place of the plain event"
    assert (circuit is not None) is alerts
    assert change.fields.get("alerted_at") == (NOW if alerts else None)


def test_a_connection_that_degraded_silently_alerts_once_later() -> None:
    silent = build_failing(400, status=Status.DEGRADED)
    change, _ = fail(silent)
    assert not events(change)
    silent = apply(silent, change)
    change, _ = fail(silent, now=NOW + 100)
    [event] = events(change)
    assert (event["type"], event["alert"], event["reason"]) == (EventType.DEGRADED, True, "server_error")
    assert f"valid until {format_rfc3339(silent.expires_at or 0)}" in event["summary"]
    assert not events(fail(apply(silent, change), now=NOW + 101)[0])


@pytest.mark.parametrize(
    ("expired_for", "alerted_for", "alerts"),
    [
        (DAY_SECONDS, DAY_SECONDS + 300, True),
        (DAY_SECONDS - 1, DAY_SECONDS + 299, False),
        (5 * DAY_SECONDS, DAY_SECONDS, True),
        (5 * DAY_SECONDS, DAY_SECONDS - 1, False),
    ],
)
@pytest.mark.parametrize("status", [Status.DEGRADED, Status.CLIENT_REFUSED])
def test_without_a_token_for_a_day_the_alert_is_repeated_daily(
    status: Status, expired_for: int, alerted_for: int, alerts: bool
) -> None:
    current = build_failing(-expired_for, status=status, alerted_at=NOW - alerted_for, failures=20)
    refusal = REFUSED if status is Status.DEGRADED else Refusal("client_rejected", 401, "invalid_client")
    change, _ = fail(current, refusal)
    kind = EventType.DEGRADED if status is Status.DEGRADED else EventType.CLIENT_REFUSED
    assert [event["type"] for event in list_alerts(change)] == [kind] * alerts


def test_no_class_of_answers_is_silent_for_a_week() -> None:
    """Of any answer, a day without a token needs someone: an alert, and one more each day."""
    kinds: list[RefusalKind] = ["transient", "rate_limited", "not_reached", "unclear", "rejected_unknown", "malformed"]
    for kind in kinds:
        current, alerted, now = build_failing(-1, failures=0), list[int](), NOW
        while now < NOW + 7 * DAY_SECONDS:
            change, _ = fail(replace(current, attempt_id="again"), Refusal(kind, 400), now=now)
            alerted += [now for event in list_alerts(change) if event["type"] == EventType.DEGRADED]
            current = replace(apply(current, change), outbox={})
            now = current.refresh_at or 0
            if current.status is Status.AUTHORIZATION_REQUIRED:
                break
        between = [later - sooner for sooner, later in pairwise(alerted)]
        assert len(alerted) >= 6 or current.status is Status.AUTHORIZATION_REQUIRED, kind
        assert all(apart >= DAY_SECONDS for apart in between), (kind, between)


def test_an_attempt_is_planned_for_the_daily_alert() -> None:
    """An alert comes of an attempt, and hourly or daily attempts would delay it."""
    for alerted_before, expired_for, at in (
        (HOUR_SECONDS, 40 * HOUR_SECONDS, 23 * HOUR_SECONDS),
        (DAY_SECONDS - 1800, 25 * HOUR_SECONDS, 1800),
        (DAY_SECONDS, DAY_SECONDS - 1800, 1800),
    ):
        current = build_failing(-expired_for, status=Status.DEGRADED, failures=40, alerted_at=NOW - alerted_before)
        assert fail(current)[0].fields["refresh_at"] == NOW + at


@pytest.mark.parametrize(
    ("alerted_at", "alerts"), [(None, True), (NOW - DAY_SECONDS + 1, False), (NOW - DAY_SECONDS, True)]
)
def test_one_endpoint_is_one_alert_a_day(alerted_at: int | None, alerts: bool) -> None:
    """The first connection reports its endpoint, and says so to the others by the circuit that is to be marked."""
    around = surround(endpoint={"opened_at": NOW - 600, "alerted_at": alerted_at})
    change, circuit = fail(build_failing(-60), Refusal("not_reached", 403, content_type="text/html"), around)
    assert bool(list_alerts(change)) is alerts
    assert circuit == (around.endpoint if alerts else None)


@pytest.mark.parametrize("kind", ["transient", "not_reached", "unclear"])
@pytest.mark.parametrize(("opened_at", "probes", "alerts"), [(NOW - 30, 1, True), (NOW, 0, False), (None, 0, False)])
def test_a_failed_probe_of_one_connection_is_the_third_failure(
    kind: RefusalKind, opened_at: int | None, probes: int, alerts: bool
) -> None:
    """Probes go round, so no connection of many fails three times soon. Two others have failed before."""
    around = surround(endpoint={"opened_at": opened_at, "probes": probes})
    change, circuit = fail(build_failing(200, failures=0, unclear_at=NOW - 99), Refusal(kind, 503), around)
    assert bool(list_alerts(change)) is alerts
    assert (change.status is Status.DEGRADED) is alerts
    assert (circuit is around.endpoint) is alerts


def test_a_refused_client_is_reported_for_the_client() -> None:
    around = surround(client={"opened_at": NOW})
    change, circuit = fail(build_failing(), Refusal("client_rejected", 401, "invalid_client"), around)
    assert [(event["type"], event["alert"]) for event in events(change)] == [(EventType.CLIENT_REFUSED, True)]
    assert circuit == around.client
    second, circuit = fail(build_failing(), REFUSED_CLIENT, surround(client={"opened_at": NOW, "alerted_at": NOW}))
    assert [(event["type"], event["alert"]) for event in events(second)] == [(EventType.CLIENT_REFUSED, False)]
    assert circuit is None


def test_a_connections_own_refusal_is_not_hidden_by_the_endpoints_alert() -> None:
    """An alert about the endpoint was for another trouble than the refusal of this one's own grant or request."""
    around = surround(endpoint={"alerted_at": NOW - 60})
    for refusal in (Refusal("malformed", 400, "invalid_scope"), Refusal("rejected_unknown", 401)):
        change, circuit = fail(build_failing(-60), refusal, around)
        assert len(list_alerts(change)) == 1
        assert circuit is None


def test_during_an_incident_a_refused_grant_is_no_alert_of_its_own() -> None:
    around = surround(client={"incident_at": NOW - 60, "alerted_at": NOW - 60})
    change, _ = fail(build_failing(-60), Refusal("grant_rejected", 400, "invalid_grant"), around)
    assert list_alerts(change) == []


def test_an_alert_says_who_answered_what() -> None:
    around = surround(endpoint={"opened_at": NOW - 60})
    current = build_failing(-60, endpoint=ENDPOINT_URL)
    refusal = Refusal("not_reached", 403, content_type="text/html")
    [event] = events(fail(current, refusal, around)[0])
    assert (event["endpoint"], event["http_status"], event["http_detail"]) == (ENDPOINT_URL, 403, "text/html")
    assert event["open_since"] == format_rfc3339(NOW - 60)
    assert "a page of HTML came" in event["summary"]
    assert "(not_reached, HTTP 403, text/html) at api.example.com." in event["summary"]
    assert f"Since {event['open_since']}, other connections of this endpoint wait for it, too." in event["summary"]


def test_an_unreadable_response_alerts_at_once() -> None:
    current = build_failing(failures=0)
    change = lost_response.apply_unreadable_response(current, KEAP, SEALED, NO_SURROUNDINGS, NOW)
    [event] = events(failing.alert_when_due(current, change, NO_SURROUNDINGS, NOW)[0])
    assert (event["type"], event["alert"]) == (EventType.DEGRADED, True)


def test_a_failure_of_our_own_alerts_like_others() -> None:
    """Before anything is sent no circuit has been read."""
    for expires_in, failures, alerts in ((200, 2, True), (200, 1, False), (DAY_SECONDS, 2, False)):
        current = build_failing(expires_in, failures=failures)
        change = failing.apply_preparation_failure(current, failing.SERVICE_UNAVAILABLE, NOW)
        assert bool(list_alerts(failing.alert_when_due(current, change, None, NOW)[0])) is alerts


def test_a_refused_client_that_only_waits_is_not_reported_anew() -> None:
    """Whether its operator knows of it already, only the circuit says, which has not been read."""
    current = build_failing(-60, status=Status.CLIENT_REFUSED, failures=5)
    change = RecordChange(schedule_refresh(current, NOW + 300))
    assert failing.alert_when_due(current, change, None, NOW) == (change, None)


@pytest.mark.parametrize("status", [Status.ACTIVE, Status.AUTHORIZATION_REQUIRED, Status.AWAITING_AUTHORIZATION])
def test_a_connection_that_is_not_degraded_is_not_reported_as_such(status: Status) -> None:
    current = build_failing(-60, status=status, failures=0)
    change = failing.apply_preparation_failure(current, failing.SERVICE_UNAVAILABLE, NOW)
    assert failing.alert_when_due(current, change, None, NOW) == (change, None)


@pytest.mark.parametrize(("alerted_at", "alert"), [(None, False), (NOW - 5, True)])
def test_a_recovery_alerts_where_the_failure_did(alerted_at: int | None, alert: bool) -> None:
    degraded = build_failing(status=Status.DEGRADED, alerted_at=alerted_at)
    changes = token_save.save_token_set(degraded, tokens(), SEALED, KEAP, Settings(), NOW)
    [recovered] = [event for event in events(changes) if event["type"] == EventType.RECOVERED]
    assert recovered["alert"] is alert
    assert changes.fields["alerted_at"] is None


def test_nothing_changes_nothing() -> None:
    current = build_failing(1, status=Status.DEGRADED)
    assert failing.alert_when_due(current, RecordChange(), NO_SURROUNDINGS, NOW) == (RecordChange(), None)


# In what words


@pytest.mark.parametrize("kind", EventType)
def test_every_event_has_words_of_its_own_and_a_command(kind: EventType) -> None:
    detail = {"connection": "keap/main", "client": "keap-app", "reason": "invalid_grant", "ends_at": "2027-02-01"}
    event = describe_event({"type": str(kind), "detail": detail})
    assert event["summary"].endswith(".")
    assert "keap/main" in event["summary"]
    assert event["command"].startswith("evergrant ")
    assert "None" not in event["summary"] + event["command"]


@pytest.mark.parametrize(
    ("connections", "words"),
    [
        (["keap/main", "keap/two", "keap/b"], "They are keap/main, keap/two and keap/b."),
        (["keap/two"], "They are keap/two."),
        (None, "They are keap/main."),
        ([f"keap/{number:02}" for number in range(20)], "Among them are keap/00, keap/01,"),
    ],
)
def test_an_incident_is_reported_with_the_connections_it_stops(connections: list[str] | None, words: str) -> None:
    detail = {"connection": "keap/main", "client": "keap-app"} | ({"connections": connections} if connections else {})
    summary = describe_event({"type": EventType.GRANTS_REFUSED, "detail": detail})["summary"]
    assert "keap-app" in summary
    assert words in summary


@pytest.mark.parametrize(
    ("detail", "words"),
    [
        (
            {"reason": "unclear", "http_status": 503, "endpoint": ENDPOINT_URL},
            "(unclear, HTTP 503) at api.example.com.",
        ),
        ({"reason": "lost_response", "http_detail": "timeout"}, "did not respond in time (lost_response, timeout)."),
        ({"reason": "lost_response", "http_detail": "reset"}, "the connection was reset"),
        ({"reason": "not_reached", "http_status": 403, "http_detail": "text/html"}, "a page of HTML"),
        ({"endpoint": ENDPOINT_URL}, "keap/main cannot be refreshed at present."),
    ],
)
def test_words_tell_a_timeout_a_reset_and_a_page_from_each_other(detail: dict[str, Any], words: str) -> None:
    summary = describe_event({"type": EventType.DEGRADED, "detail": {"connection": "keap/main", **detail}})["summary"]
    assert words in summary
    assert ("lost" in summary) is (detail.get("reason") == "lost_response")


@pytest.mark.parametrize(
    ("expires_at", "command"), [("2026-11-22T10:00:00Z", "connect"), ("2026-11-22T10:00:01Z", "status")]
)
def test_the_first_refused_grant_names_the_command_once_the_token_expired(expires_at: str, command: str) -> None:
    detail = {"reason": "invalid_grant", "expires_at": expires_at, "time": "2026-11-22T10:00:00Z"}
    event = describe_event({"type": EventType.DEGRADED, "detail": {"connection": "keap/main", **detail}})
    assert event["command"] == f"evergrant {command} keap/main"
    assert ("evergrant connect keap/main" in event["summary"]) is (command == "connect")


def describe(kind: EventType, reason: str, **detail: Any) -> dict[str, Any]:
    known = {"connection": "keap/main", "client": "keap-app", "reason": reason, "time": format_rfc3339(NOW)}
    return describe_event({"type": kind, "detail": {**known, **detail}})


def test_an_unauthorized_client_without_an_owner_is_the_clients() -> None:
    current = build_failing(-60, grant="client_credentials", endpoint=ENDPOINT_URL)
    unauthorized = Refusal("client_unauthorized", 400, "unauthorized_client")
    [event] = events(fail(current, unauthorized)[0])
    assert "registration" in event["summary"]
    assert "connect" not in event["summary"]


def test_an_expired_arrival_is_no_refusal_in_words() -> None:
    [event] = events(report_expired_arrivals(connection(), NOW))
    assert "have expired when they come" in event["summary"]
    assert "refused" not in event["summary"]


def test_an_unauthorized_client_alone_has_both_readings_in_words() -> None:
    summary = describe(EventType.DEGRADED, "unauthorized_client", http_status=400)["summary"]
    assert "evergrant client set keap-app" in summary
    assert "evergrant connect keap/main" in summary


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("invalid_request", "the same request worked before"),
        ("unauthorized_client", "it is this grant that is refused"),
        ("rejected_unknown", "its endpoint answers other connections properly"),
        ("fails_for_this_account", "for this account alone"),
    ],
)
def test_a_call_for_an_owner_says_why_where_no_code_does(reason: str, words: str) -> None:
    event = describe(EventType.AUTHORIZATION_REQUIRED, reason, http_status=400)
    assert words in event["summary"]
    assert f"({reason}, HTTP 400)" in event["summary"]
    assert event["command"] == "evergrant connect keap/main"


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
        (EventType.GRANTS_REFUSED, "evergrant client show keap-app"),
        (EventType.DEGRADED, "evergrant status keap/main"),
    ],
)
def test_the_command_is_the_one_that_fixes_it(kind: EventType, command: str) -> None:
    detail = {"connection": "keap/main", "client": "keap-app"}
    assert describe_event({"type": str(kind), "detail": detail})["command"] == command


@pytest.mark.parametrize("kind", EventType)
def test_events_only_a_person_can_resolve_alert_a_person(kind: EventType) -> None:
    """Others say themselves whether they are an alert: one refused client is one for all of its connections."""
    needs = {EventType.AUTHORIZATION_REQUIRED, EventType.GRANTS_REFUSED, EventType.GRANT_EXPIRING}
    assert describe_event({"type": str(kind), "detail": {"connection": "keap/main"}})["alert"] is (kind in needs)
    assert describe_event({"type": str(kind), "detail": {"connection": "keap/main", "alert": True}})["alert"] is True
