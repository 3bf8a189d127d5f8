"""Protects the lease and the attempt marker: of several workers, one sends."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest

from evergrant.errors import TemporarilyUnavailable
from evergrant.ports import PortUnavailable
from evergrant.record.connection import Connection
from evergrant.record.status import Status
from evergrant.rotation.connection_pass import Rotation
from evergrant.rotation.refresh_demand import TokenDemand
from evergrant.secret import Secret
from tests.unit.memory import Crash
from tests.unit.rotation_world import KEAP, LIFETIME, NAME, REQUEST_CALL, with_grace, world


def test_a_scheduled_worker_leaves_a_connection_that_another_one_works_on() -> None:
    w = world(lease_owner="other", lease_until=1_800_000_030)
    assert w.run().outcome == "busy"
    assert w.provider.requests == []


def test_of_two_workers_that_looked_at_the_same_time_one_sends() -> None:
    w = world()
    first = w.records.change

    def while_we_prepared(*args: Any, **kwargs: Any) -> Connection:
        w.records.change = first  # type: ignore[method-assign]
        Rotation(w.ports, w.settings).run(TokenDemand(NAME))
        return first(*args, **kwargs)

    w.records.change = while_we_prepared  # type: ignore[method-assign]
    assert w.run().outcome == "busy"
    assert len(w.provider.requests) == 1
    assert not w.provider.revoked


def test_a_caller_waits_for_the_outcome_of_the_working_worker() -> None:
    w = world(lease_owner="other", lease_until=1_800_000_030)
    original, looked = w.records.get, 0

    def look(connection: str) -> Connection | None:
        nonlocal looked
        looked += 1
        if looked == 3:
            w.records.items[NAME] = replace(w.record(), lease_owner=None, lease_until=None)
            w.run()
        return original(connection)

    w.records.get = look  # type: ignore[method-assign]
    result = w.run(caller_waits=True, rejected=Secret("access-0").fingerprint, wait=10)
    assert result.tokens is not None
    assert result.tokens.access_token == Secret("access-1")
    assert len(w.provider.requests) == 1


def test_a_caller_waits_for_the_retry_of_a_connection_that_failed() -> None:
    """A caller waits for the next try of a connection that failed before."""
    w = world(failures=1)
    w.clock.advance(LIFETIME)
    send = w.provider.send

    def meanwhile(*args: Any, **kwargs: Any) -> Any:
        w.provider.send = send  # type: ignore[method-assign]
        asked_at = w.clock.now()
        with pytest.raises(TemporarilyUnavailable):
            w.run(caller_waits=True, wait=10)  # here nothing happens while it waits
        assert w.clock.now() - asked_at > 9
        return send(*args, **kwargs)

    w.provider.send = meanwhile  # type: ignore[method-assign]
    assert w.run().outcome == "rotated"


def test_a_marker_another_worker_acted_on_is_not_taken_back() -> None:
    """An attempt marker is not taken back once another worker has drawn a conclusion from it."""
    w = world(refresh_at=1_700_000_000)
    change, writes = w.records.change, 0

    def looks_failed(*args: Any, **kwargs: Any) -> Connection:
        nonlocal writes
        writes += 1
        if writes == 2:  # the marker that is taken back comes late: another worker found it meanwhile
            found = replace(w.record(), status=Status.DEGRADED, refresh_at=1_800_005_400, due_at=1_800_005_400)
            w.records.items[NAME] = found
        changed = change(*args, **kwargs)
        if writes == 1:
            raise PortUnavailable("made to fail, after its effect")
        return changed

    w.records.change = looks_failed  # type: ignore[method-assign]
    with suppress(PortUnavailable):
        w.run()
    assert writes == 2
    assert (w.record().refresh_at, w.record().attempt_id is None) == (1_800_005_400, False)


def test_after_a_crash_during_an_attempt_a_worker_runs_at_lease_end() -> None:
    """After a crash during a refresh attempt another worker comes by when the lease ends."""
    w = world(with_grace(KEAP, 60), due=False)  # a caller asked, long before it was due
    w.faults.at, w.faults.kind = REQUEST_CALL, "crash-after"
    with pytest.raises(Crash):
        w.run(caller_waits=True, force=True)
    assert w.record().due_at == w.record().lease_until == w.clock.now() + 40
    w.faults.at = None
    w.clock.advance(40)
    assert w.run().outcome == "rotated", "within the grace, nothing is lost"
    assert not w.provider.revoked
