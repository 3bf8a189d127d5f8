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
        self.is_changed = False

    def list_open_endpoints(self) -> frozenset[str]:
        return frozenset({"https://down.example/token"})

    def allow_replay(self, record: Connection, now: int, *, is_held: bool) -> bool:
        self.done.append("replay allowed as a probe" if is_held else "replay allowed")
        return not self.is_changed

    def make_due(self, record: Connection, now: int, *, is_held: bool) -> bool:
        self.done.append("made due as a probe" if is_held else "made due")
        return not self.is_changed

    def fingerprint_refresh_token(self, record: Connection) -> str:
        return "token"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    clock = SimpleNamespace(now=1_000_000.0)
    monkeypatch.setattr(time, "time", lambda: clock.now)
    monkeypatch.setattr(time, "monotonic", lambda: clock.now)
    return clock


@pytest.fixture
def strict(clock: SimpleNamespace) -> Any:
    """A testbed whose provider has no grace."""
    return SimpleNamespace(find_party=lambda name: SimpleNamespace(grace=0))


def test_a_replay_that_was_never_sent_is_allowed_again(clock: SimpleNamespace, strict: Any) -> None:
    observer: Any = Observer()
    shortener = WaitShortener(strict, observer, lambda record: False)
    in_doubt = replace(connection(), status=Status.DEGRADED, attempt_id="s", attempt_at=999_000, failures=1)

    shortener.shorten([in_doubt])
    shortener.shorten([in_doubt])  # on its way
    clock.now += 5
    shortener.shorten([replace(in_doubt, failures=2, refresh_at=1_000_300)])

    assert observer.done == ["replay allowed", "replay allowed"]


#: The one replay outside the grace was lost too, and the access token has expired.
PROBED = replace(
    connection(),
    status=Status.AUTHORIZATION_REQUIRED,
    attempt_id="s",
    attempt_at=999_000,
    attempt_replays=1,
    failures=2,
    expires_at=999_900,
    refresh_at=1_086_400,
)
UNREPORTED = replace(PROBED, status=Status.DEGRADED)


@pytest.mark.parametrize(("record", "done"), [(PROBED, "made due"), (UNREPORTED, "replay allowed")])
def test_a_probe_after_a_lost_replay_is_due_at_once_and_noted(
    clock: SimpleNamespace, strict: Any, record: Connection, done: str
) -> None:
    """Whether the record calls for a person already or not."""
    observer: Any = Observer()
    shortener = WaitShortener(strict, observer, lambda record: False)

    shortener.shorten([record])

    assert observer.done == [done]
    assert shortener.probes == {"token": [1_000_000.0]}


@pytest.mark.parametrize("record", [PROBED, UNREPORTED])
def test_a_probe_waits_for_the_end_of_the_access_token(clock: SimpleNamespace, strict: Any, record: Connection) -> None:
    observer: Any = Observer()
    shortener = WaitShortener(strict, observer, lambda record: False)

    shortener.shorten([replace(record, expires_at=1_000_001)])

    assert (observer.done, shortener.probes) == ([], {})


@pytest.mark.parametrize("record", [PROBED, UNREPORTED])
def test_no_probe_is_noted_for_a_record_that_changed(clock: SimpleNamespace, strict: Any, record: Connection) -> None:
    observer: Any = Observer()
    observer.is_changed = True
    shortener = WaitShortener(strict, observer, lambda record: False)

    shortener.shorten([record])

    assert shortener.probes == {}


@pytest.mark.parametrize(
    ("record", "done"),
    [
        (replace(connection(), failures=1, refresh_at=1_000_300), "made due"),
        (replace(UNREPORTED, attempt_replays=0), "replay allowed"),
    ],
    ids=["a backoff", "the counted replay"],
)
def test_what_is_no_probe_is_not_noted(clock: SimpleNamespace, strict: Any, record: Connection, done: str) -> None:
    observer: Any = Observer()
    shortener = WaitShortener(strict, observer, lambda record: False)

    shortener.shorten([record])

    assert (observer.done, shortener.probes) == ([done], {})


@pytest.mark.parametrize(
    ("record", "done"),
    [
        (replace(connection(), failures=1, refresh_at=1_000_300), "made due as a probe"),
        (replace(UNREPORTED, attempt_replays=0), "replay allowed as a probe"),
    ],
    ids=["a backoff", "the counted replay"],
)
def test_what_an_open_circuit_holds_back_is_sent_as_its_probe(
    clock: SimpleNamespace, strict: Any, record: Connection, done: str
) -> None:
    """A message of another kind would be in vain, and would take the claim of the tick's probes away."""
    observer: Any = Observer()
    shortener = WaitShortener(strict, observer, lambda record: False)

    shortener.shorten([replace(record, endpoint="https://down.example/token")])

    assert observer.done == [done]
