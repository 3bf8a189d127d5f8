"""Protects probes: an open circuit lets few requests through, those that can do least harm, and never none for long."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evergrant.record.circuit import Circuit, CircuitChanges, Failure, create_client_key, create_endpoint_key
from evergrant.record.probes import Candidate, compute_interval, compute_next_probe_at, plan_probes
from evergrant.times import HOUR_SECONDS, TICK_SECONDS
from tests.unit.samples import ENDPOINT_URL, NOW

FAILED = Failure(NOW - 60, "unclear")


@dataclass(frozen=True)
class Line:
    """A line of the due index."""

    name: str
    due_at: int
    expires_at: int | None


def endpoint(**fields: Any) -> Circuit:
    return Circuit(create_endpoint_key(ENDPOINT_URL), **{"opened_at": NOW - 60, "probed_at": NOW - 60, **fields})


def client(**fields: Any) -> Circuit:
    return Circuit(create_client_key("keap"), **{"opened_at": NOW - 60, "probed_at": NOW - 60, **fields})


def held(name: str, left: int | None = -60, due: int = 60, *, is_harmless: bool = False) -> Candidate:
    """A connection whose token expires in so many seconds, and that was due so many seconds ago."""
    return Candidate(Line(name, NOW - due, None if left is None else NOW + left), is_harmless)


def plan(
    circuit: Circuit, candidates: Sequence[Candidate], now: int = NOW, seconds: int = TICK_SECONDS
) -> list[tuple[str, int]]:
    """Which connections are let through, and in how many seconds."""
    planned, _ = plan_probes(circuit, candidates, now, now + seconds)
    return [(candidate.held.name, at - now) for candidate, at in planned]


# How often


@pytest.mark.parametrize(
    ("fields", "interval"),
    [
        ({}, 15),
        ({"http_status": 503}, 15),
        ({"http_status": 403}, 60),
        ({"http_status": 429}, 60),
        ({"opened_at": NOW - HOUR_SECONDS + 1}, 15),
        ({"opened_at": NOW - HOUR_SECONDS}, 300),
        ({"opened_at": NOW - HOUR_SECONDS, "http_status": 403}, 300),
        ({"probes": 100}, 15),
    ],
)
def test_an_endpoint_is_probed_every_15_or_60_seconds_and_later_300(fields: dict[str, Any], interval: int) -> None:
    assert compute_interval(endpoint(**fields), NOW) == interval


@pytest.mark.parametrize(
    ("fields", "interval"),
    [
        ({"probes": 9}, 15),
        ({"probes": 10}, 900),
        ({"probes": 1, "has_changed": True}, 15),
        ({"probes": 2, "has_changed": True}, 900),
        ({"probes": 9, "opened_at": NOW - 10 * HOUR_SECONDS, "http_status": 403}, 15),
    ],
)
def test_a_client_gets_ten_quick_probes_or_two_after_a_change(fields: dict[str, Any], interval: int) -> None:
    """Some servers burn a refresh token that comes with a wrong secret."""
    assert compute_interval(client(**fields), NOW) == interval


@pytest.mark.parametrize(
    ("fields", "wait"),
    [
        ({"probed_at": NOW}, 15),
        ({"probed_at": NOW - 10}, 5),
        ({"probed_at": NOW, "retry_at": NOW + 600}, 600),
        ({"probed_at": NOW, "retry_at": NOW + 5}, 15),
    ],
)
def test_retry_after_comes_before_the_interval(fields: dict[str, Any], wait: int) -> None:
    assert compute_next_probe_at(endpoint(**fields), NOW) == NOW + wait


# Which, of an endpoint


def test_a_tick_plans_a_probe_every_15_seconds() -> None:
    names = ["keap/a", "keap/b", "keap/c", "keap/d", "keap/e"]
    waiting = [held(name, due=100 - number) for number, name in enumerate(names)]
    assert plan(endpoint(), waiting) == [("keap/a", 0), ("keap/b", 15), ("keap/c", 30), ("keap/d", 45)]
    assert plan(endpoint(probed_at=NOW - 5), waiting) == [
        ("keap/a", 10),
        ("keap/b", 25),
        ("keap/c", 40),
        ("keap/d", 55),
    ]
    assert plan(endpoint(http_status=429), waiting) == [("keap/a", 0)]
    assert plan(endpoint(http_status=429, probed_at=NOW - 30), waiting) == [("keap/a", 30)]


def test_probes_go_round_among_the_expired_by_their_due_dates() -> None:
    """A probe that fails makes its connection due anew, behind the others."""
    waiting = [held("keap/b", due=300), held("keap/a", due=100), held("keap/c", -HOUR_SECONDS, due=200)]
    assert [name for name, _ in plan(endpoint(), waiting)] == ["keap/b", "keap/c", "keap/a"]


def test_each_connection_is_probed_once_in_a_tick() -> None:
    assert plan(endpoint(), [held("keap/a")]) == [("keap/a", 0)]


@pytest.mark.parametrize(("left", "probed"), [(None, True), (-1, True), (0, True), (3600, False)])
def test_a_refresh_token_that_can_be_used_up_is_not_risked_for_a_probe(left: int | None, probed: bool) -> None:
    assert bool(plan(endpoint(), [held("keap/a", left)])) is probed
    assert plan(endpoint(), [held("keap/a", left, is_harmless=True)]) == [("keap/a", 0)]


def test_a_token_that_expires_meanwhile_is_probed_then() -> None:
    assert plan(endpoint(failures={"keap/a": FAILED}), [held("keap/a", 20)]) == [("keap/a", 30)]


@pytest.mark.parametrize(("left", "wait"), [(60, 0), (61, 15), (100, 45), (105, 45), (106, None), (1, 0)])
def test_one_that_has_not_failed_itself_gets_a_last_chance(left: int, wait: int | None) -> None:
    """Within the last minute of its token, at the first of the moments that probes have."""
    planned = plan(endpoint(), [held("keap/a", left)])
    assert planned == ([] if wait is None else [("keap/a", wait)])


def test_one_that_has_failed_itself_gets_no_last_chance() -> None:
    assert plan(endpoint(failures={"keap/a": FAILED}), [held("keap/a", 75)]) == []


def test_a_last_chance_waits_for_no_retry_after_and_no_interval() -> None:
    for circuit in (endpoint(retry_at=NOW + 900), endpoint(http_status=403, probed_at=NOW - 15)):
        assert plan(circuit, [held("keap/a", 30), held("keap/x")])[0] == ("keap/a", 0)
    assert plan(endpoint(retry_at=NOW + 900), [held("keap/x"), held("keap/y", is_harmless=True)]) == []


def test_the_first_to_expire_gets_its_last_chance_first() -> None:
    waiting = [held("keap/a", 50), held("keap/b", 40), held("keap/c", due=900)]
    assert plan(endpoint(), waiting) == [("keap/b", 0), ("keap/a", 15), ("keap/c", 30)]


def test_one_that_is_not_due_yet_is_not_probed() -> None:
    assert plan(endpoint(), [held("keap/a", due=-20)]) == [("keap/a", 30)]
    assert plan(endpoint(), [held("keap/a", due=-60)]) == []


# Which, of a client


def test_the_first_to_expire_that_was_not_refused_itself_probes_the_client() -> None:
    waiting = [held("keap/a", 50), held("keap/b", 40), held("keap/c", 30), held("keap/d", None)]
    circuit = client(failures={"keap/c": FAILED})
    assert plan(circuit, waiting) == [("keap/d", 0), ("keap/b", 15), ("keap/a", 30)]


@pytest.mark.parametrize(
    ("probes", "has_changed", "names"), [(0, False, "abcd"), (8, False, "ab"), (0, True, "ab"), (1, True, "a")]
)
def test_probes_of_one_tick_count_among_the_quick_ones(probes: int, has_changed: bool, names: str) -> None:
    """No more refresh tokens are risked because their probes are planned together."""
    waiting = [held(f"keap/{name}", 1000 + number) for number, name in enumerate("abcdefgh")]
    planned = plan(client(probes=probes, has_changed=has_changed), waiting)
    assert [name for name, _ in planned] == [f"keap/{name}" for name in names]


def test_after_the_quick_ones_a_probe_comes_each_quarter_of_an_hour() -> None:
    waiting = [held("keap/a", 10_000), held("keap/b", 20_000)]
    assert plan(client(probes=10, probed_at=NOW - 800), waiting) == []
    assert plan(client(probes=10, probed_at=NOW - 900), waiting) == [("keap/a", 0)]
    assert plan(client(probes=10, probed_at=NOW - 860), waiting) == [("keap/a", 45)]


@pytest.mark.parametrize(
    ("left", "urgent_at", "probed"),
    [(300, None, True), (301, None, True), (360, None, False), (1, None, True), (300, NOW - 60, False)],
)
def test_one_probe_comes_five_minutes_before_the_first_token_expires(
    left: int, urgent_at: int | None, probed: bool
) -> None:
    circuit = client(probes=10, probed_at=NOW - 30, urgent_at=urgent_at)
    planned, changes = plan_probes(circuit, [held("keap/a", left), held("keap/b", left + 10)], NOW, NOW + 60)
    assert [candidate.held.name for candidate, _ in planned] == ["keap/a"] * probed
    assert ("urgent_at" in changes) is probed


def test_those_that_were_refused_themselves_come_at_their_own_times() -> None:
    """Where none is left that was not, their records say when."""
    circuit = client(probes=10, probed_at=NOW - 30, failures={"keap/a": FAILED, "keap/b": FAILED})
    waiting = [held("keap/a", 5000), held("keap/b", -60, due=-40)]
    assert plan(circuit, waiting) == [("keap/a", 0), ("keap/b", 45)]


# Always


lines = st.builds(
    held,
    st.sampled_from([f"keap/{name}" for name in "abcdefghij"]),
    st.none() | st.integers(-4000, 4000),
    st.integers(-75, 4000),
    is_harmless=st.booleans(),
)
circuits = st.builds(
    lambda make, **fields: make(**fields),
    st.sampled_from([endpoint, client]),
    opened_at=st.integers(NOW - 8000, NOW),
    probed_at=st.integers(NOW - 8000, NOW + 50),
    probes=st.integers(0, 20),
    http_status=st.sampled_from([None, 403, 503]),
    retry_at=st.none() | st.integers(NOW - 500, NOW + 4000),
    has_changed=st.booleans(),
    failures=st.dictionaries(st.sampled_from([f"keap/{name}" for name in "abcdefghij"]), st.just(FAILED)),
)


def apply(circuit: Circuit, changes: CircuitChanges) -> int:
    return int(changes.get("probed_at", circuit.probed_at or 0))


@given(circuits, st.lists(lines, unique_by=lambda candidate: candidate.held.name))
def test_two_probes_are_15_seconds_apart_at_least(circuit: Circuit, waiting: list[Candidate]) -> None:
    planned, changes = plan_probes(circuit, waiting, NOW, NOW + TICK_SECONDS)
    moments = [circuit.probed_at or 0, *(at for _, at in planned)]
    assert all(later - sooner >= 15 for sooner, later in pairwise(moments))
    assert all(NOW <= at < NOW + TICK_SECONDS for _, at in planned)
    assert len({candidate.held.name for candidate, _ in planned}) == len(planned)
    assert apply(circuit, changes) == moments[-1], "so that the next tick goes on from there"
    assert bool(changes) is bool(planned)


@given(circuits, st.lists(lines, min_size=1, unique_by=lambda candidate: candidate.held.name))
def test_an_endpoint_with_an_expired_connection_is_probed_in_five_minutes(
    circuit: Circuit, waiting: list[Candidate]
) -> None:
    """Of connections that stay held back, ticks find one to probe, unless Retry-After asks for a longer wait."""
    waiting = [*waiting, held("keap/expired", -60, due=4000)]
    probed_at, probed = circuit.probed_at or 0, list[int]()
    for tick in range(7):
        now = NOW + tick * TICK_SECONDS
        seen = endpoint(opened_at=circuit.opened_at, probed_at=probed_at, http_status=circuit.http_status)
        planned, changes = plan_probes(seen, waiting, now, now + TICK_SECONDS)
        probed_at = apply(seen, changes)
        probed += [at for _, at in planned]
    assert probed
    assert probed[0] <= max(NOW, circuit.probed_at or 0) + 300 + 15
