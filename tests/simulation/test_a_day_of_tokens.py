"""Protects whole days: short-lived tokens are served fresh from morning to evening, no provider is asked more often
than their lives demand, and no secret is written more often than Secrets Manager takes.

The consumer reads every five seconds, from getter and from the secret.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from typing import Any

import pytest

from evergrant.getter.token_reader import MIN_TTL_SECONDS
from evergrant.times import DAY_SECONDS
from tests.simulation.checks import Checks
from tests.simulation.scenarios import PROFILES
from tests.simulation.servers import Terms
from tests.simulation.world import World

#: A consumer reads this often (seconds).
EVERY_SECONDS = 5
#: One write to a secret per 10 minutes, sustained; about 100 versions of one secret, and none younger than a day is
#: pruned (Secrets Manager user guide, "AWS Secrets Manager quotas" and "What's in a Secrets Manager secret?").
LEAST_BETWEEN_WRITES, MOST_VERSIONS = 600, 100


@dataclass
class Day:
    """What a day came to: the least remaining life of any answer of getter and of any direct read (seconds)."""

    requests: int = 0
    refreshed: int = 0
    reads: int = 0
    least_from_getter: float = float("inf")
    least_directly: float = float("inf")
    writes: list[float] = field(default_factory=list)


def a_day(lifetime: int) -> Day:
    day = Day()
    with World(1, checks=Checks(), reads_every=None) as world:
        [name] = world.connect(PROFILES["investsuite"], terms=Terms(lifetime), variables={"host": "api.example.com"})
        server = world.member(name).server

        def read() -> None:
            world.timeline.after(EVERY_SECONDS, read)
            document = world.read(name)
            assert "error" not in document, document
            left = server.find_end(name, document["access_token"]) - world.now
            assert datetime.fromisoformat(document["expires_at"]).timestamp() <= world.now + left
            assert document["expires_in"] <= left
            day.least_from_getter = min(day.least_from_getter, left)
            published: dict[str, Any] | None = world.vault.read(name)
            if published:
                left = server.find_end(name, published["access_token"]) - world.now
                day.least_directly = min(day.least_directly, left)
            day.reads += 1

        put = world.vault.put

        def written(connection: str, document: Any, version: str) -> None:
            if world.vault.current_version.get(connection) != version:
                day.writes.append(world.now)
            put(connection, document, version)

        world.vault.put = written  # type: ignore[method-assign]
        world.timeline.after(1, read)
        world.run(hours=24)
        endpoint = world.ledger.endpoint("https://api.example.com/auth/refresh-token/")
        day.requests, day.refreshed = world.ledger.tracks[name].requests, endpoint.requests
        assert [kind for _, kind, _ in world.ledger.events] == ["Connection Authorized"]
    return day


@pytest.mark.parametrize("lifetime", [300, 600, 1799])
def test_tokens_of_minutes_are_served_all_day_and_write_no_secret(lifetime: int) -> None:
    """Tokens that live for minutes are served fresh all day, and no secret is written."""
    day = a_day(lifetime)
    assert day.reads == DAY_SECONDS // EVERY_SECONDS
    assert day.least_from_getter > max(MIN_TTL_SECONDS, lifetime // 4)
    assert day.writes == []
    # One log-in, and then a refresh each half-life, with up to a tenth of a life of jitter; never more.
    assert day.requests == day.refreshed + 1
    lead = min(600, lifetime // 2)
    most, least = lifetime - lead, lifetime - lead - min(lifetime // 10, lead // 2) - EVERY_SECONDS
    assert DAY_SECONDS / (most + 2 * EVERY_SECONDS) - 1 <= day.requests <= DAY_SECONDS / least + 1


@pytest.mark.parametrize("lifetime", [1800, 3600])
def test_secrets_of_longer_lived_tokens_are_written_within_the_quota(lifetime: int) -> None:
    """The secret of a longer-lived token is written as seldom as Secrets Manager demands."""
    day = a_day(lifetime)
    assert day.least_from_getter >= 299
    assert day.least_directly >= 299, "a consumer that caches for five minutes never sends a dead token"
    assert len(day.writes) == day.requests
    assert min(later - earlier for earlier, later in pairwise(day.writes)) > LEAST_BETWEEN_WRITES
    assert len(day.writes) < MOST_VERSIONS
