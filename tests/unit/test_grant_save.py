"""Protects a new grant in hand: whichever call fails afterwards, the grant is in the record or in the queue."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from evergrant.connect.grant_save import GrantSave, NewGrant
from evergrant.connect.links import Authorization
from evergrant.ports import PortUnavailable
from evergrant.record import queued_save
from evergrant.settings import Settings
from tests.unit.memory import FakeClock, Faults, MemoryKey, MemoryQueue, MemoryRecords, MemorySeal
from tests.unit.samples import ISSUANCE, KEAP, connection, tokens

NAME = "keap/main"


class World:
    """A grant that was just given, while a rotation of the old one is saved before it."""

    def __init__(self) -> None:
        faults = Faults()
        self.clock, self.records = FakeClock(), MemoryRecords(faults)
        self.seal, self.queue = MemorySeal(faults), MemoryQueue(faults)
        self.seen = connection(generation=3)
        self.records.items[NAME] = replace(self.seen, generation=4)

    def save(self) -> None:
        granting = GrantSave(self.records, self.seal, self.queue, self.clock, Settings())
        wanted = Authorization(NAME, "keap", self.seen.profile_hash, {}, None, "https://grants.example.com/callback")
        new = NewGrant(wanted, "authorization_code", KEAP, tokens(), ISSUANCE, consented=False)
        granting.save(self.seen, new, MemoryKey(NAME, 4))


def failing(port: Any, name: str, times: float) -> list[str]:
    """Let a port's method fail so many times. Returns its calls, as they come."""
    calls: list[str] = []
    method = getattr(port, name)

    def fails(*args: Any, **kwargs: Any) -> Any:
        calls.append(name)
        if len(calls) <= times:
            raise PortUnavailable("made to fail")
        return method(*args, **kwargs)

    setattr(port, name, fails)
    return calls


def test_it_goes_on_top_of_what_was_saved_meanwhile() -> None:
    w = World()
    w.save()
    assert w.records.items[NAME].generation == 5
    assert w.queue.messages == []


def test_without_a_data_key_it_waits_sealed_in_the_queue() -> None:
    w = World()
    failing(w.seal, "prepare", float("inf"))
    w.save()
    [(message, _)] = w.queue.messages
    assert (message["task"], message["generation"]) == (queued_save.TASK, 3)


def test_data_key_and_queue_are_tried_in_turn() -> None:
    w = World()
    failing(w.seal, "prepare", 5)
    sends = failing(w.queue, "send", float("inf"))
    w.save()
    assert w.records.items[NAME].generation == 5
    assert len(sends) == 5


def test_what_kms_and_queue_reject_for_a_saves_budget_is_reported() -> None:
    w = World()
    failing(w.seal, "prepare", float("inf"))
    failing(w.queue, "send", float("inf"))
    began = w.clock.now()
    with pytest.raises(PortUnavailable):
        w.save()
    assert Settings().budgets.save <= w.clock.now() - began < Settings().budgets.save + 1
