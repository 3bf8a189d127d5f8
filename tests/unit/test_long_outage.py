"""Protects a token set that the table will not take for long: one message carries it, until it is saved."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import Mock

import pytest

from evergrant.adapters.observability import metrics
from evergrant.connect import operator_actions
from evergrant.errors import EvergrantError
from evergrant.ports import PortUnavailable
from evergrant.record.status import Status
from evergrant.rotation import handler
from evergrant.rotation.connection_pass import Rotation
from evergrant.rotation.handler import process_batch
from evergrant.secret import Secret
from tests.unit.rotation_world import NAME, World, world

MINUTE = 60
#: The rotation queue as template.yaml has it.
VISIBILITY, RECEIVES = 360, 5


@pytest.fixture(autouse=True)
def counted(monkeypatch: pytest.MonkeyPatch) -> Mock:
    """More passes than an invocation has data points for."""
    monkeypatch.setattr(handler, "metrics", metrics := Mock())
    return metrics


@dataclass
class Sqs:
    """The rotation queue with its dead letters, over a world's."""

    world: World
    #: When each may be received, how often it was, and what it says.
    waiting: list[tuple[float, int, dict[str, Any]]] = field(default_factory=list)
    dead: list[dict[str, Any]] = field(default_factory=list)
    received: int = 0
    most: int = 0

    def pass_time(self, seconds: float) -> None:
        clock, until = self.world.clock, self.world.clock.now() + seconds
        self._take()
        while self.waiting and min(at for at, _, _ in self.waiting) <= until:
            self.waiting.sort(key=lambda message: message[0])
            at, receives, message = self.waiting.pop(0)
            clock.time = max(clock.time, at)
            self.received += 1
            assert self.received < 1000, "messages multiply"
            begun, done = clock.now(), self._work(message)
            if not done and receives + 1 == RECEIVES:
                self.dead.append(message)
            elif not done:
                self.waiting.append((begun + VISIBILITY, receives + 1, message))
            self._take()
        clock.time = max(clock.time, until)

    def redrive(self) -> None:
        self.waiting += [(self.world.clock.now(), 0, message) for message in self.dead]
        self.dead = []

    def _work(self, message: dict[str, Any]) -> bool:
        w, deadline = self.world, self.world.clock.now() + 59
        received = [{"messageId": "1", "body": json.dumps(message)}]
        answer = process_batch(lambda: Rotation(w.ports, w.settings, deadline), received, w.clock, deadline)
        metrics.clear_metrics()  # as the handler does, at the end of each invocation
        return not answer["batchItemFailures"]

    def _take(self) -> None:
        sent, self.world.queue.messages = self.world.queue.messages, []
        self.waiting += [(self.world.clock.now() + delay, 0, message) for message, delay in sent]
        self.most = max(self.most, len(self.waiting) + len(self.dead))


class Table:
    """Fails for reads and writes from the provider's answer on, until the test repairs it."""

    def __init__(self, w: World) -> None:
        self.down = False
        get, change, send = w.records.get, w.records.change, w.provider.send

        def answered(*args: Any, **kwargs: Any) -> Any:
            answer = send(*args, **kwargs)
            self.down = True
            return answer

        def when_up(call: Any) -> Any:
            def tried(*args: Any, **kwargs: Any) -> Any:
                if self.down:
                    raise PortUnavailable("the table is down")
                return call(*args, **kwargs)

            return tried

        w.provider.send = answered  # type: ignore[method-assign]
        w.records.get, w.records.change = when_up(get), when_up(change)  # type: ignore[method-assign]


def outage(minutes: int, **fields: Any) -> tuple[World, Sqs, Table]:
    w = world(**fields)
    table, queue = Table(w), Sqs(w)
    w.run()
    queue.pass_time(minutes * MINUTE)
    return w, queue, table


def test_a_25_minute_table_outage_leaves_one_message_and_no_dead_letter() -> None:
    """A table that is down for 25 minutes leaves one message and no dead letter."""
    w, queue, table = outage(25)
    assert [message["task"] for _, _, message in queue.waiting] == ["save"]
    assert (queue.most, queue.received) == (1, 25 * 4 + 1)
    table.down = False
    queue.pass_time(MINUTE)
    assert (queue.waiting, queue.dead) == ([], [])
    assert w.stored.refresh_token == Secret("refresh-1")
    assert (w.record().status, w.record().attempt_id) == (Status.ACTIVE, None)
    assert len(w.provider.requests) == 1


def test_a_longer_table_outage_leaves_one_message_in_the_end_dead() -> None:
    """A table that is down for longer leaves one message, which is a dead letter in the end."""
    w, queue, table = outage(80)
    # After an hour it is the queue that brings it back, and no copy is made any more.
    [(_, receives, message)] = queue.waiting
    assert (receives > 1, message["resent"], queue.most) == (True, 240, 1)
    queue.pass_time(20 * MINUTE)
    assert (queue.waiting, [dead["task"] for dead in queue.dead], queue.most) == ([], ["save"], 1)
    table.down = False
    queue.redrive()
    queue.pass_time(MINUTE)
    assert (queue.waiting, queue.dead) == ([], [])
    assert w.stored.refresh_token == Secret("refresh-1")


def test_a_message_that_cannot_be_sent_again_is_the_one_that_stays() -> None:
    w, queue, table = outage(1)
    send = w.queue.send

    def down(*args: Any, **kwargs: Any) -> None:
        raise PortUnavailable("the queue takes nothing")

    w.queue.send = down  # type: ignore[method-assign]
    queue.pass_time(10 * MINUTE)
    [(_, receives, _)] = queue.waiting
    assert (receives, queue.most) == (2, 1)
    w.queue.send, table.down = send, False  # type: ignore[method-assign]
    queue.pass_time(10 * MINUTE)
    assert w.stored.refresh_token == Secret("refresh-1")


def outlast_token(**fields: Any) -> tuple[World, Sqs]:
    """The table is back, and the old token has expired; the token set is in the queue."""
    w, queue, table = outage(25, **fields)
    w.clock.time = float((w.record().expires_at or 0) + 1)
    table.down = False
    return w, queue


def run_once(w: World) -> None:
    w.run()


def read_before(w: World) -> None:
    """A reader comes first: its pass takes the lease that ran out, to publish."""
    w.clock.time = float((w.record().expires_at or 0) - 1)
    w.run(caller_waits=True)
    w.clock.advance(2)
    w.run()


def run_then_force(w: World) -> None:
    w.run()
    with suppress(EvergrantError):
        w.run(caller_waits=True, force=True)


def run_then_wake(w: World) -> None:
    w.run()
    w.run(woken=True)


def pause_and_resume(w: World) -> None:
    operator_actions.pause(w.records, NAME, w.clock)
    operator_actions.resume(w.records, NAME, w.clock)
    w.run()


@pytest.mark.parametrize("come", [run_once, read_before, run_then_force, run_then_wake, pause_and_resume])
@pytest.mark.parametrize("published_generation", [0, 1], ids=["unpublished", "published"])
def test_a_late_recovery_of_the_table_waits_for_the_queued_save(
    come: Callable[[World], None], published_generation: int
) -> None:
    """A table that comes back late in the token's life waits for the token set that is in the queue."""
    w, queue = outlast_token(published_generation=published_generation)
    come(w)
    assert len(w.provider.requests) == 1, "the response may be on its way, and the refresh token was used"
    queue.pass_time(MINUTE)
    assert w.stored.refresh_token == Secret("refresh-1")
    assert (w.record().status, w.record().attempt_id) == (Status.ACTIVE, None)
