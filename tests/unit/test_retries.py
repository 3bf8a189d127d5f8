"""Protects when a failed connection is tried again: often where consumers are without a token, late where a refresh
token is at stake, and never so late that a token expires untried.
"""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evergrant.profiles.model import Profile
from evergrant.record.connection import Connection
from evergrant.record.retries import (
    compute_end_of_token,
    compute_longest_wait,
    compute_retry_at,
    compute_spared_until,
    is_single_use,
    is_within_grace,
)
from evergrant.times import DAY_SECONDS, HOUR_SECONDS
from tests.unit.samples import KEAP, NOW, WEALTHYHOOD, connection

seeds = st.integers(0, 2**32)
failures = st.integers(1, 100)
waits = st.none() | st.integers(0, 400 * DAY_SECONDS)


def with_rotation(**fields: Any) -> Profile:
    return msgspec.structs.replace(KEAP, rotation=msgspec.structs.replace(KEAP.rotation, **fields))


def left(seconds: int, lifetime: int = DAY_SECONDS, **fields: Any) -> Connection:
    """A connection whose token expires in so many seconds."""
    return connection(issued_at=NOW + seconds - lifetime, expires_at=NOW + seconds, **fields)


# While the access token lives


@given(failures, st.integers(32, DAY_SECONDS), waits, seeds)
def test_a_try_is_made_half_a_minute_before_the_token_expires(
    failures: int, remaining: int, retry_after: int | None, seed: int
) -> None:
    random.seed(seed)
    at = compute_retry_at(left(remaining), KEAP, failures, NOW, retry_after)
    assert NOW < at <= NOW + remaining - 30


@given(failures, st.integers(2 * HOUR_SECONDS, DAY_SECONDS), seeds)
def test_a_living_token_backs_off_up_to_a_quarter_of_an_hour(failures: int, remaining: int, seed: int) -> None:
    random.seed(seed)
    at = compute_retry_at(left(remaining), KEAP, failures, NOW)
    assert at - NOW <= min(5 * 2**failures, 1125)


def test_a_provider_that_names_its_wait_is_given_it() -> None:
    assert compute_retry_at(left(DAY_SECONDS), KEAP, 1, NOW, 7200) == NOW + 7200
    assert compute_retry_at(left(HOUR_SECONDS), KEAP, 1, NOW, 7200) == NOW + HOUR_SECONDS - 30


@given(failures, st.integers(-10 * DAY_SECONDS, 10 * DAY_SECONDS), st.integers(1, 7200), waits, seeds)
def test_no_try_is_made_before_the_providers_minimum_age(
    failures: int, remaining: int, age: int, retry_after: int | None, seed: int
) -> None:
    random.seed(seed)
    current = left(remaining)
    at = compute_retry_at(current, with_rotation(minimum_age=age), failures, NOW, retry_after)
    assert at >= max((current.issued_at or 0) + age, NOW + 1)


@pytest.mark.parametrize(("left_seconds", "wait"), [(30, 15), (20, 10), (8, 5), (1, 5)])
def test_in_the_last_seconds_of_a_token_tries_are_close_together(left_seconds: int, wait: int) -> None:
    for number in range(1, 20):
        assert NOW < compute_retry_at(left(left_seconds), KEAP, number, NOW) <= NOW + wait


# After it has expired


@pytest.mark.parametrize(
    ("since_expiry", "longest"),
    [
        (0, 60),
        (HOUR_SECONDS - 1, 60),
        (HOUR_SECONDS, 300),
        (7 * HOUR_SECONDS - 1, 300),
        (7 * HOUR_SECONDS, HOUR_SECONDS),
        (31 * HOUR_SECONDS - 1, HOUR_SECONDS),
        (31 * HOUR_SECONDS, DAY_SECONDS),
        (400 * DAY_SECONDS, DAY_SECONDS),
    ],
)
def test_waits_grow_with_the_time_since_the_token_expired(since_expiry: int, longest: int) -> None:
    """Every minute for an hour, every five minutes for six hours, hourly for a day, then daily."""
    assert compute_longest_wait(since_expiry) <= longest
    for number in range(1, 40):
        at = compute_retry_at(left(-since_expiry), KEAP, number, NOW)
        assert NOW < at <= NOW + longest
        if number >= 5:
            assert at >= NOW + compute_longest_wait(since_expiry) * 4 // 5, "and no more often than that"


@given(st.integers(1, 4), st.integers(0, 400 * DAY_SECONDS), seeds)
def test_the_first_failures_are_retried_quickly_at_any_time(failures: int, since: int, seed: int) -> None:
    """A token that expired long ago may have been refused demands for days, and then fail once."""
    random.seed(seed)
    assert compute_retry_at(left(-since), KEAP, failures, NOW) - NOW <= 5 * 2**failures


@given(failures, st.integers(0, 31 * HOUR_SECONDS - 1), st.integers(0, 400 * DAY_SECONDS), seeds)
def test_a_named_wait_holds_an_expired_token_an_hour_at_most(
    failures: int, since: int, retry_after: int, seed: int
) -> None:
    random.seed(seed)
    at = compute_retry_at(left(-since), KEAP, failures, NOW, retry_after)
    assert NOW + min(retry_after, HOUR_SECONDS) <= at <= NOW + HOUR_SECONDS


@given(failures, st.integers(0, 400 * DAY_SECONDS), waits, seeds)
def test_without_a_token_the_first_failure_counts_as_its_end(
    failures: int, failing_for: int, retry_after: int | None, seed: int
) -> None:
    never = connection(issued_at=None, expires_at=None, generation=0, failing_since=NOW - failing_for)
    random.seed(seed)
    at = compute_retry_at(never, KEAP, failures, NOW, retry_after)
    random.seed(seed)
    assert at == compute_retry_at(left(-failing_for), KEAP, failures, NOW, retry_after)


def test_a_connection_that_never_failed_before_is_tried_at_once() -> None:
    never = connection(issued_at=None, expires_at=None, generation=0, failing_since=None)
    assert NOW < compute_retry_at(never, KEAP, 1, NOW) <= NOW + 10


# When a token counts as expired


@pytest.mark.parametrize(
    ("fields", "ends_in"),
    [
        ({"expiry_rule": "expires_in:seconds"}, 600),
        ({"expiry_rule": "default"}, 600 + 3600),
        ({"expiry_rule": "previous"}, 600 + 3600),
        ({"expiry_rule": "unknown"}, 600 + 3600),
        ({"expiry_rule": "expires_in:seconds", "token_rejected_at": NOW - 5}, -5),
        ({"expiry_rule": "default", "token_rejected_at": NOW - 5}, -5),
        ({"expiry_rule": "expires_in:seconds", "token_rejected_at": NOW + 900}, 600),
        ({"expiry_rule": None}, 600),
    ],
)
def test_an_assumed_expiry_counts_one_lifetime_later_unless_rejected(fields: dict[str, Any], ends_in: int) -> None:
    """An expiry that is only a profile's default counts one lifetime later, or when a consumer reports a rejection."""
    assert compute_end_of_token(left(600, 3600, **fields)) == NOW + ends_in


def test_without_a_token_there_is_no_end_of_it() -> None:
    assert compute_end_of_token(connection(issued_at=None, expires_at=None)) is None


# A refresh token that the provider may have used


def spare(current: Connection, tried: int = 0, first_tried: int | None = None, profile: Profile = KEAP) -> int:
    """In how many seconds it may be sent again, after tries so many seconds ago."""
    since = NOW - (tried if first_tried is None else first_tried)
    return compute_spared_until(current, profile, since, NOW - tried, NOW) - NOW


def test_it_is_spared_until_just_before_the_token_expires() -> None:
    assert spare(left(HOUR_SECONDS)) == HOUR_SECONDS - 30
    assert spare(left(HOUR_SECONDS), tried=600) == HOUR_SECONDS - 30
    assert spare(left(HOUR_SECONDS, expiry_rule="default")) == HOUR_SECONDS + DAY_SECONDS - 30


@pytest.mark.parametrize(("remaining", "wait"), [(35, 5), (34, 34), (30, 30), (5, 5), (4, 4), (1, 1)])
def test_after_that_last_try_it_is_spared_until_the_token_has_expired(remaining: int, wait: int) -> None:
    """The tries of a living token are at least five seconds apart."""
    assert spare(left(remaining)) == wait


def test_a_last_try_that_comes_late_is_made() -> None:
    """Half a minute before the end is when it is due; a message may take some seconds more."""
    assert spare(left(25), tried=600) == 0


@pytest.mark.parametrize("seconds", [0, -1, -DAY_SECONDS])
def test_once_the_token_has_expired_nothing_is_left_to_spare(seconds: int) -> None:
    assert spare(left(seconds)) == 0
    assert spare(left(600, token_rejected_at=NOW - 1)) == 0, "a consumer reported it refused"
    assert spare(connection(issued_at=None, expires_at=None)) == 0


@pytest.mark.parametrize(
    ("refresh_ends_in", "tried", "first_tried", "wait"),
    [
        (600, 0, 0, 300),
        (400, 0, 0, 200),
        (300, 300, 300, 0),
        (300, 0, 300, 270),
        (290, 5, 310, 260),
        (60, 0, 0, 30),
        (60, 0, 540, 30),
        (9, 0, 591, 9),
        (601, 0, 0, 570),
    ],
)
def test_one_that_ends_with_its_access_token_is_tried_while_both_live(
    refresh_ends_in: int, tried: int, first_tried: int, wait: int
) -> None:
    """At half of what remained at the first try, and half a minute before the end: waiting longer gains nothing."""
    assert spare(left(600, refresh_expires_at=NOW + refresh_ends_in), tried, first_tried) == wait


@given(
    st.integers(-DAY_SECONDS, DAY_SECONDS),
    st.integers(0, DAY_SECONDS),
    st.none() | st.integers(-DAY_SECONDS, 2 * DAY_SECONDS),
    st.sampled_from(["default", "expires_in:seconds"]),
)
def test_a_spared_token_is_free_again_when_its_access_token_ends(
    remaining: int, tried: int, refresh_ends_in: int | None, rule: str
) -> None:
    refresh_ends_at = None if refresh_ends_in is None else NOW + refresh_ends_in
    current = left(remaining, expiry_rule=rule, refresh_expires_at=refresh_ends_at)
    ends_at = compute_end_of_token(current)
    assert ends_at is not None
    assert 0 <= spare(current, tried) <= max(ends_at - NOW, 0)


def test_what_is_not_single_use_is_never_spared() -> None:
    assert spare(left(600), profile=WEALTHYHOOD) == 0
    assert spare(left(600, grant="client_credentials")) == 0
    assert not is_single_use(left(600), WEALTHYHOOD)
    assert not is_single_use(left(600, grant="client_credentials"), KEAP)
    assert is_single_use(left(600), KEAP)


@pytest.mark.parametrize(
    ("grace", "age", "within"), [(0, 0, False), (0, 5, False), (60, 0, True), (60, 59, True), (60, 60, False)]
)
def test_the_grace_counts_from_the_first_request(grace: int, age: int, within: bool) -> None:
    assert is_within_grace(with_rotation(reuse_grace=grace), NOW, NOW + age) is within
