"""Shows that the simulation can fail: each of these mistakes, planted while it runs, is found within simulated hours.

Without a mistake it finds none: each situation holds for the code as it is.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.simulation.checks import Violated
from tests.simulation.invariants import EVERY
from tests.simulation.mutants import PLANTED, Mutant

SITUATIONS = dict.fromkeys(found.situation for found in PLANTED.values())


def name(given: Callable[..., object]) -> str:
    return given.__name__


@pytest.mark.parametrize("situation", SITUATIONS, ids=name)
def test_a_situation_holds_without_a_mistake(situation: Callable[[], None]) -> None:
    situation()


@pytest.mark.parametrize("mutant", PLANTED, ids=name)
def test_the_simulation_finds_a_planted_mistake(mutant: Mutant) -> None:
    situation, invariant = PLANTED[mutant]
    expected = pytest.raises(Violated, match=f"^{name(invariant)}: ") if invariant else pytest.raises(AssertionError)
    with mutant(), expected:
        situation()


def test_each_invariant_is_broken_by_some_mistake() -> None:
    broken = {name(found.invariant) for found in PLANTED.values() if found.invariant}
    assert broken == EVERY
