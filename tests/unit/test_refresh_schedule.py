"""Protects the timing: no token expires because it is refreshed late, and no provider is asked all the time."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evergrant.oauth.token_set import TokenLifetime
from evergrant.profiles.model import Rotation
from evergrant.record import refresh_schedule
from evergrant.record.refresh_schedule import (
    choose_shard,
    compute_backoff_at,
    compute_claim_until,
    compute_daily_probe_at,
    compute_earliest_at,
    compute_refresh_at,
    compute_repeated_refresh_at,
)
from evergrant.times import DAY_SECONDS, TICK_HORIZON_SECONDS
from tests.unit.samples import KEAP, NOW, WEALTHYHOOD

lifetimes = st.integers(min_value=1, max_value=100 * 365 * DAY_SECONDS)
names = st.from_regex(r"[a-z]{1,6}/[a-z]{1,6}", fullmatch=True)
rotations = st.builds(Rotation, lead=st.integers(0, 10 * DAY_SECONDS), minimum_age=st.integers(0, 7200))


def at(
    lifetime: int, rotation: Rotation | None = None, cache: int = 300, name: str = "keap/main", number: int = 1
) -> int:
    """Seconds after issue at which a token of this lifetime is refreshed."""
    return compute_refresh_at(TokenLifetime(NOW, NOW + lifetime), rotation or Rotation(), cache, name, number) - NOW


@given(lifetimes, rotations, st.integers(0, 3600), names, st.integers(0, 10**9))
def test_a_refresh_lies_between_minimum_age_and_expiry(
    lifetime: int, rotation: Rotation, cache: int, name: str, generation: int
) -> None:
    age = at(lifetime, rotation, cache, name, generation)
    earliest_age = compute_earliest_at(0, rotation)
    assert max(earliest_age, rotation.minimum_age) <= age <= max(lifetime, earliest_age)
    # Half the lifetime at most is lead, and a tenth of it jitter: a new token is never due at once.
    assert age >= lifetime - lifetime // 2 - lifetime // 10


@given(lifetimes, rotations, st.integers(0, 3600), names, st.integers(0, 10**9))
def test_the_lead_is_kept_as_far_as_the_lifetime_lets_it(
    lifetime: int, rotation: Rotation, cache: int, name: str, generation: int
) -> None:
    wanted = max(rotation.lead, 600, 2 * cache)
    age = at(lifetime, rotation, cache, name, generation)
    if age > compute_earliest_at(0, rotation):
        assert lifetime - age >= min(wanted, lifetime // 2)
        assert lifetime - age <= min(wanted, lifetime // 2) * 3 // 2, "jitter must not double the lead"


@given(lifetimes, names, st.integers(0, 10**9))
def test_the_jitter_is_the_same_each_time_it_is_asked(lifetime: int, name: str, generation: int) -> None:
    assert at(lifetime, name=name, number=generation) == at(lifetime, name=name, number=generation)


def test_refreshes_are_spread_over_a_tenth_of_the_lifetime() -> None:
    """Connections and generations are spread over a tenth of the lifetime."""
    lead = 2 * DAY_SECONDS
    ages = {at(10 * DAY_SECONDS, Rotation(lead=lead), number=number) for number in range(500)}
    assert len(ages) > 490
    assert 10 * DAY_SECONDS - lead - DAY_SECONDS <= min(ages) < 10 * DAY_SECONDS - lead - 0.9 * DAY_SECONDS
    assert 10 * DAY_SECONDS - lead - 0.1 * DAY_SECONDS < max(ages) <= 10 * DAY_SECONDS - lead
    assert len({at(10 * DAY_SECONDS, Rotation(lead=lead), name=f"keap/{number}") for number in range(500)}) > 490


@pytest.mark.parametrize("lifetime", [60, 120, 300, 600, 900])
def test_a_short_lived_token_is_not_always_due(lifetime: int) -> None:
    """A fixed lead of five or fifteen minutes makes a 300-second token due at every look."""
    for number in range(50):
        assert 0.4 * lifetime <= at(lifetime, number=number) <= 0.5 * lifetime + 1


def test_a_provider_that_refuses_early_refreshes_is_not_asked_early() -> None:
    """Exact Online: not before 9 minutes 30 seconds of a ten-minute token.

    It counts from its answer, and we from our request, so a few seconds are added; none where no age is declared.
    """
    assert {at(600, Rotation(minimum_age=570), number=number) for number in range(50)} == {573}
    assert compute_earliest_at(NOW, Rotation()) == NOW


def test_keap_is_refreshed_about_every_21_hours() -> None:
    ages = [at(DAY_SECONDS, KEAP.rotation, number=number) for number in range(200)]
    assert min(ages) >= 19.5 * 3600
    assert max(ages) <= 21 * 3600
    assert max(ages) > 20.8 * 3600


def test_wealthyhoods_hour_is_left_ten_minutes_at_least() -> None:
    ages = [at(3600, WEALTHYHOOD.rotation, number=number) for number in range(200)]
    assert min(ages) >= 3600 - 900
    assert max(ages) <= 3600 - 600


def test_consumers_that_keep_tokens_longer_are_given_twice_that() -> None:
    assert max(at(DAY_SECONDS, cache=3600, number=number) for number in range(200)) <= DAY_SECONDS - 7200


# After failures


@given(st.integers(0, 10_000), st.integers(0, 2**32))
def test_a_retry_backs_off_with_jitter_up_to_a_quarter_of_an_hour(failures: int, seed: int) -> None:
    """A try after failures is later than now, and within a jittered quarter of an hour."""
    random.seed(seed)
    wait = compute_backoff_at(failures, NOW) - NOW
    assert 1 <= wait <= 1125
    assert wait <= max(5 * 2 ** min(failures, 12), 1)


def test_the_wait_grows_with_failures_and_is_never_the_same_for_all() -> None:
    random.seed(1)
    mean = [sum(compute_backoff_at(failures, 0) for _ in range(500)) / 500 for failures in range(12)]
    assert mean[0] < mean[3] < mean[6]
    assert mean[6] < mean[11] < 600
    assert len({compute_backoff_at(11, 0) for _ in range(100)}) > 50


def test_a_provider_that_names_its_wait_is_given_it() -> None:
    random.seed(1)
    assert all(compute_backoff_at(0, NOW, 3600) == NOW + 3600 for _ in range(50))
    assert all(NOW + 3 <= compute_backoff_at(11, NOW, 3) <= NOW + 1125 for _ in range(50))
    assert compute_backoff_at(0, NOW, 0) > NOW


def compute_keep_alive_in(life: str, ends_in: int | None, lifetime: int = 3600, lead: int = 0) -> int:
    rotation = Rotation(refresh="on_demand", refresh_token_life=life, lead=lead)  # type: ignore[arg-type]
    at_last = compute_refresh_at(TokenLifetime(NOW, NOW + lifetime), rotation, 300, "keap/main", 1)
    ends_at = None if ends_in is None else NOW + ends_in
    return refresh_schedule.compute_keep_alive_at(TokenLifetime(NOW, NOW + lifetime), ends_at, rotation, at_last) - NOW


def test_on_demand_an_idle_refresh_token_is_used_in_time() -> None:
    """On demand, a refresh token that expires when it is not used is used in time."""
    assert compute_keep_alive_in("idle", 90 * DAY_SECONDS) == 83 * DAY_SECONDS
    assert compute_keep_alive_in("idle", 10 * DAY_SECONDS) == 9 * DAY_SECONDS
    assert compute_keep_alive_in("idle", 90 * DAY_SECONDS, 30 * DAY_SECONDS, 20 * DAY_SECONDS) <= 75 * DAY_SECONDS, (
        "the profile's own lead is kept"
    )
    assert 900 <= compute_keep_alive_in("idle", 1800, 1800) <= 1620


def test_on_demand_a_refresh_token_bound_to_its_access_token_is_used() -> None:
    """On demand, a refresh token that ends with its access token is used as always."""
    assert compute_keep_alive_in("with_access_token", 3600) == at(3600)


def test_on_demand_nothing_is_refreshed_that_waiting_does_not_end() -> None:
    assert compute_keep_alive_in("hard", 30 * DAY_SECONDS) > 30 * 365 * DAY_SECONDS
    assert compute_keep_alive_in("idle", None) > 30 * 365 * DAY_SECONDS


def test_a_person_is_waited_for_about_a_day() -> None:
    random.seed(1)
    probes = [compute_daily_probe_at(NOW) - NOW for _ in range(500)]
    assert min(probes) >= 21 * 3600
    assert max(probes) <= 27 * 3600
    assert max(probes) - min(probes) > 3 * 3600


# Claims


@given(
    st.integers(NOW - 10 * DAY_SECONDS, NOW + TICK_HORIZON_SECONDS),
    st.none() | st.integers(NOW - 10 * DAY_SECONDS, NOW + 10 * DAY_SECONDS),
)
def test_a_lost_claim_is_found_again_within_a_quarter_of_what_remains(due_at: int, expires_at: int | None) -> None:
    horizon = compute_claim_until(due_at, NOW, expires_at) - max(due_at, NOW)
    remaining = 480 if expires_at is None else max(expires_at - NOW, 0)
    assert 15 <= horizon <= 120
    assert horizon <= max(remaining / 4, 15)
    assert horizon == 120 or remaining < 480


def test_a_claim_moves_the_due_date_beyond_what_this_tick_takes() -> None:
    for due_at in range(NOW, NOW + TICK_HORIZON_SECONDS + 1):
        assert compute_claim_until(due_at, NOW, NOW) > due_at
    assert compute_claim_until(NOW - DAY_SECONDS, NOW, None) == NOW + 120


# Lives and shards


def test_connections_are_spread_evenly_over_all_shards_and_stay_there() -> None:
    shards = [choose_shard(f"keap/{number}") for number in range(800)]
    assert set(shards) == {str(number) for number in range(refresh_schedule.SHARD_COUNT)}
    assert min(shards.count(one) for one in set(shards)) > 60
    assert choose_shard("keap/main") == choose_shard("keap/main")
    # Pinned: another spreading would leave every record in a partition that is never asked for it.
    assert [choose_shard(f"keap/{number}") for number in range(4)] == ["4", "2", "1", "1"]


@pytest.mark.parametrize(("left", "ahead"), [(600, 0), (1200, 0), (1202, 600), (3600, 600), (1, 0)])
def test_a_repeated_token_is_refreshed_at_its_end_or_with_a_lead(left: int, ahead: int) -> None:
    life = TokenLifetime(NOW, NOW + left)
    regular = life.expires_at - ahead
    assert compute_repeated_refresh_at(life, Rotation(), 300, regular) == regular
    assert compute_repeated_refresh_at(life, Rotation(minimum_age=7200), 300, regular) == NOW + 7200
