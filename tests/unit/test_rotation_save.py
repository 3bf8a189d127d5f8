"""Protects the save: a token set in hand is kept, and never overwrites what another worker or an operator saved."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from evergrant.ports import PortUnavailable
from evergrant.record.connection import Connection
from evergrant.record.status import Status
from evergrant.rotation.connection_pass import Rotation
from evergrant.secret import Secret
from tests.unit.memory import answer, seal_again
from tests.unit.rotation_world import LIFETIME, NAME, after_the_answer, break_table, down, world


def test_a_late_response_does_not_overwrite_another_workers_generation() -> None:
    """A late response does not overwrite the generation that another worker saved."""
    w = world()
    send = w.provider.send

    def overtaken(*args: Any, **kwargs: Any) -> Any:
        response = send(*args, **kwargs)
        other = replace(w.stored, refresh_token=Secret("refresh-of-a-new-grant"))
        sealed = seal_again(NAME, 2, other)
        w.records.items[NAME] = replace(w.record(), generation=2, sealed=sealed)
        return response

    w.provider.send = overtaken  # type: ignore[method-assign]
    assert w.run().outcome == "busy"
    assert w.stored.refresh_token == Secret("refresh-of-a-new-grant")


def test_a_worker_past_its_lease_with_the_first_response_still_saves() -> None:
    """A worker whose lease ran out, but which brings the first response, still wins."""
    w = world()
    send = w.provider.send

    def slow(*args: Any, **kwargs: Any) -> Any:
        response = send(*args, **kwargs)
        w.records.items[NAME] = replace(w.record(), lease_owner="other", lease_until=int(w.clock.now()) + 40)
        return response

    w.provider.send = slow  # type: ignore[method-assign]
    assert w.run().outcome == "rotated"
    assert w.stored.refresh_token == Secret("refresh-1")


def test_a_pause_during_the_attempt_keeps_the_response_and_stays_paused() -> None:
    w = world()
    send = w.provider.send

    def paused(*args: Any, **kwargs: Any) -> Any:
        response = send(*args, **kwargs)
        w.records.items[NAME] = replace(w.record(), status=Status.PAUSED, due_at=None, due_shard=None)
        return response

    w.provider.send = paused  # type: ignore[method-assign]
    w.run()
    assert w.stored.refresh_token == Secret("refresh-1")
    assert w.record().status is Status.PAUSED
    assert w.record().due_at is None


@pytest.mark.parametrize(
    ("meanwhile", "stands"),
    [
        (Status.AUTHORIZATION_REQUIRED, Status.DEGRADED),
        (Status.CLIENT_REFUSED, Status.DEGRADED),
        (Status.AWAITING_AUTHORIZATION, Status.AWAITING_AUTHORIZATION),
        (Status.PAUSED, Status.PAUSED),
    ],
)
@pytest.mark.parametrize("queued", [False, True], ids=["in-the-record", "in-the-queue"])
def test_a_status_that_changed_meanwhile_costs_no_response(meanwhile: Status, stands: Status, queued: bool) -> None:
    """A token set and an unreadable response are saved over any status that another worker or an operator has set."""

    def change_status() -> None:
        w.records.items[NAME] = replace(w.record(), status=meanwhile)
        if queued:
            break_table(w)

    for response in (None, answer(200, {"result": {"token": "access-9"}})):
        # Its last token set is unpublished, so that the save of the next one leaves it degraded.
        w = world(status=Status.DEGRADED, alerted_at=1, published_generation=0)
        w.provider.script = [response] if response else []
        w.vault.publish = down  # type: ignore[method-assign]
        change = w.records.change
        after_the_answer(w, change_status)
        w.run()
        w.records.change = change  # type: ignore[method-assign]
        for message, _ in w.queue.messages:
            assert Rotation(w.ports, w.settings).save_from_queue(message)
        assert w.record().status is stands
        assert w.record().unreadable_response if response else w.stored.refresh_token == Secret("refresh-1")


def test_a_disconnect_during_the_attempt_is_not_undone_by_its_response() -> None:
    w = world()
    send = w.provider.send

    def disconnected(*args: Any, **kwargs: Any) -> Any:
        response = send(*args, **kwargs)
        w.records.items[NAME] = replace(w.record(), status=Status.DISCONNECTED, sealed=None, due_at=None)
        return response

    w.provider.send = disconnected  # type: ignore[method-assign]
    w.run()
    assert (w.record().status, w.record().sealed, w.record().generation) == (Status.DISCONNECTED, None, 1)
    assert w.vault.published == {}


def test_a_table_that_takes_no_save_leaves_the_sealed_set_in_the_queue() -> None:
    w = world()
    send, change = w.provider.send, w.records.change

    def then_the_table_is_down(*args: Any, **kwargs: Any) -> Any:
        response = send(*args, **kwargs)

        def down(*_: Any, **__: Any) -> Connection:
            raise PortUnavailable("made to fail")

        w.records.change = down  # type: ignore[method-assign]
        return response

    w.provider.send = then_the_table_is_down  # type: ignore[method-assign]
    w.run()
    assert "refresh-1" not in json.dumps(w.queue.messages), "sealed, like everything that leaves the process"
    w.records.change = change  # type: ignore[method-assign]
    w.receive()
    assert w.stored.refresh_token == Secret("refresh-1")
    assert w.record().generation == 2
    w.clock.advance(100)
    w.run()
    assert w.record().published_generation == 2


def test_table_and_queue_are_tried_in_turn_as_long_as_the_invocation_lasts() -> None:
    w = world()
    after_the_answer(w, lambda: break_table(w))
    send, failures = w.queue.send, 0

    def at_last(*args: Any, **kwargs: Any) -> None:
        nonlocal failures
        failures += 1
        if failures < 20:
            down()
        send(*args, **kwargs)

    w.queue.send = at_last  # type: ignore[method-assign]
    w.run()
    assert [message["task"] for message, _ in w.queue.messages] == ["save"]


def test_a_queued_save_that_fails_again_comes_back_in_seconds() -> None:
    """A queued save that fails again comes back in seconds, not in minutes."""
    w = world()
    change = w.records.change
    after_the_answer(w, lambda: break_table(w))
    w.run()
    [(message, _)] = w.queue.messages
    w.queue.messages.clear()
    assert not Rotation(w.ports, w.settings).save_from_queue(message)
    [(again, delay)] = w.queue.messages
    assert (again, delay) == ({**message, "resent": 1}, 15)
    w.records.change = change  # type: ignore[method-assign]
    w.receive()
    assert w.stored.refresh_token == Secret("refresh-1")
    break_table(w)
    with pytest.raises(PortUnavailable):
        Rotation(w.ports, w.settings).save_from_queue({**message, "resent": 240})


def test_an_unreadable_response_is_kept_despite_table_and_lease() -> None:
    """An unreadable response is kept, even if the table is down and the lease ran out."""
    w = world()
    w.provider.script = [answer(200, {"result": {"token": "access-9"}})]
    change = w.records.change

    def late_and_down() -> None:
        w.records.items[NAME] = replace(w.record(), lease_owner="other", lease_until=int(w.clock.now()) + 40)
        break_table(w)

    after_the_answer(w, late_and_down)
    w.run()
    w.records.change = change  # type: ignore[method-assign]
    [(message, _)] = w.queue.messages
    Rotation(w.ports, w.settings).save_from_queue(message)
    assert w.record().unreadable_response is not None
    assert w.record().refresh_at is None
    w.clock.advance(LIFETIME)
    w.run(caller_waits=False)
    assert len(w.provider.requests) == 1, "no further attempt is made, by force neither"
