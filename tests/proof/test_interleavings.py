"""Proves the same for workers, getters, operators and people at once: their calls interleaved in any order.

``EVERGRANT_INTERLEAVINGS`` says how many schedules are tried. The order is hypothesis's, so a schedule that fails is
made as short as it can be; nothing sleeps, and the same schedule is the same run.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from tests.proof import mutants
from tests.proof.interleaving import SCHEDULES, Schedule, play

#: As many as 'make test' tries: enough to find each planted mistake below.
FEW = 1000
MANY = int(os.environ.get("EVERGRANT_INTERLEAVINGS", FEW))
REPRODUCIBLY: dict[str, Any] = {
    "deadline": None,
    "derandomize": True,
    "suppress_health_check": list(HealthCheck),
    "database": None,
}
#: The mistakes that it takes several at once to suffer from.
CONCURRENT = (
    mutants.fenced_by_the_lease,
    mutants.not_fenced,
    mutants.no_marker,
    mutants.not_adopted,
    mutants.published_before_it_is_saved,
    mutants.released_without_the_lease,
    mutants.replayed_outside_the_grace,
    mutants.probed_while_an_answer_may_be_on_its_way,
    mutants.forced_while_an_answer_may_be_on_its_way,
    mutants.a_tombstone_of_the_same_generation,
)


@settings(max_examples=MANY, **REPRODUCIBLY)
@given(schedule=SCHEDULES)
def test_no_order_of_calls_loses_a_token(schedule: Schedule) -> None:
    """Workers, callers, people and operators act at once: no order of their calls loses a token."""
    play(schedule)


@settings(max_examples=FEW, phases=[Phase.generate], report_multiple_bugs=False, **REPRODUCIBLY)
@given(schedule=SCHEDULES)
def search(schedule: Schedule) -> None:
    """The same schedules; what fails is not made shorter."""
    play(schedule)


@pytest.mark.parametrize("mutant", CONCURRENT, ids=lambda mutant: str(mutant.__name__))
def test_the_interleavings_find_a_planted_mistake(mutant: Callable[[], Any]) -> None:
    with mutant(), pytest.raises(AssertionError):
        search()
