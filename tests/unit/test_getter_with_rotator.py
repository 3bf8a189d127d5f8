"""Protects what getter and rotator promise together: a living token is served through every failure, with a warning
that names it. No consumer, however often it asks, has a provider asked or a secret written beyond the limits."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from evergrant.adapters.observability import metrics
from evergrant.getter.token_reader import TokenReader
from evergrant.profiles.model import Profile
from evergrant.record.status import Status
from evergrant.rotation.connection_pass import Rotation
from evergrant.rotation.handler import handle_request
from evergrant.secret import fingerprint
from evergrant.times import DAY_SECONDS
from tests.unit import memory
from tests.unit.rotation_world import KEAP, NAME, World, world
from tests.unit.test_on_demand import on_demand

#: Versions of one secret, none of which is pruned before it is a day old (AWS Secrets Manager quotas).
MOST_VERSIONS = 100


def getter(w: World) -> TokenReader:
    """Another process of getter's."""

    def ask_rotator(request: Any) -> dict[str, Any]:
        try:
            return handle_request(Rotation(w.ports, w.settings, w.clock.now() + 59), w.ports, request)
        finally:
            metrics.clear_metrics()

    return TokenReader(
        lambda name: dict(w.vault.published[name]) if name in w.vault.published else None, ask_rotator, w.clock.now
    )


def read(w: World, **wanted: Any) -> dict[str, Any]:
    return getter(w).read(NAME, **wanted)


def fresh(profile: Profile = KEAP, lifetime: int = DAY_SECONDS) -> World:
    """A connection whose token set was issued a minute ago, and published."""
    w = world(profile, lifetime=lifetime)
    assert w.run().outcome == "rotated"
    w.provider.requests.clear()
    w.clock.advance(60)
    return w


def insist(w: World, hours: float, every: int = 15, **wanted: Any) -> int:
    """Ask so often, from another process each time, while the schedule does its work; how many refreshes came of it.

    Without a ``min_ttl`` the asker says that the token it was given last is refused.
    """
    until, refused = w.clock.now() + hours * 3600, fingerprint(read(w)["access_token"])
    while w.clock.now() < until:
        document = read(w, **(wanted or {"rejected": refused}))
        assert "error" not in document, document
        refused = fingerprint(document["access_token"])
        w.run()  # what is due is refreshed as it would be without us
        w.clock.advance(every)
    return len(w.provider.requests)


@pytest.mark.parametrize("lifetime", [3600, DAY_SECONDS])
def test_a_caller_refused_for_another_reason_forces_no_endless_refresh(
    lifetime: int,
) -> None:
    """A caller that is refused for another reason than the token does not have it refreshed for ever."""
    w = fresh(lifetime=lifetime)
    without = DAY_SECONDS // lifetime
    asked = insist(w, 24)
    assert without < asked < without + 60
    assert len(w.vault.versions) < MOST_VERSIONS


def test_a_provider_that_gives_the_same_token_again_is_not_asked_in_a_loop() -> None:
    w = fresh()
    same = read(w)["access_token"]
    given = {"access_token": same, "refresh_token": "refresh-1", "expires_in": DAY_SECONDS, "token_type": "bearer"}
    w.provider.script = [memory.answer(200, given) for _ in range(100)]
    answered = read(w, rejected=fingerprint(same))
    assert (answered["access_token"], answered["warning"]["code"]) == (same, "still_refused")
    assert answered["warning"]["retry_after"] == 3600
    assert len(w.provider.requests) == 1
    assert insist(w, 1) <= 2
    assert insist(w, 12) <= 14, "about once an hour"


def test_a_min_ttl_few_tokens_reach_does_not_refresh_one_after_another() -> None:
    """A min_ttl that few tokens have left does not refresh one after the other."""
    w = fresh(lifetime=3600)
    assert insist(w, 6, min_ttl=3590) < 30
    assert read(w, min_ttl=3590)["expires_in"] > 1700, "the freshest there is, within measure"


def test_once_the_trouble_is_over_refreshes_asked_for_are_soon_had_again() -> None:
    w = fresh(lifetime=3600)
    insist(w, 2)
    assert w.record().early_refreshes > 5
    for _ in range(10):
        w.clock.time = float(w.record().refresh_at or 0)
        w.run()
    assert w.record().early_refreshes == 0


def test_a_token_refused_in_its_second_half_is_replaced_at_once() -> None:
    """A token that is refused in the second half of its life is replaced at once, after any earlier refusals."""
    w = fresh(lifetime=3600)
    insist(w, 2)
    w.clock.time = float(w.record().issued_at or 0) + 1800
    refused = fingerprint(read(w)["access_token"])
    assert fingerprint(read(w, rejected=refused)["access_token"]) != refused


def test_a_forced_refresh_is_not_held_back_and_resets_the_count() -> None:
    """An operator who forces a refresh is not held back, and ends the count."""
    w = fresh()
    insist(w, 1)
    asked = len(w.provider.requests)
    assert w.run(caller_waits=True, force=True).outcome == "rotated"
    assert len(w.provider.requests) == asked + 1
    assert w.record().early_refreshes == 0


def test_a_fleet_that_was_refused_the_same_token_causes_one_refresh() -> None:
    w = fresh()
    refused = fingerprint(read(w)["access_token"])
    fleet = [getter(w) for _ in range(50)]
    given = {reader.read(NAME, rejected=refused)["access_token"] for reader in fleet}
    assert len(w.provider.requests) == len(given) == 1
    assert fingerprint(given.pop()) != refused


# --- warnings ---------------------------------------------------------------------------------------------------------


def test_all_is_well_without_a_warning() -> None:
    w = fresh()
    assert "warning" not in read(w)
    assert "warning" not in read(w, min_ttl=DAY_SECONDS - 100)
    assert "warning" not in read(w, rejected=fingerprint(read(w)["access_token"]))


def test_while_the_provider_is_down_the_token_is_served_with_a_warning() -> None:
    """While the provider is down the living token is served with a warning; then an error says when to retry."""
    w = fresh()
    w.provider.script = [memory.answer(429, {}) for _ in range(100)]
    first = read(w)
    w.clock.time = float(w.record().expires_at or 0) - 900
    document = read(w, min_ttl=3600)
    assert document["access_token"] == first["access_token"]
    assert document["warning"]["code"] == "temporarily_unavailable"
    assert 0 < document["warning"]["retry_after"] < 1200
    for _ in range(5):
        w.clock.time = max(w.clock.time + 1, float(w.record().refresh_at or 0))
        w.run()
    assert w.record().status == "degraded"
    w.clock.time = float(w.record().expires_at or 0) - 100
    document = read(w)
    assert document["access_token"] == first["access_token"]
    assert document["warning"]["code"] == "degraded"
    w.clock.time = float(w.record().expires_at or 0) + 1
    error = read(w)["error"]
    assert error["code"] == "temporarily_unavailable"
    assert error["retry_after"] >= 1


@pytest.mark.parametrize(
    ("status", "code"),
    [
        ("authorization_required", "authorization_required"),
        ("client_refused", "client_refused"),
        ("paused", "paused"),
        ("degraded", "degraded"),
    ],
)
def test_a_connection_without_further_tokens_says_so_while_one_lives(status: str, code: str) -> None:
    """A connection that will give no more tokens says so while its last token lives."""
    w = fresh()
    w.records.items[NAME] = replace(w.record(), status=Status(status), failures=3, last_error="invalid_grant")
    far = w.clock.now() + 2 * DAY_SECONDS
    w.records.change(NAME, {"refresh_at": int(far)})
    asked = handle_request(Rotation(w.ports, w.settings, w.clock.now() + 59), w.ports, {"connection": NAME})
    assert asked["warning"]["code"] == code
    assert asked["warning"]["message"]
    assert asked["warning"]["hint"]
    assert "warning" not in read(w), "what has long to live is served from the secret, which knows nothing of it"
    w.clock.time = float(w.record().expires_at or 0) - 200
    assert read(w)["warning"]["code"] == code
    w.clock.time = float(w.record().expires_at or 0)
    assert read(w)["error"]["code"] == code.replace("degraded", "temporarily_unavailable")


def test_a_warning_holds_no_token() -> None:
    w = fresh()
    document = read(w, rejected=fingerprint(read(w)["access_token"]))
    again = read(w, rejected=fingerprint(document["access_token"]))
    assert again["warning"]["code"] == "still_refused"
    assert document["access_token"] not in str(again["warning"])


# --- no secret, or no schedule ----------------------------------------------------------------------------------------


def test_tokens_of_300_seconds_are_read_through_getter_and_have_no_secret() -> None:
    w = world(lifetime=300)
    for _ in range(120):
        assert read(w, min_ttl=30)["expires_in"] >= 30
        w.run()
        w.clock.advance(10)
    assert w.vault.published == {}
    assert len(w.provider.requests) <= 1200 // 100


def test_on_demand_a_reader_gets_a_new_token_and_idle_time_costs_none() -> None:
    """With on_demand a reader has a new token at once, and nothing is sent while no consumer reads."""
    w = fresh(on_demand())
    w.clock.advance(30 * DAY_SECONDS)
    w.run()
    assert w.provider.requests == []
    assert w.vault.published[NAME]["expires_at"] < read(w)["expires_at"], (
        "a direct read would have found an expired one"
    )
    assert read(w)["expires_in"] == DAY_SECONDS
    assert len(w.provider.requests) == 1


def test_with_on_demand_a_min_ttl_is_held_to_the_end_of_each_life() -> None:
    w = fresh(on_demand(), lifetime=300)
    for _ in range(500):
        assert read(w, min_ttl=60)["expires_in"] >= 60
        w.clock.advance(7)
    assert len(w.provider.requests) <= 500 * 7 // 240 + 1
