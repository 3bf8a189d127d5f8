"""Protects what the torture may wait for: what Evergrant puts off for minutes is due at once, however often it must."""

from __future__ import annotations

import time
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from evergrant.record.connection import Connection, Status
from local.torture.recovery import Haste
from tests.unit.samples import connection


class Observer:
    """Notes what is done to a record."""

    def __init__(self) -> None:
        self.done: list[str] = []

    def let_settle(self, record: Connection, now: int) -> bool:
        self.done.append("let settle")
        return True

    def hurry(self, record: Connection, now: int) -> None:
        self.done.append("made due")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    clock = SimpleNamespace(now=1_000_000.0)
    monkeypatch.setattr(time, "time", lambda: clock.now)
    monkeypatch.setattr(time, "monotonic", lambda: clock.now)
    return clock


def test_a_doubt_is_settled_again_whose_one_attempt_never_left(clock: SimpleNamespace) -> None:
    place: Any = SimpleNamespace(party=lambda name: SimpleNamespace(grace=0))
    observer: Any = Observer()
    haste = Haste(place, observer, lambda record: False)
    doubtful = replace(connection(), status=Status.DEGRADED, attempt_id="s", attempt_at=999_000, failures=1)

    haste.make([doubtful])
    haste.make([doubtful])  # on its way
    clock.now += 5
    haste.make([replace(doubtful, failures=2, refresh_at=1_000_300)])

    assert observer.done == ["let settle", "let settle"]
