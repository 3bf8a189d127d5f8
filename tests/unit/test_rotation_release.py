"""Protects the release: each refresh sets the due date of the next, and sends a message where a tick is too late."""

from __future__ import annotations

from dataclasses import replace

import msgspec

from evergrant.errors import LostResponse
from evergrant.profiles.response_specs import ExpiryRule
from evergrant.times import TICK_SECONDS
from tests.unit.memory import answer
from tests.unit.rotation_world import KEAP, NAME, with_grace, with_rate, world


def test_a_refresh_before_the_next_tick_sends_its_message_on_time() -> None:
    """A refresh due before the next tick sends its own message, at the exact time."""
    w = world(lifetime=60)
    w.run()
    [(message, delay)] = w.queue.messages
    assert message == {"connection": NAME}
    assert w.clock.now() + delay == w.record().refresh_at
    assert (w.record().due_at or 0) > (w.record().refresh_at or 0), "claimed, so that the tick does not send it too"


def test_a_refresh_due_after_the_next_tick_is_left_to_it() -> None:
    w = world(lifetime=4 * TICK_SECONDS)
    w.run()
    assert w.queue.messages == []
    assert w.record().due_at == w.record().refresh_at


def test_with_a_declared_rate_a_retry_after_a_failure_waits_for_a_tick() -> None:
    """Where a rate is declared, a try after a failure is left to the tick, at any wait."""
    w = world(with_rate(KEAP))
    for _ in range(20):
        w.provider.script = [answer(429, b"")]
        w.run()
        assert w.queue.messages == []
        assert w.record().due_at == w.record().refresh_at
        w.clock.time = w.record().refresh_at or 0


def test_with_a_declared_rate_a_token_expiring_before_the_tick_is_in_time() -> None:
    """Where a rate is declared, a token that would expire before the next tick is refreshed in time."""
    w = world(with_rate(KEAP), lifetime=60)
    w.run()
    assert [w.clock.now() + delay for _, delay in w.queue.messages] == [w.record().refresh_at]
    w.queue.messages.clear()
    w.provider.script = [answer(429, b"")]
    w.clock.time = w.record().refresh_at or 0
    w.run()
    assert w.queue.messages == [], "its provider has said that this is too much"


def test_with_a_declared_rate_a_lost_response_is_replayed_within_grace() -> None:
    """Where a rate is declared, a request whose response was lost is replayed before its grace is over."""
    w = world(with_rate(with_grace(KEAP, 60)))
    w.provider.script = [LostResponse("made to fail")] * 10
    w.run()
    [(_, delay)] = w.queue.messages
    w.clock.advance(delay)
    w.provider.script.clear()
    assert w.run().outcome == "rotated"


def test_a_refresh_token_whose_end_does_not_move_is_not_raced_against() -> None:
    w = world(lifetime=7200)
    ends_at = int(w.clock.now()) + 9000
    script = [{"access_token": f"a-{n}", "refresh_token": f"r-{n}", "expires_in": 7200} for n in range(50)]
    profile = msgspec.structs.replace(
        KEAP,
        response=msgspec.structs.replace(KEAP.response, refresh_expires=(ExpiryRule(path="ends", format="epoch"),)),
    )
    w.ports.profiles.load_pinned = lambda content_hash: profile  # type: ignore[method-assign]
    w.provider.script = [answer(200, {**body, "ends": ends_at}) for body in script]
    for _ in range(40):
        w.run()
        w.clock.time = max(w.clock.time + 1, float(w.record().refresh_at or 0))
    assert len(w.provider.requests) == 40
    assert w.clock.now() - 1_800_000_000 > 38 * 2000, "refreshed by its life, not ever faster towards the end"


def test_a_pass_warns_once_of_a_grant_that_ends_soon() -> None:
    """A pass warns once of a grant that ends soon, and schedules the connection as before."""
    w = world(due=False)
    now = int(w.clock.now())
    ends_at, day = now + 20 * 86_400, 86_400
    w.records.items[NAME] = replace(w.record(), refresh_expires_at=ends_at, warn_at=now - 5, due_at=now - 5)
    assert w.run().outcome == "published"
    assert w.bus.types == ["Grant Expiring"]
    assert (w.record().warn_at, w.record().due_at) == (ends_at - 7 * day, w.record().refresh_at)
    assert w.run().outcome == "fresh"
    assert w.bus.types == ["Grant Expiring"]
    assert not w.provider.requests
