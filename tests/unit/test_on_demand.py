"""Protects `rotation.refresh = "on_demand"`: readers get their token, and no grant ends for want of readers."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from evergrant.errors import TemporarilyUnavailable
from evergrant.profiles.model import Profile
from evergrant.profiles.response_specs import ExpiryRule
from evergrant.rotation.connection_pass import Rotation
from evergrant.rotation.refresh_demand import TokenDemand
from evergrant.secret import Secret
from tests.unit.memory import answer
from tests.unit.rotation_world import KEAP, NAME, World, world

DAY = 86_400


def on_demand(days: int | None = None, **rotation: Any) -> Profile:
    """Keap, refreshed only when asked, with a refresh token that lives for so many days."""
    rules = () if days is None else (ExpiryRule(default=days * DAY),)
    return msgspec.structs.replace(
        KEAP,
        rotation=msgspec.structs.replace(KEAP.rotation, refresh="on_demand", **rotation),
        response=msgspec.structs.replace(KEAP.response, refresh_expires=rules),
    )


def build_refreshed(profile: Profile) -> World:
    """A connection that has just been refreshed."""
    w = world(profile)
    assert w.run().outcome == "rotated"
    return w


def run_schedule(w: World) -> str:
    return Rotation(w.ports, w.settings, w.clock.now() + 59).run(TokenDemand(NAME)).outcome


def test_the_schedule_refreshes_nothing_without_a_reader() -> None:
    w = build_refreshed(on_demand())
    due_at = w.record().due_at
    assert due_at is not None
    assert due_at > w.clock.now() + 50 * 365 * DAY
    w.clock.advance(30 * DAY)
    assert run_schedule(w) == "fresh"
    assert len(w.provider.requests) == 1


def test_a_caller_gets_a_new_token_once_the_old_one_has_expired() -> None:
    w = build_refreshed(on_demand())
    assert w.run(caller_waits=True).tokens == w.stored
    w.clock.advance(3 * DAY)
    tokens = w.run(caller_waits=True).tokens
    assert tokens is not None
    assert tokens.access_token == Secret("access-2")
    assert len(w.provider.requests) == 2


def test_who_asks_gets_a_new_token_for_a_refused_one() -> None:
    w = build_refreshed(on_demand())
    w.clock.advance(3600)
    tokens = w.run(caller_waits=True, rejected=Secret("access-1").fingerprint).tokens
    assert tokens is not None
    assert tokens.access_token == Secret("access-2")


def test_an_idle_refresh_token_is_kept_alive_without_readers() -> None:
    """A refresh token that expires when it is not used is kept alive, though no consumer reads."""
    w = build_refreshed(on_demand(90))
    for _ in range(5):
        record = w.record()
        assert record.refresh_at is not None
        assert record.refresh_expires_at is not None
        assert 80 * DAY < record.refresh_at - w.clock.now() < record.refresh_expires_at - w.clock.now() - 6 * DAY
        w.clock.time = record.refresh_at
        assert run_schedule(w) == "rotated"


def test_a_refresh_token_bound_to_its_access_token_is_kept_alive() -> None:
    """A refresh token that ends with its access token is kept alive, though no consumer reads."""
    w = build_refreshed(on_demand(None, refresh_token_life="with_access_token"))
    record = w.record()
    assert record.refresh_at is not None
    assert record.expires_at is not None
    assert record.refresh_at < record.expires_at < w.clock.now() + 2 * DAY
    w.clock.time = record.refresh_at
    assert run_schedule(w) == "rotated"


def test_the_end_of_a_grant_that_no_refresh_moves_makes_none() -> None:
    w = build_refreshed(on_demand(90, refresh_token_life="hard"))
    w.clock.advance(89 * DAY)
    assert run_schedule(w) != "rotated"
    assert len(w.provider.requests) == 1


def test_a_failed_refresh_on_demand_is_retried_by_the_schedule() -> None:
    """A refresh that a caller asked for, and that failed, is tried again by the schedule."""
    w = build_refreshed(on_demand())
    w.clock.advance(3 * DAY)
    w.provider.script = [answer(429, {})]
    with pytest.raises(TemporarilyUnavailable):
        w.run(caller_waits=True)
    refresh_at = w.record().refresh_at
    assert refresh_at is not None
    assert refresh_at < w.clock.now() + 3600
    w.clock.time = refresh_at
    assert run_schedule(w) == "rotated"
