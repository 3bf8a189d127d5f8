"""Shows that the proof can fail: each of these mistakes, planted while it runs, is found by it.

Without a mistake it finds none: ``test_one_fault_at_any_call_loses_no_token`` explores all these scenarios alike, and
``test_two_faults_at_any_two_calls_lose_no_token`` and ``..._of_a_worker_lose_no_token`` those of two faults.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.proof import doubt_mutants, mutants
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
#: Found without a fault, or by one, in this situation and order.
OF_DOUBTS: dict[Mutant, tuple[str, int, str]] = {
    doubt_mutants.not_spared_after_an_unclear_answer: ("500, not acted upon", 0, "in order"),
    doubt_mutants.not_spared_after_a_lost_response: ("lost, not acted upon", 0, "in order"),
    doubt_mutants.in_flight_since_the_first_loss: ("lost shortly before its expiry", 1, "in order"),
    doubt_mutants.tried_long_before_its_end: ("500, not acted upon", 0, "in order"),
    doubt_mutants.never_tried_before_its_end: ("500, not acted upon", 0, "in order"),
    doubt_mutants.tried_twice_before_its_end: ("500 until after its expiry", 0, "in order"),
    doubt_mutants.spared_beyond_its_end: ("500 until after its expiry", 0, "in order"),
    doubt_mutants.an_assumed_end_taken_for_the_end: ("500, its expiry assumed", 0, "in order"),
    doubt_mutants.deaf_to_a_rejected_token: ("500, its expiry assumed, rejected by an API", 0, "in order"),
    doubt_mutants.counted_nowhere: ("lost where reuse ends the whole permission", 0, "in order"),
    doubt_mutants.counted_everywhere: ("lost twice where both tokens end together", 0, "in order"),
    doubt_mutants.blind_to_the_end_of_a_refresh_token: ("500 where both tokens end together", 0, "in order"),
    doubt_mutants.a_circuit_that_stays_open: ("an endpoint that fails", 0, "in order"),
    doubt_mutants.a_circuit_that_never_opens: ("an endpoint that fails", 0, "in order"),
    doubt_mutants.closed_without_a_dispatch: ("an endpoint that fails", 0, "in order"),
    doubt_mutants.a_probe_that_counts_twice: ("an endpoint that fails", 0, "doubled"),
}
#: Found by two, the second one where the first is recovered from or not.
BY_TWO: dict[Mutant, tuple[str, bool]] = {
    mutants.grace_counted_from_the_replay: ("a grace of 60 s", True),
    mutants.a_marker_taken_back_regardless: ("on demand, asked for", False),
    doubt_mutants.marked_over_an_attempt_that_ended: ("500 where both tokens end together", False),
}
#: No provider of the proof takes back a refusal: found by a test of its own.
BY_A_TEST: dict[Mutant, Callable[[], None]] = {
    mutants.a_strike_is_the_last_word: test_rotation_attempt.test_a_second_rejection_requires_a_person,
}


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: str(mutant.__name__))
def test_the_proof_finds_a_planted_mistake(mutant: Mutant) -> None:
    with mutant():
        assert explore(BY_NAME[MUTANTS[mutant]], 1).failures


@pytest.mark.parametrize("mutant", OF_DOUBTS, ids=lambda mutant: str(mutant.__name__))
def test_the_proof_finds_a_planted_mistake_about_a_doubt_or_a_circuit(mutant: Mutant) -> None:
    name, faults, order = OF_DOUBTS[mutant]
    with mutant():
        assert explore(BY_NAME[name], faults, order).failures


@pytest.mark.parametrize("mutant", BY_TWO, ids=lambda mutant: str(mutant.__name__))
def test_the_proof_finds_a_planted_mistake_that_takes_two_faults(mutant: Mutant) -> None:
    name, recovery = BY_TWO[mutant]
    with mutant():
        assert explore(BY_NAME[name], 2, recovery=recovery).failures


@pytest.mark.parametrize("mutant", BY_A_TEST, ids=lambda mutant: str(mutant.__name__))
def test_a_mistake_that_no_fault_brings_out_has_a_test_of_its_own(mutant: Mutant) -> None:
    with mutant(), pytest.raises(AssertionError):
        BY_A_TEST[mutant]()
