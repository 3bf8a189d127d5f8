"""Protects the shortening of Evergrant's waits in the torture: a connection that waits for minutes is due at once."""

from __future__ import annotations

import time
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from evergrant.record.connection import Connection
from evergrant.record.status import Status
from local.torture.recovery import WaitShortener
from tests.unit.samples import connection


class Observer:
    """Notes what is done to a record."""

    def __init__(self) -> None:
        self.done: list[str] = []

    def allow_replay(self, record: Connection, now: int) -> bool:
        self.done.append("replay allowed")
        return True

    def make_due(self, record: Connection, now: int) -> None:
        self.done.append("made due")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    clock = SimpleNamespace(now=1_000_000.0)
    monkeypatch.setattr(time, "time", lambda: clock.now)
    monkeypatch.setattr(time, "monotonic", lambda: clock.now)
    return clock


def test_a_replay_that_was_never_sent_is_allowed_again(clock: SimpleNamespace) -> None:
    testbed: Any = SimpleNamespace(find_party=lambda name: SimpleNamespace(grace=0))
    observer: Any = Observer()
    shortener = WaitShortener(testbed, observer, lambda record: False)
    in_doubt = replace(connection(), status=Status.DEGRADED, attempt_id="s", attempt_at=999_000, failures=1)

    shortener.shorten([in_doubt])
    shortener.shorten([in_doubt])  # on its way
    clock.now += 5
    shortener.shorten([replace(in_doubt, failures=2, refresh_at=1_000_300)])

    assert observer.done == ["replay allowed", "replay allowed"]
