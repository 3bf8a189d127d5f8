"""Protects refresh attempts in doubt: a refresh token that may have been used is sent again late, or not at all."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evergrant.oauth.error_response import Refusal
from evergrant.profiles.model import Profile
from evergrant.profiles.request_specs import Revoke
from evergrant.record import lost_response
from evergrant.record.circuit import NO_SURROUNDINGS
from evergrant.record.connection import Connection, RecordChange
from evergrant.record.sealed import Sealed
from evergrant.record.status import Status
from evergrant.times import DAY_SECONDS, HOUR_SECONDS
from tests.unit.samples import KEAP, NOW, WEALTHYHOOD, connection, event_types, fields_of, surround

NEW = Sealed(b"k", b"n", b"new")
IN_FLIGHT = lost_response.MIN_REPLAY_DELAY_SECONDS
#: A revocation ends all that the account has granted to this client.
WHOLE_PERMISSION = msgspec.structs.replace(KEAP, revoke=Revoke(url="https://api.example.com/revoke", scope="grant"))
EACH_TOKEN = msgspec.structs.replace(KEAP, revoke=Revoke(url="https://api.example.com/revoke", scope="token"))


def attempting(**fields: Any) -> Connection:
    return connection(attempt_id="attempt-1", attempt_at=NOW, **fields)


def headless(**fields: Any) -> Connection:
    return connection(name="wealthyhood/main", grant="client_credentials", **fields)


def with_grace(seconds: int) -> Profile:
    return msgspec.structs.replace(KEAP, rotation=msgspec.structs.replace(KEAP.rotation, reuse_grace=seconds))


def lose(current: Connection, profile: Profile = KEAP, now: int = NOW) -> RecordChange:
    return lost_response.apply_lost_response(current, profile, "timeout", NO_SURROUNDINGS, now)


# A response is lost


def test_a_lost_response_leaves_its_marker_and_waits_for_the_last_try() -> None:
    changes = lose(attempting(), now=NOW + 8)
    assert not {"attempt_id", "attempt_at", "attempt_replays"} & fields_of(changes).keys()
    recorded = [fields_of(changes)[name] for name in ("failures", "last_error", "last_status", "last_detail")]
    assert recorded == [1, "lost_response", None, "timeout"]
    assert changes.status is Status.DEGRADED
    assert (fields_of(changes)["in_doubt_since"], fields_of(changes)["refresh_at"]) == (NOW + 8, NOW + DAY_SECONDS - 30)


def test_a_lost_response_is_replayed_a_moment_later_within_the_grace() -> None:
    """A lost response is asked for again a moment later, and inside the grace."""
    for seconds in range(59):
        changes = lose(attempting(failures=9), with_grace(60), NOW + seconds)
        assert NOW + seconds < fields_of(changes)["refresh_at"] < NOW + 60
        assert "attempt_id" not in fields_of(changes)


def test_where_nothing_is_single_use_a_lost_response_is_a_passing_failure() -> None:
    for current, profile in ((headless(attempt_id="s", attempt_at=NOW), WEALTHYHOOD), (headless(attempt_id="s"), KEAP)):
        changes = lose(current, profile)
        recorded = [fields_of(changes)[name] for name in ("attempt_id", "last_error", "last_detail")]
        assert recorded == [None, "lost_response", "timeout"]
        assert NOW < fields_of(changes)["refresh_at"] <= NOW + 60
        assert changes.status is None


def test_a_doubt_that_outlasts_a_client_refusal_is_what_shows() -> None:
    """A doubt that outlasts its client's refusal is what the connection says."""
    refused = attempting(status=Status.CLIENT_REFUSED, last_error="invalid_client", last_status=401)
    changes = lost_response.wait_in_doubt(refused, KEAP, NOW)
    assert (changes.status, fields_of(changes)["last_error"]) == (Status.DEGRADED, "lost_response")
    assert fields_of(changes)["last_status"] is None
    assert event_types(changes) == ["Connection Degraded"]


def test_responses_lost_alone_for_six_hours_after_expiry_are_the_owners() -> None:
    expired = {"issued_at": NOW - 7 * DAY_SECONDS, "expires_at": NOW - 6 * DAY_SECONDS, "failing_since": NOW - 99}
    current = attempting(alone_since=NOW - 6 * HOUR_SECONDS, **expired)
    changes = lose(current, EACH_TOKEN)
    assert changes.status is Status.AUTHORIZATION_REQUIRED
    assert fields_of(changes)["last_error"] == "fails_for_this_account"


def test_a_lost_response_while_others_succeed_is_noted() -> None:
    around = surround(endpoint={"accepted_at": NOW - 5})
    current = attempting(failing_since=NOW - 600)
    changes = lost_response.apply_lost_response(current, KEAP, "reset", around, NOW)
    assert fields_of(changes)["alone_since"] == NOW


# When it is replayed


@given(
    st.integers(0, 2 * DAY_SECONDS),
    st.integers(0, 120),
    st.integers(0, 3),
    st.integers(60, 10 * DAY_SECONDS),
    st.integers(0, DAY_SECONDS),
    st.sampled_from([WHOLE_PERMISSION, EACH_TOKEN]),
)
def test_outside_the_grace_a_replay_waits_for_the_last_try(
    age: int, grace: int, replays: int, lifetime: int, sent_after: int, profile: Profile
) -> None:
    """Outside the grace nothing is sent while another worker may hold the response, or the access token lives on."""
    life = {"issued_at": NOW - sent_after, "expires_at": NOW - sent_after + lifetime}
    current = attempting(attempt_replays=replays, in_doubt_since=NOW, **life)
    rotation = msgspec.structs.replace(profile.rotation, reuse_grace=grace)
    now, ends_at = NOW + age, NOW - sent_after + lifetime
    again = lost_response.compute_replay_at(current, msgspec.structs.replace(profile, rotation=rotation), now)
    if age < grace:
        assert again == now
    elif replays and profile is WHOLE_PERMISSION:
        assert again == (NOW + IN_FLIGHT if age < IN_FLIGHT else None)
    else:
        assert again is not None
        assert again >= max(now, NOW + IN_FLIGHT)
        assert again >= min(ends_at - 30, max(now, ends_at))
        assert again <= max(now, NOW + IN_FLIGHT, ends_at), "once the token has expired nothing is left to lose"


def test_a_second_lost_replay_is_the_last_where_revocation_ends_all() -> None:
    """Where a revocation ends the whole permission of the account, one counted replay is all."""
    changes = lose(attempting(attempt_replays=1, in_doubt_since=NOW), WHOLE_PERMISSION, NOW + DAY_SECONDS)
    assert changes.status is Status.AUTHORIZATION_REQUIRED
    assert event_types(changes) == ["Authorization Required"]
    assert fields_of(changes)["refresh_at"] > NOW + DAY_SECONDS * 15 // 8, "probed a day later"


def test_a_replay_that_is_lost_too_is_in_flight_like_the_first() -> None:
    """The request may reach the provider after the token has expired, and would then use the token a second time."""
    ends_at = NOW + DAY_SECONDS
    current = attempting(attempt_replays=1, in_doubt_since=NOW)
    lost = fields_of(lose(current, EACH_TOKEN, ends_at - 25))
    assert (lost["in_doubt_since"], lost["refresh_at"]) == (ends_at - 25, ends_at - 25 + IN_FLIGHT)
    seen = replace(current, in_doubt_since=lost["in_doubt_since"], last_error_at=lost["last_error_at"])
    assert lost_response.compute_replay_at(seen, EACH_TOKEN, ends_at - 20) == ends_at - 25 + IN_FLIGHT


def test_elsewhere_replays_go_on_once_the_token_has_expired() -> None:
    changes = lose(attempting(attempt_replays=1, in_doubt_since=NOW), EACH_TOKEN, NOW + DAY_SECONDS)
    assert changes.status is Status.DEGRADED
    assert fields_of(changes)["refresh_at"] == NOW + DAY_SECONDS + IN_FLIGHT


def test_a_replay_whose_worker_was_killed_counts_as_sent() -> None:
    """Its marker is all that is left: half of what remains of a refresh token that ends was used by it."""
    killed = attempting(attempt_replays=1, in_doubt_since=None, refresh_expires_at=NOW + DAY_SECONDS)
    assert lost_response.compute_replay_at(killed, KEAP, NOW + DAY_SECONDS // 2 + 40) == NOW + DAY_SECONDS - 30


def test_one_that_ends_with_its_access_token_is_replayed_while_both_live() -> None:
    current = attempting(in_doubt_since=NOW, refresh_expires_at=NOW + DAY_SECONDS)
    assert lost_response.compute_replay_at(current, KEAP, NOW + 5) == NOW + DAY_SECONDS // 2
    soon = replace(current, expires_at=NOW + 1000, refresh_expires_at=NOW + 1000)
    assert lost_response.compute_replay_at(soon, KEAP, NOW + 5) == NOW + IN_FLIGHT, "a response may be in flight"


def test_without_a_living_token_a_replay_waits_only_for_a_late_response() -> None:
    """With no token to live on, a replay waits only for the worker that may still hold the response."""
    never = attempting(issued_at=None, expires_at=None, in_doubt_since=NOW)
    expired = attempting(issued_at=NOW - 900, expires_at=NOW - 600, in_doubt_since=NOW)
    for current in (never, expired):
        assert lost_response.compute_replay_at(current, KEAP, NOW + 5) == NOW + IN_FLIGHT
        assert lost_response.compute_replay_at(current, KEAP, NOW + 5000) == NOW + 5000
    assert lost_response.compute_replay_at(connection(), KEAP, NOW + 5) == NOW + 5


def test_a_doubt_is_as_old_as_the_record_says_not_as_the_request() -> None:
    """A doubt is as old as the record says, and not as the request that was sent."""
    life = {"issued_at": NOW - 2 * DAY_SECONDS, "expires_at": NOW - DAY_SECONDS}
    unfound = replace(attempting(**life), attempt_at=NOW - DAY_SECONDS)
    for replays in (0, 1):
        again = lost_response.compute_replay_at(replace(unfound, attempt_replays=replays), KEAP, NOW)
        assert again == NOW + IN_FLIGHT
    found = replace(unfound, in_doubt_since=lost_response.wait_in_doubt(unfound, KEAP, NOW).fields["in_doubt_since"])
    assert lost_response.compute_replay_at(found, KEAP, NOW + 60) == NOW + IN_FLIGHT
    assert lose(found, now=NOW + 60).fields["in_doubt_since"] == NOW + 60, "another response is in flight"


@pytest.mark.parametrize(
    ("grace", "age", "safe"), [(0, 0, False), (0, 5, False), (60, 0, True), (60, 59, True), (60, 60, False)]
)
def test_a_single_use_token_is_sent_again_only_within_the_grace(grace: int, age: int, safe: bool) -> None:
    assert lost_response.may_replay(attempting(), with_grace(grace), NOW + age) is safe


def test_what_is_not_single_use_may_always_be_sent_again() -> None:
    assert lost_response.may_replay(headless(attempt_id="s", attempt_at=NOW), KEAP, NOW + DAY_SECONDS)
    assert lost_response.may_replay(attempting(), WEALTHYHOOD, NOW + DAY_SECONDS)


def test_a_doubt_is_probed_only_once_the_access_token_has_expired() -> None:
    held = attempting(
        status=Status.AUTHORIZATION_REQUIRED,
        attempt_replays=1,
        in_doubt_since=NOW,
        expires_at=NOW + DAY_SECONDS,
        refresh_at=NOW + 60,
    )
    assert not lost_response.is_probe_due(held, NOW + 60)
    assert lost_response.is_probe_due(held, NOW + DAY_SECONDS)
    assert not lost_response.is_probe_due(replace(held, refresh_at=NOW + 2 * DAY_SECONDS), NOW + DAY_SECONDS)


def test_no_probe_follows_one_whose_worker_was_killed() -> None:
    """Reuse may end the whole permission: the next one comes a day later, and not when the lease ends."""
    killed = attempting(
        status=Status.AUTHORIZATION_REQUIRED,
        attempt_replays=2,
        in_doubt_since=None,
        expires_at=NOW,
        refresh_at=NOW + 40,
    )
    assert not lost_response.is_probe_due(killed, NOW + 40)
    assert lost_response.compute_replay_at(killed, WHOLE_PERMISSION, NOW + 40) is None
    assert fields_of(lost_response.wait_in_doubt(killed, WHOLE_PERMISSION, NOW + 40))["refresh_at"] > NOW + IN_FLIGHT


# A replay is refused

NOT_ACTED_UPON = [
    Refusal("transient", 503),
    Refusal("rate_limited", 429, retry_after=60),
    Refusal("client_rejected", 401, "invalid_client"),
    Refusal("rejected_unknown", 400),
    Refusal("malformed", 400, "invalid_scope"),
    Refusal("not_used", 400),
    Refusal("not_reached", 404),
    Refusal("unclear", 500),
]


def refuse_replay(refusal: Refusal, current: Connection, now: int = NOW) -> RecordChange:
    return lost_response.apply_refusal_in_doubt(current, KEAP, refusal, NO_SURROUNDINGS, now)


@pytest.mark.parametrize("refusal", NOT_ACTED_UPON, ids=lambda refusal: refusal.kind)
def test_a_refused_replay_leaves_the_doubt_while_a_response_may_fly(refusal: Refusal) -> None:
    """The earlier response may still be in flight, so the doubt is as it was.

    The replay counts only if the provider may have acted upon it.
    """
    current = attempting(attempt_replays=1, in_doubt_since=NOW - IN_FLIGHT + 1)
    changes = fields_of(refuse_replay(refusal, current))
    assert "attempt_id" not in changes
    assert (changes["attempt_replays"], changes["in_doubt_since"]) == (refusal.in_doubt, NOW - IN_FLIGHT + 1)
    assert changes["refresh_at"] == NOW + DAY_SECONDS - 30


@pytest.mark.parametrize("refusal", NOT_ACTED_UPON, ids=lambda refusal: refusal.kind)
def test_where_revocation_ends_all_a_refused_replay_leaves_the_doubt(refusal: Refusal) -> None:
    """The first request stays in doubt for good: what follows an unclear replay is a probe a day."""
    current = attempting(attempt_replays=1, in_doubt_since=NOW - IN_FLIGHT)
    change = lost_response.apply_refusal_in_doubt(current, WHOLE_PERMISSION, refusal, NO_SURROUNDINGS, NOW)
    assert "attempt_id" not in fields_of(change)
    asks = change.status is Status.AUTHORIZATION_REQUIRED
    assert (asks, fields_of(change)["attempt_replays"]) == (refusal.in_doubt, refusal.in_doubt)


@pytest.mark.parametrize("refusal", NOT_ACTED_UPON, ids=lambda refusal: refusal.kind)
def test_a_refused_replay_later_ends_the_attempt_with_an_unclear_outcome(refusal: Refusal) -> None:
    """No other worker can hold a response any more. The token may have been used, so it is spared while it lives."""
    current = attempting(attempt_replays=1, in_doubt_since=NOW - IN_FLIGHT)
    changes = fields_of(refuse_replay(refusal, current))
    assert (changes["attempt_id"], changes["in_doubt_since"], changes["unclear_at"]) == (None, None, NOW)
    assert changes["refresh_at"] == changes["due_at"] == NOW + DAY_SECONDS - 30
    expired = replace(current, issued_at=NOW - DAY_SECONDS, expires_at=NOW - 1)
    assert NOW < fields_of(refuse_replay(refusal, expired))["refresh_at"] <= NOW + 600


@pytest.mark.parametrize("found_before", [0, IN_FLIGHT])
def test_a_rejected_grant_ends_the_attempt_at_any_time(found_before: int) -> None:
    current = attempting(attempt_replays=1, in_doubt_since=NOW - found_before)
    changes = fields_of(refuse_replay(Refusal("grant_rejected", 400, "invalid_grant"), current))
    assert (changes["attempt_id"], changes["last_error"]) == (None, "invalid_grant")
    assert changes.get("unclear_at") is None


@pytest.mark.parametrize("refusal", NOT_ACTED_UPON, ids=lambda refusal: refusal.kind)
@pytest.mark.parametrize("failures", [0, 2])
def test_a_replay_that_fails_without_an_earlier_failure_reports_once(refusal: Refusal, failures: int) -> None:
    """A replay that fails while nothing was wrong before is reported once."""
    changes = refuse_replay(refusal, attempting(attempt_replays=1, failures=failures, in_doubt_since=NOW))
    assert len(event_types(changes)) == 1


def test_what_is_not_single_use_is_refused_as_usual() -> None:
    current = headless(attempt_id="s", attempt_at=NOW - 5, in_doubt_since=NOW - 5)
    changes = fields_of(refuse_replay(Refusal("transient", 503), current))
    assert changes["attempt_id"] is None
    assert NOW < changes["refresh_at"] <= NOW + 10


# A success that cannot be read


def test_an_unreadable_response_is_kept_and_ends_all_attempts() -> None:
    changes = lost_response.apply_unreadable_response(attempting(), KEAP, NEW, NO_SURROUNDINGS, NOW)
    assert fields_of(changes)["unreadable_response"] == NEW
    assert (changes.status, fields_of(changes)["last_error"]) == (Status.DEGRADED, "unreadable_response")
    assert (fields_of(changes)["refresh_at"], fields_of(changes)["due_at"]) == (None, None)
    assert "sealed" not in fields_of(changes)


def test_without_an_attempt_an_unreadable_success_is_a_usual_failure() -> None:
    """Where no refresh token was sent, an unreadable success is a failure like others."""
    changes = lost_response.apply_unreadable_response(headless(), WEALTHYHOOD, NEW, NO_SURROUNDINGS, NOW)
    assert "unreadable_response" not in fields_of(changes)
    assert (changes.status, fields_of(changes)["last_error"]) == (Status.DEGRADED, "unreadable_response")
    assert fields_of(changes)["refresh_at"] > NOW


@pytest.mark.parametrize("status", [Status.AUTHORIZATION_REQUIRED, Status.AWAITING_AUTHORIZATION])
def test_an_unreadable_response_without_a_grant_keeps_the_status(status: Status) -> None:
    changes = lost_response.apply_unreadable_response(attempting(status=status), KEAP, NEW, NO_SURROUNDINGS, NOW)
    assert (changes.status, fields_of(changes)["unreadable_response"]) == (None, NEW)
