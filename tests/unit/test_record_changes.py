"""Protects the state machine: when a person is needed, when none is, and that a token set is never dropped."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evergrant.oauth.error_response import Refusal
from evergrant.profiles.model import Profile
from evergrant.record import failures as failing
from evergrant.record import lost_response, token_save
from evergrant.record.connection import FIELDS, Connection, RecordChange
from evergrant.record.refresh_schedule import choose_shard, deliver_soon, schedule_due, schedule_refresh
from evergrant.record.sealed import Sealed
from evergrant.record.state_machine import rebase_change
from evergrant.record.status import INACTIVE_STATUSES, Status
from evergrant.settings import Settings
from evergrant.times import DAY_SECONDS, TICK_SECONDS
from tests.unit.samples import KEAP, NOW, SEALED, WEALTHYHOOD, connection, event_types, fields_of, tokens

NEW = Sealed(b"k", b"n", b"new")
GRANT_REJECTED = Refusal("grant_rejected", 400, "invalid_grant")
KINDS: tuple[Any, ...] = (
    *("transient", "rate_limited", "grant_rejected", "client_rejected", "rejected_unknown", "not_used", "malformed"),
)


def attempting(**fields: Any) -> Connection:
    return connection(attempt_id="attempt-1", attempt_at=NOW, **fields)


def headless(**fields: Any) -> Connection:
    return connection(name="wealthyhood/main", grant="client_credentials", **fields)


def with_grace(seconds: int) -> Profile:
    return msgspec.structs.replace(KEAP, rotation=msgspec.structs.replace(KEAP.rotation, reuse_grace=seconds))


def save(current: Connection, lifetime: int = DAY_SECONDS, profile: Profile = KEAP, now: int = NOW) -> RecordChange:
    return token_save.save_token_set(current, tokens(lifetime), NEW, profile, Settings(), now)


def test_a_doubt_that_outlasts_a_client_refusal_is_what_shows() -> None:
    """A doubt that outlasts its client's refusal is what the connection says."""
    changes = lost_response.wait_in_doubt(
        attempting(status=Status.CLIENT_REFUSED, last_error="invalid_client"), KEAP, NOW
    )
    assert (changes.status, fields_of(changes)["last_error"]) == (Status.DEGRADED, "lost_response")
    assert event_types(changes) == ["Connection Degraded"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("failures", [0, 2])
def test_a_replay_that_fails_without_an_earlier_failure_reports_once(kind: Any, failures: int) -> None:
    """A replay that fails while nothing was wrong before is reported once."""
    refusal = Refusal(kind, 400, "no")
    changes = lost_response.apply_refusal_in_doubt(attempting(attempt_replays=1, failures=failures), KEAP, refusal, NOW)
    assert len(event_types(changes)) == 1


# Saving


def test_a_save_is_the_next_generation_with_every_trouble_gone() -> None:
    troubled = attempting(
        status=Status.DEGRADED, failures=4, last_error="x", rejected_at=NOW - 5, unreadable_response=SEALED
    )
    changes = save(troubled, now=NOW + 3)
    assert (fields_of(changes)["generation"], fields_of(changes)["sealed"], changes.status) == (4, NEW, Status.ACTIVE)
    assert (fields_of(changes)["issued_at"], fields_of(changes)["expires_at"]) == (NOW, NOW + DAY_SECONDS)
    assert fields_of(changes)["failures"] == fields_of(changes)["attempt_replays"] == 0
    gone = ("last_error", "last_error_at", "rejected_at", "unreadable_response", "attempt_id", "attempt_at")
    assert [fields_of(changes)[name] for name in gone] == [None] * len(gone)


def test_a_save_is_due_within_a_tick_until_published_and_then_later() -> None:
    """A save is due within a tick until it is published, and refreshed much later."""
    changes = save(connection(), now=NOW + 3)
    assert fields_of(changes)["due_at"] == NOW + 3 + 60
    assert fields_of(changes)["due_shard"] == choose_shard("keap/main")
    assert NOW + 19 * 3600 < fields_of(changes)["refresh_at"] <= NOW + 21 * 3600


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


# Refusals


def refuse(current: Connection, refusal: Refusal = GRANT_REJECTED, now: int = NOW) -> RecordChange:
    return failing.apply_refusal(current, refusal, now)


def test_one_rejection_degrades_and_is_asked_again_after_ten_minutes() -> None:
    changes = refuse(attempting())
    assert (changes.status, fields_of(changes)["rejected_at"]) == (Status.DEGRADED, NOW)
    assert (fields_of(changes)["refresh_at"], fields_of(changes)["due_at"]) == (NOW + 600, NOW + 600)
    assert (fields_of(changes)["failures"], fields_of(changes)["last_error"], fields_of(changes)["last_error_at"]) == (
        1,
        "invalid_grant",
        NOW,
    )
    assert event_types(changes) == ["Connection Degraded"]


def test_a_second_rejection_too_soon_changes_nothing_but_waits() -> None:
    changes = refuse(attempting(status=Status.DEGRADED, rejected_at=NOW - 599))
    assert changes.status is None
    assert "rejected_at" not in fields_of(changes)
    assert fields_of(changes)["refresh_at"] == NOW + 1
    assert event_types(changes) == []


def test_a_second_rejection_ten_minutes_later_calls_for_a_person() -> None:
    changes = refuse(attempting(status=Status.DEGRADED, rejected_at=NOW - 600))
    assert changes.status == Status.AUTHORIZATION_REQUIRED
    assert event_types(changes) == ["Authorization Required"]
    assert 21 * 3600 <= fields_of(changes)["refresh_at"] - NOW <= 27 * 3600, "some providers heal"


def test_a_person_is_called_once_and_probed_for_daily() -> None:
    changes = refuse(attempting(status=Status.AUTHORIZATION_REQUIRED, rejected_at=NOW - DAY_SECONDS))
    assert changes.status is None
    assert event_types(changes) == []
    assert fields_of(changes)["refresh_at"] - NOW > 20 * 3600


def test_an_unknown_rejection_counts_as_one_of_the_grant() -> None:
    changes = refuse(attempting(), Refusal("rejected_unknown", 400))
    assert (changes.status, fields_of(changes)["last_error"]) == (Status.DEGRADED, "rejected_unknown")
    assert fields_of(changes)["rejected_at"] == NOW


def test_a_refused_client_requires_no_authorization() -> None:
    changes = refuse(attempting(rejected_at=NOW - DAY_SECONDS), Refusal("client_rejected", 401, "invalid_client"))
    assert changes.status == Status.CLIENT_REFUSED
    assert event_types(changes) == ["Client Refused"]
    assert fields_of(changes)["refresh_at"] == NOW + 3600
    assert "rejected_at" not in fields_of(changes)
    again = refuse(attempting(status=Status.CLIENT_REFUSED), Refusal("client_rejected", 401))
    assert event_types(again) == []


@pytest.mark.parametrize("kind", ["grant_rejected", "rejected_unknown", "client_rejected"])
def test_without_a_grant_only_the_client_can_be_to_blame(kind: Any) -> None:
    changes = refuse(headless(attempt_id="s", attempt_at=NOW), Refusal(kind, 401))
    assert changes.status == Status.CLIENT_REFUSED
    assert "rejected_at" not in fields_of(changes)


@pytest.mark.parametrize("kind", ["transient", "rate_limited", "not_used"])
def test_a_third_failure_in_a_row_degrades(kind: Any) -> None:
    for failures, degrades in ((0, False), (1, False), (2, True), (7, True)):
        changes = refuse(attempting(failures=failures), Refusal(kind, 503))
        assert fields_of(changes)["failures"] == failures + 1
        assert (changes.status == Status.DEGRADED) is degrades
        assert event_types(changes) == (["Connection Degraded"] if degrades else [])
        assert NOW < fields_of(changes)["refresh_at"] == fields_of(changes)["due_at"] <= NOW + 1125
    assert event_types(refuse(attempting(failures=9, status=Status.DEGRADED), Refusal(kind, 503))) == []


def test_a_request_we_made_wrongly_degrades_at_once() -> None:
    changes = refuse(attempting(), Refusal("malformed", 400, "invalid_scope"))
    assert (changes.status, fields_of(changes)["last_error"]) == (Status.DEGRADED, "invalid_scope")


def test_a_provider_that_names_its_wait_is_given_it() -> None:
    assert refuse(attempting(), Refusal("rate_limited", 429, retry_after=7200)).fields["refresh_at"] == NOW + 7200


@pytest.mark.parametrize(
    "status", [Status.AUTHORIZATION_REQUIRED, Status.CLIENT_REFUSED, Status.AWAITING_AUTHORIZATION]
)
def test_a_passing_failure_does_not_make_a_worse_state_look_better(status: Status) -> None:
    changes = refuse(attempting(status=status, failures=9), Refusal("transient", 503))
    assert changes.status is None
    assert event_types(changes) == []


@given(
    st.sampled_from(KINDS), st.sampled_from(sorted({*Status} - INACTIVE_STATUSES)), st.booleans(), st.integers(0, 99)
)
def test_every_refusal_has_a_next_try_and_deletes_no_credential(
    kind: Any, status: Status, has_grant: bool, failures: int
) -> None:
    make = attempting if has_grant else headless
    changes = refuse(make(status=status, failures=failures, rejected_at=NOW - 900), Refusal(kind, 400))
    assert fields_of(changes)["refresh_at"] == fields_of(changes)["due_at"] > NOW
    assert fields_of(changes)["due_shard"] is not None
    assert fields_of(changes)["attempt_id"] is None
    assert fields_of(changes)["failures"] == failures + 1
    assert not {"sealed", "generation", "expires_at", "published_generation"} & fields_of(changes).keys()
    assert fields_of(changes).keys() <= FIELDS


def test_a_request_that_never_left_costs_nothing_but_time() -> None:
    changes = failing.apply_refusal(attempting(), failing.NOT_SENT, NOW)
    assert (fields_of(changes)["attempt_id"], fields_of(changes)["last_error"], fields_of(changes)["failures"]) == (
        None,
        "not_sent",
        1,
    )
    assert changes.status is None


# Doubt


def test_a_lost_response_leaves_its_marker_and_waits_for_the_last_quarter() -> None:
    changes = lost_response.apply_lost_response(attempting(), KEAP, NOW + 8)
    assert not {"attempt_id", "attempt_at", "attempt_replays"} & fields_of(changes).keys()
    assert (fields_of(changes)["failures"], fields_of(changes)["last_error"]) == (1, "lost_response")
    assert changes.status == Status.DEGRADED
    assert fields_of(changes)["refresh_at"] >= NOW + DAY_SECONDS * 3 // 4
    assert fields_of(changes)["refresh_at"] < NOW + DAY_SECONDS


def test_a_lost_response_is_replayed_a_moment_later_within_the_grace() -> None:
    """A lost response is asked for again a moment later, and inside the grace."""
    for seconds in range(60):
        changes = lost_response.apply_lost_response(attempting(failures=9), with_grace(60), NOW + seconds)
        assert NOW + seconds < fields_of(changes)["refresh_at"] <= NOW + 60
    assert "attempt_id" not in fields_of(changes)


def test_where_nothing_is_single_use_a_lost_response_is_a_passing_failure() -> None:
    for current, profile in ((headless(attempt_id="s", attempt_at=NOW), WEALTHYHOOD), (headless(attempt_id="s"), KEAP)):
        changes = lost_response.apply_lost_response(current, profile, NOW)
        assert fields_of(changes)["attempt_id"] is None
        assert fields_of(changes)["last_error"] == "lost_response"
        assert NOW < fields_of(changes)["refresh_at"] <= NOW + 60
        assert changes.status is None


def test_a_replay_outside_the_grace_that_is_lost_too_was_the_last() -> None:
    changes = lost_response.apply_lost_response(
        attempting(attempt_replays=1, in_doubt_since=NOW), KEAP, NOW + DAY_SECONDS
    )
    assert changes.status == Status.AUTHORIZATION_REQUIRED
    assert fields_of(changes)["refresh_at"] > NOW + DAY_SECONDS * 7 // 8, (
        "probed a day later, when nothing is left to lose"
    )
    assert event_types(changes) == ["Authorization Required"]


def test_a_doubt_is_probed_only_once_the_access_token_has_expired() -> None:
    held = attempting(attempt_replays=1, expires_at=NOW + DAY_SECONDS, refresh_at=NOW + 60)
    assert not lost_response.is_probe_due(held, NOW + 60)
    assert lost_response.is_probe_due(held, NOW + DAY_SECONDS)
    assert not lost_response.is_probe_due(replace(held, refresh_at=NOW + 2 * DAY_SECONDS), NOW + DAY_SECONDS)


@pytest.mark.parametrize(
    ("grace", "age", "safe"), [(0, 0, False), (0, 5, False), (60, 0, True), (60, 60, True), (60, 61, False)]
)
def test_a_single_use_token_is_sent_again_only_within_the_grace(grace: int, age: int, safe: bool) -> None:
    assert lost_response.may_replay(attempting(), with_grace(grace), NOW + age) is safe


def test_what_is_not_single_use_may_always_be_sent_again() -> None:
    assert lost_response.may_replay(headless(attempt_id="s", attempt_at=NOW), KEAP, NOW + DAY_SECONDS)
    assert lost_response.may_replay(attempting(), WEALTHYHOOD, NOW + DAY_SECONDS)


@given(
    st.integers(0, 2 * DAY_SECONDS),
    st.integers(0, 120),
    st.integers(0, 1),
    st.integers(60, 10 * DAY_SECONDS),
    st.integers(0, DAY_SECONDS),
)
def test_outside_the_grace_a_replay_comes_late_and_once(
    age: int, grace: int, tries: int, lifetime: int, sent_after: int
) -> None:
    life = {"issued_at": NOW - sent_after, "expires_at": NOW - sent_after + lifetime}
    current = attempting(attempt_replays=tries, in_doubt_since=NOW - lost_response.MIN_REPLAY_DELAY_SECONDS, **life)
    again = lost_response.compute_replay_at(current, with_grace(grace), NOW + age)
    if grace and age <= grace:
        assert again == NOW + age
    elif tries:
        assert again is None
    else:
        assert again is not None
        assert again >= NOW + age
        assert again >= current.expires_at - lifetime // 4  # type: ignore[operator]


def test_without_a_living_token_a_replay_waits_only_for_a_late_response() -> None:
    """With no token to live on, a replay waits only for the worker that may still hold the response."""
    never = attempting(issued_at=None, expires_at=None, in_doubt_since=NOW)
    expired = attempting(issued_at=NOW - 900, expires_at=NOW - 600, in_doubt_since=NOW)
    for current in (never, expired):
        assert lost_response.compute_replay_at(current, KEAP, NOW + 5) == NOW + lost_response.MIN_REPLAY_DELAY_SECONDS
        assert lost_response.compute_replay_at(current, KEAP, NOW + 5000) == NOW + 5000
    assert lost_response.compute_replay_at(connection(), KEAP, NOW + 5) == NOW + 5


def test_a_doubt_is_as_old_as_the_record_says_not_as_the_request() -> None:
    """A doubt is as old as the record says, and not as the request that was sent."""
    unfound = replace(
        attempting(issued_at=NOW - 2 * DAY_SECONDS, expires_at=NOW - DAY_SECONDS), attempt_at=NOW - DAY_SECONDS
    )
    for tries in (0, 1):
        assert (
            lost_response.compute_replay_at(replace(unfound, attempt_replays=tries), KEAP, NOW)
            == NOW + lost_response.MIN_REPLAY_DELAY_SECONDS
        )
    found = replace(unfound, in_doubt_since=lost_response.wait_in_doubt(unfound, KEAP, NOW).fields["in_doubt_since"])
    assert lost_response.compute_replay_at(found, KEAP, NOW + 60) == NOW + lost_response.MIN_REPLAY_DELAY_SECONDS
    assert lost_response.apply_lost_response(found, KEAP, NOW + 60).fields["in_doubt_since"] == NOW


# What never reached the provider, and what cannot be read


def test_an_unreadable_response_is_kept_and_ends_all_attempts() -> None:
    changes = lost_response.apply_unreadable_response(attempting(), KEAP, NEW, NOW)
    assert fields_of(changes)["unreadable_response"] == NEW
    assert (changes.status, fields_of(changes)["last_error"]) == (Status.DEGRADED, "unreadable_response")
    assert (fields_of(changes)["refresh_at"], fields_of(changes)["due_at"]) == (None, None)
    assert "sealed" not in fields_of(changes)


def test_without_an_attempt_an_unreadable_success_is_a_usual_failure() -> None:
    """Where no refresh token was sent, an unreadable success is a failure like others."""
    changes = lost_response.apply_unreadable_response(headless(), WEALTHYHOOD, NEW, NOW)
    assert "unreadable_response" not in fields_of(changes)
    assert (changes.status, fields_of(changes)["last_error"]) == (Status.DEGRADED, "unreadable_response")
    assert fields_of(changes)["refresh_at"] > NOW


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


def test_a_grant_refused_while_its_client_was_no_longer_blames_it() -> None:
    """A grant that is refused while its client was refused is no longer blamed on the client."""
    changes = failing.apply_refusal(connection(status=Status.CLIENT_REFUSED), GRANT_REJECTED, NOW)
    assert changes.status == Status.DEGRADED


def test_what_is_missing_on_our_side_degrades_and_is_looked_for_again() -> None:
    changes = failing.apply_preparation_failure(connection(), "unknown_client", NOW)
    assert (changes.status, fields_of(changes)["last_error"]) == (Status.DEGRADED, "unknown_client")
    assert NOW < fields_of(changes)["refresh_at"] <= NOW + 1125
    assert not {"attempt_id", "attempt_at"} & fields_of(changes).keys(), "a doubt from before stays one"


def test_with_nothing_to_refresh_a_person_is_called_for() -> None:
    changes = failing.require_authorization(connection(), NOW)
    assert (changes.status, fields_of(changes)["last_error"]) == (Status.AUTHORIZATION_REQUIRED, "no_refresh_token")
    assert (fields_of(changes)["refresh_at"], fields_of(changes)["due_at"]) == (None, None)
    assert failing.require_authorization(connection(status=Status.AUTHORIZATION_REQUIRED), NOW).status is None


def test_a_due_date_and_its_shard_come_and_go_together() -> None:
    assert schedule_due(connection(), NOW) == {"due_at": NOW, "due_shard": choose_shard("keap/main")}
    assert schedule_due(connection(), None) == {"due_at": None, "due_shard": None}
    assert schedule_refresh(connection(), NOW)["refresh_at"] == NOW
