"""Protects publication: consumers get the current token, and no late worker publishes an older one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from evergrant.errors import NotSent
from evergrant.secret import Secret
from evergrant.times import TICK_SECONDS
from tests.unit.memory import seal_again
from tests.unit.rotation_world import NAME, after_the_answer, down, world


def test_tokens_too_short_lived_for_secrets_manager_are_not_published() -> None:
    """Tokens that live too short a time for Secrets Manager are not published there."""
    w = world(lifetime=300)
    w.run()
    assert w.vault.published == {}
    assert w.record().published_generation == w.record().generation


def test_a_refresh_that_keeps_failing_still_publishes_the_current_token() -> None:
    """A refresh that keeps failing does not keep the current token from consumers."""
    w = world(published_generation=0)
    w.provider.script = [NotSent("no route")]
    assert w.run().outcome == "failed"
    assert w.vault.published[NAME]["access_token"] == "access-0"
    assert (w.record().published_generation, w.record().lease_owner) == (1, None)
    assert 0 < (w.record().due_at or 0) - w.clock.now() <= 180, "and it is tried again"


def test_a_missing_client_still_publishes_the_current_token() -> None:
    """What is missing on our side does not keep the current token from consumers either."""
    w = world(published_generation=0)
    w.vault.clients.clear()
    assert w.run().outcome == "failed"
    assert w.vault.published[NAME]["access_token"] == "access-0"
    assert (w.record().published_generation, w.record().lease_owner) == (1, None)


def test_an_older_token_published_late_is_corrected_by_a_refused_reader() -> None:
    """An older token that was published late is corrected by the next reader that is refused."""
    w = world()
    w.run()
    document, older = dict(w.vault.published[NAME]), f"{1:016x}" + "f" * 48
    w.vault.put(NAME, {**document, "access_token": "access-0"}, older)
    assert w.vault.published[NAME]["access_token"] == "access-0"
    tokens = w.run(caller_waits=True, rejected=Secret("access-0").fingerprint).tokens
    assert tokens is not None
    assert tokens.access_token == Secret("access-1")
    assert w.vault.published[NAME] == document
    assert len(w.provider.requests) == 1
    assert w.record().lease_owner is None


def test_a_refused_token_no_longer_served_costs_one_look_and_no_write() -> None:
    """A refused token that is no longer served costs one look at the vault, and no write."""
    w = world()
    w.run()
    w.faults.calls.clear()
    w.run(caller_waits=True, rejected=Secret("access-0").fingerprint)
    assert "vault.find_current" in w.faults.calls
    assert not {"records.change", "vault.publish"} & set(w.faults.calls)


def test_a_late_worker_publishes_nothing_without_its_lease() -> None:
    """A late worker publishes nothing for a connection that was disconnected."""
    w = world()
    publish = w.vault.publish

    def slow(*_: Any, **__: Any) -> None:
        raise AssertionError("published without a lease")

    def lease_lost() -> None:
        w.clock.advance(41)

    w.vault.publish = slow  # type: ignore[method-assign]
    after_the_answer(w, lease_lost)
    w.run()
    assert w.record().generation == 2, "saved all the same"
    w.vault.publish = publish  # type: ignore[method-assign]
    w.clock.advance(TICK_SECONDS)
    w.run()
    assert w.vault.published[NAME]["access_token"] == "access-1"


def test_an_event_that_could_not_be_delivered_is_due_at_the_next_tick() -> None:
    w = world()
    bare = replace(w.stored, refresh_token=None)
    w.records.items[NAME] = replace(w.record(), sealed=seal_again(NAME, 1, bare))
    put, w.bus.put = w.bus.put, down  # type: ignore[method-assign]
    w.run()
    assert w.record().refresh_at is None
    assert 0 < (w.record().due_at or 0) - w.clock.now() <= TICK_SECONDS
    w.bus.put = put  # type: ignore[method-assign]
    w.clock.advance(TICK_SECONDS)
    w.run()
    assert w.bus.types == ["Authorization Required"]
