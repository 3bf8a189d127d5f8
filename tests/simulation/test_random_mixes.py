"""Protects what no scenario thought of: random fleets, random troubles, and every invariant all the time.

`make simulate SEED=7 HOURS=24` repeats one, and runs a longer one.
"""

from __future__ import annotations

import pytest

from tests.simulation import random_mix
from tests.simulation.checks import Checks
from tests.simulation.scenarios import HOUR

SEEDS, HOURS = range(1, 5), 6


@pytest.mark.parametrize(
    "seed", [*SEEDS, *(pytest.param(seed, marks=pytest.mark.exhaustive) for seed in range(5, 100))]
)
def test_every_invariant_holds_in_a_random_mix(seed: int) -> None:
    with random_mix.build(seed, HOURS, Checks()) as world:
        world.run(hours=HOURS)
        lasts = min(member.terms.lifetime for member in world.registry.members.values())
        assert world.ledger.rotations or lasts >= HOURS * HOUR
