"""Protects recovery: after 20 minutes of an outage, each shipped profile has valid tokens again within 90 seconds.

No owner is asked. The moment counts from the outage's end, or from the one that Retry-After named. The outage begins
when the first connection is due, so that it meets it at the worst time.
"""

from __future__ import annotations

import pytest

from tests.simulation import scripts
from tests.simulation.scenarios import PROFILES, REFRESHED, connect, find_late, strike
from tests.simulation.world import World

OUTAGE_MINUTES = 20
KINDS = {
    "503": scripts.page(503),
    "503, Retry-After of 60 s": scripts.page(503, retry_after="60"),
    "502": scripts.page(502),
    "500": scripts.page(500),
    "403 page": scripts.page(403),
    "404 page": scripts.page(404),
    "400 page": scripts.page(400),
    "200 page": scripts.page(200),
    "no connection": scripts.not_sent(),
}
#: Behind a page that says 403, probes are a minute apart.
WITHIN_SECONDS = {"403 page": 150}


def find_trouble(name: str, kind: str, count: int) -> str | None:
    """Let one provider be in trouble, and return what is wrong afterwards."""
    profile, answer = PROFILES[name], KINDS[kind]
    try:
        with World(len(name)) as world:
            names = connect(world, profile, count, within=240)
            trouble = strike(world, names, answer, minutes=OUTAGE_MINUTES)
            world.run(seconds=trouble.end - world.now)
            world.run(minutes=15)
            late = find_late(world, names, trouble.end + WITHIN_SECONDS.get(kind, 90))
            if late:
                return f"late: {late}"
            world.run(minutes=30)
            return f"asked: {world.ledger.asked}" if world.ledger.asked else None
    except AssertionError as error:
        return str(error)


def require_recovery(kind: str, count: int, profiles: tuple[str, ...] = REFRESHED) -> None:
    found = {name: find_trouble(name, kind, count) for name in profiles}
    assert {name: wrong for name, wrong in found.items() if wrong} == {}


@pytest.mark.parametrize("count", [1, 4])
@pytest.mark.parametrize("kind", KINDS)
def test_each_third_profile_recovers_from_an_outage(kind: str, count: int) -> None:
    """Of three kinds of outage, each profile meets one here, alone and in a fleet."""
    first = list(KINDS).index(kind) % 3
    require_recovery(kind, count, REFRESHED[first::3])


@pytest.mark.exhaustive
@pytest.mark.parametrize("count", [1, 4])
@pytest.mark.parametrize("kind", KINDS)
def test_each_profile_recovers_from_an_outage(kind: str, count: int) -> None:
    """Valid tokens within 90 s of its end (150 s behind a 403 page), and no owner is asked."""
    require_recovery(kind, count)
