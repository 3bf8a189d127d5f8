"""Protects token sets that are odd but usable: each is used for as long as it lives, and no longer."""

from __future__ import annotations

import pytest

from evergrant.record.status import Status
from tests.simulation import scripts
from tests.simulation.scenarios import HOUR, MINUTE, PROFILES, connect, find_late
from tests.simulation.servers import Terms
from tests.simulation.world import World


def require_no_gap(world: World, names: list[str]) -> None:
    without = {name: world.ledger.tracks[name].seconds_without(world.now) for name in names}
    assert {name: seconds for name, seconds in without.items() if seconds} == {}


@pytest.mark.parametrize("skew", [-15 * MINUTE, 15 * MINUTE])
@pytest.mark.parametrize("name", ["typeform", "monday", "xero"])
def test_a_providers_wrong_clock_costs_no_second(name: str, skew: int) -> None:
    """Whether it says a moment, a JWT, or a lifetime."""
    with World(1) as world:
        names = world.connect(PROFILES[name], 2, client=name, terms=Terms(HOUR))
        world.registry.servers[name].skew = skew
        world.run(hours=6)
        require_no_gap(world, names)


def test_a_lifetime_of_zero_for_ever_is_reported_and_costs_no_second() -> None:
    """The third answer in a row is used for the profile's own lifetime; the provider is not asked in a loop."""
    with World(1) as world:
        names = connect(world, PROFILES["asana"], 2)
        world.trouble(scripts.with_fields(lambda _: {"expires_in": 0}), "asana")
        world.run(hours=6)
        require_no_gap(world, names)
        assert {world.status(name) for name in names} == {Status.DEGRADED}
        assert max(world.ledger.tracks[name].requests for name in names) < 12


@pytest.mark.parametrize("name", ["box", "atlassian", "dropbox"])
def test_answers_that_take_seconds_cost_no_second(name: str) -> None:
    with World(1) as world:
        names = connect(world, PROFILES[name], 12, within=30)
        world.trouble(scripts.slow(6), name)
        world.run(hours=4)
        require_no_gap(world, names)
        assert world.ledger.asked == []


def test_a_lost_response_within_the_grace_costs_no_second() -> None:
    """A provider with a grace has acted, and its response is lost: the replay brings the token set."""
    with World(1) as world:
        names = connect(world, PROFILES["atlassian"], 4)
        world.trouble(scripts.lost(acts=True), "atlassian", share=0.5)
        world.run(hours=6)
        require_no_gap(world, names)
        assert world.ledger.asked == []


def test_a_lost_response_without_a_grace_asks_its_owner_alone() -> None:
    """The grant is lost with the response: its owner is asked, in time for one alert, and no other one."""
    with World(1) as world:
        names = connect(world, PROFILES["box"], 4)
        world.trouble(scripts.lost(acts=True), "box", connections=names[:1], times=1, truth="grant")
        world.run(hours=6)
        assert world.ledger.asked == names[:1]
        assert find_late(world, names[1:], world.now - 1) == {}
        require_no_gap(world, names[1:])
