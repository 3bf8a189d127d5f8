"""Protects the others: one connection's refusal, for ever and in any words, costs no other one of its client a second.

Twenty connections of one client; one, two or five of them are refused in each way that real servers have.
"""

from __future__ import annotations

import pytest

from tests.simulation.refusals import REFUSALS
from tests.simulation.scenarios import HOUR, MINUTE, PROFILES, connect
from tests.simulation.world import World

WAYS = sorted(REFUSALS)


def refuse_some(way: str, refused: int, *, lifetime: int, hours: float) -> World:
    refusal = REFUSALS[way]
    with World(refused) as world:
        names = connect(world, PROFILES[refusal.provider], 20, lifetime=lifetime)
        world.trouble(refusal.answer, refusal.provider, connections=names[:refused], truth=refusal.truth)
        world.run(hours=hours)
        without = {name: world.ledger.tracks[name].seconds_without(world.now) for name in names[refused:]}
        assert {name: seconds for name, seconds in without.items() if seconds} == {}
        assert set(world.ledger.asked) <= set(names[:refused])
        asked = world.ledger.asked
        if refusal.truth == "grant":
            assert sorted(asked) == sorted(names[:refused]), "a refusal for ever is one for its owner"
    return world


@pytest.mark.parametrize(("way", "refused"), [(way, (1, 2, 5)[number % 3]) for number, way in enumerate(WAYS)])
def test_hourly_tokens_of_the_others_stay_valid_for_a_day(way: str, refused: int) -> None:
    refuse_some(way, refused, lifetime=HOUR, hours=24)


@pytest.mark.parametrize("way", WAYS)
def test_short_lived_tokens_of_the_others_stay_valid(way: str) -> None:
    refuse_some(way, 2, lifetime=5 * MINUTE, hours=1)


@pytest.mark.exhaustive
@pytest.mark.parametrize("refused", [1, 2, 5])
@pytest.mark.parametrize("way", WAYS)
def test_hourly_tokens_of_the_others_stay_valid_for_a_day_in_any_case(way: str, refused: int) -> None:
    refuse_some(way, refused, lifetime=HOUR, hours=24)


@pytest.mark.exhaustive
@pytest.mark.parametrize("refused", [1, 2, 5])
@pytest.mark.parametrize("way", WAYS)
def test_short_lived_tokens_of_the_others_stay_valid_for_a_day(way: str, refused: int) -> None:
    refuse_some(way, refused, lifetime=5 * MINUTE, hours=24)
