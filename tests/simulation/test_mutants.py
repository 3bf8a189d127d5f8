"""Shows that the simulation can fail: each of these mistakes, planted while it runs, is found within simulated hours.

Without a mistake it finds none: each situation holds for the code as it is.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.simulation.mutants import PLANTED, Mutant


def name(found: Callable[..., object]) -> str:
    return str(found.__name__)


@pytest.mark.parametrize("situation", dict.fromkeys(PLANTED.values()), ids=name)
def test_a_situation_holds_without_a_mistake(situation: Callable[[], None]) -> None:
    situation()


@pytest.mark.parametrize("mutant", PLANTED, ids=name)
def test_the_simulation_finds_a_planted_mistake(mutant: Mutant) -> None:
    with mutant(), pytest.raises(AssertionError):
        PLANTED[mutant]()


def test_there_are_25_mistakes() -> None:
    assert len(PLANTED) >= 25
