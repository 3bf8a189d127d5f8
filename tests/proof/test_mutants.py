"""Shows that the proof can fail: each of these mistakes, planted while it runs, is found by it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any
from unittest import mock

import pytest

from evergrant import deferred, transitions
from evergrant.asking import Ask
from evergrant.connection import Connection, Sealed
from evergrant.errors import Conflict
from evergrant.profile import Profile
from evergrant.publication import Publication
from evergrant.rotation import Rotation
from evergrant.saving import Saving
from evergrant.spending import Spend
from evergrant.tokens import TokenSet
from tests.proof.exploring import explore
from tests.proof.ports import Queue
from tests.proof.scenarios import SCENARIOS

Mutant = Callable[[], Any]
BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}


def fenced_by_the_lease() -> Any:
    """A save that is given up when the lease is another's, instead of one that is fenced by generation."""

    def keep(self: Saving, connection: Connection, changes: Mapping[str, Any], deadline: float) -> Connection:
        try:
            return self.records.change(connection.name, changes, only_if={"lease_owner": connection.lease_owner})
        except Conflict as conflict:
            return conflict.current or connection

    return mock.patch.object(Saving, "keep", keep)


def not_fenced() -> Any:
    """A save that goes through whatever was saved before it."""

    def fenced(self: Saving, name: str, changes: Mapping[str, Any], generation: int, status: str) -> Connection:
        return self.records.change(name, changes)

    return mock.patch.object(Saving, "fenced", fenced)


def no_marker() -> Any:
    """A lease, and no word of what is about to be spent."""
    marked = Rotation._marked

    def unmarked(self: Rotation, connection: Connection, marks: Mapping[str, Any]) -> Connection:
        return marked(self, connection, {**marks, "spend_id": None, "spend_at": None, "spend_tries": 0})

    return mock.patch.object(Rotation, "_marked", unmarked)


def published_before_it_is_saved() -> Any:
    saved = Rotation._saved

    def published(self: Rotation, spend: Spend, ask: Ask, tokens: TokenSet, data_key: Any) -> Any:
        following = replace(spend.connection, generation=spend.connection.generation + 1)
        self._publication.publish(following, spend.profile, tokens, self._worker)
        return saved(self, spend, ask, tokens, data_key)

    return mock.patch.object(Rotation, "_saved", published)


def replayed_outside_the_grace() -> Any:
    return mock.patch.object(transitions, "may_replay", return_value=True)


def probed_while_an_answer_may_be_on_its_way() -> Any:
    return mock.patch.object(transitions, "SETTLED", 0)


def forced_while_an_answer_may_be_on_its_way() -> Any:
    replay_at = transitions.replay_at

    def at_once(connection: Connection, profile: Profile, now: int, *, forced: bool = False) -> int | None:
        return now if forced else replay_at(connection, profile, now)

    return mock.patch.object(transitions, "replay_at", at_once)


def unsealed_in_the_queue() -> Any:
    message = deferred.message

    def legible(connection: Connection, changes: Mapping[str, Any]) -> dict[str, Any]:
        sealed: Sealed = changes["sealed"]
        return {**message(connection, changes), "plain": bytes(255 - byte for byte in sealed.text).decode()}

    return mock.patch.object(deferred, "message", legible)


def nothing_in_the_queue() -> Any:
    return mock.patch.object(Queue, "arrive", return_value=None)


def forgotten_events() -> Any:
    return mock.patch.object(Publication, "_put", lambda self, connection: frozenset(connection.outbox))


MUTANTS: dict[Mutant, str] = {
    fenced_by_the_lease: "lapsed",
    not_fenced: "a re-connect while it rotates",
    no_marker: "no grace",
    published_before_it_is_saved: "no grace",
    replayed_outside_the_grace: "no grace",
    probed_while_an_answer_may_be_on_its_way: "lapsed",
    forced_while_an_answer_may_be_on_its_way: "forced while its answer is in the queue",
    unsealed_in_the_queue: "the table down for 20 s",
    nothing_in_the_queue: "the table down for 20 s",
    forgotten_events: "no grace",
}


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: str(mutant.__name__))
def test_the_proof_finds_a_planted_mistake(mutant: Mutant) -> None:
    with mutant():
        assert explore(BY_NAME[MUTANTS[mutant]], 1).failures


@pytest.mark.parametrize("name", sorted(set(MUTANTS.values())))
def test_without_a_mistake_it_finds_none(name: str) -> None:
    assert not explore(BY_NAME[name], 1).failures
