"""Shows that the proof can fail: each of these mistakes, planted while it runs, is found by it.

Without a mistake it finds none: ``test_one_fault_at_any_call_loses_no_token`` explores all these scenarios alike, and
``test_two_faults_at_any_two_calls_lose_no_token`` and ``..._of_a_worker_lose_no_token`` those of two faults.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.proof import mutants
from tests.proof.exploring import explore
from tests.proof.scenarios import SCENARIOS
from tests.unit import test_rotation_attempt

Mutant = Callable[[], Any]
BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}

#: Found by one fault in this situation.
MUTANTS: dict[Mutant, str] = {
    mutants.fenced_by_the_lease: "expired",
    mutants.not_fenced: "a re-connect while it rotates",
    mutants.no_marker: "no grace",
    mutants.published_before_it_is_saved: "no grace",
    mutants.published_without_the_lease: "disconnected meanwhile",
    mutants.released_without_the_lease: "no grace",
    mutants.replayed_outside_the_grace: "no grace",
    mutants.probed_while_an_answer_may_be_on_its_way: "expired",
    mutants.forced_while_an_answer_may_be_on_its_way: "forced while its answer is in the queue",
    mutants.unsealed_in_the_queue: "the table down for 20 s",
    mutants.nothing_in_the_queue: "the table down for 20 s",
    mutants.forgotten_events: "no grace",
    mutants.events_that_displace_others: "an answer that cannot be read",
    mutants.a_generation_for_each_replay: "a grace of 60 s",
    mutants.a_tombstone_of_the_same_generation: "disconnected meanwhile",
    mutants.revoked_without_a_look_at_what_there_is: "connected again while it is revoked",
}
#: Found by two, the second one where the first is recovered from or not.
BY_TWO: dict[Mutant, tuple[str, bool]] = {
    mutants.grace_counted_from_the_replay: ("a grace of 60 s", True),
    mutants.a_marker_taken_back_regardless: ("on demand, asked for", False),
}
#: No provider of the proof takes back a refusal: found by a test of its own.
BY_A_TEST: dict[Mutant, Callable[[], None]] = {
    mutants.a_strike_is_the_last_word: test_rotation_attempt.test_a_second_rejection_requires_a_person,
}


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: str(mutant.__name__))
def test_the_proof_finds_a_planted_mistake(mutant: Mutant) -> None:
    with mutant():
        assert explore(BY_NAME[MUTANTS[mutant]], 1).failures


@pytest.mark.parametrize("mutant", BY_TWO, ids=lambda mutant: str(mutant.__name__))
def test_the_proof_finds_a_planted_mistake_that_takes_two_faults(mutant: Mutant) -> None:
    name, recovery = BY_TWO[mutant]
    with mutant():
        assert explore(BY_NAME[name], 2, recovery=recovery).failures


@pytest.mark.parametrize("mutant", BY_A_TEST, ids=lambda mutant: str(mutant.__name__))
def test_a_mistake_that_no_fault_brings_out_has_a_test_of_its_own(mutant: Mutant) -> None:
    with mutant(), pytest.raises(AssertionError):
        BY_A_TEST[mutant]()
