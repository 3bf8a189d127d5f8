"""Protects refresh attempts in doubt: a lost or unreadable response is replayed only where a replay is safe."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from evergrant.errors import LostResponse, NotSent, ResponsePending, TemporarilyUnavailable
from evergrant.oauth.token_set import TokenSet
from evergrant.profiles.request_specs import Revoke
from evergrant.record.circuit import Circuit, create_client_key
from evergrant.record.status import Status
from evergrant.rotation.connection_pass import Rotation
from evergrant.rotation.refresh_demand import TokenDemand
from evergrant.secret import Secret
from tests.unit.memory import Crash, MemoryCircuits, answer, seal_again
from tests.unit.rotation_world import (
    KEAP,
    LIFETIME,
    NAME,
    REQUEST_CALL,
    World,
    after_the_answer,
    break_table,
    with_grace,
    world,
)


def test_within_the_grace_a_lost_response_is_replayed_at_once() -> None:
    w = world(with_grace(KEAP, 30))
    w.faults.at, w.faults.kind = REQUEST_CALL, "after"
    result = w.run()
    assert w.faults.calls.count("provider.send") == 2
    assert result.outcome == "rotated"
    assert not w.provider.revoked


def test_within_the_grace_a_crash_is_recovered_by_the_next_worker() -> None:
    w = world(with_grace(KEAP, 60))
    w.faults.at, w.faults.kind = REQUEST_CALL, "crash-after"
    with pytest.raises(Crash):
        w.run()
    w.clock.advance(45)
    assert w.run().outcome == "rotated"
    assert w.stored.refresh_token == Secret("refresh-1")


def test_a_replay_whose_turn_comes_after_the_grace_is_not_sent() -> None:
    w = world(with_grace(KEAP, 60))
    w.faults.at, w.faults.kind = REQUEST_CALL, "crash-after"
    with pytest.raises(Crash):
        w.run()
    w.clock.advance(45)

    @contextmanager
    def turn() -> Iterator[None]:
        w.clock.advance(20)  # five others of the batch ask slow providers
        yield

    result = Rotation(w.ports, w.settings, w.clock.now() + 59, turn()).run(TokenDemand(NAME))
    assert result.outcome == "waiting"
    assert not w.provider.revoked
    assert w.record().attempt_replays == 0


def test_a_replay_whose_probe_is_claimed_after_the_grace_is_not_sent() -> None:
    """The replay was free of harm when it was decided, so it does not count, and is not sent once it would harm."""
    now = 1_800_000_000
    w = world(with_grace(KEAP, 60), attempt_id="before", attempt_at=now - 55, in_doubt_since=now - 40)
    circuits = MemoryCircuits(w.faults)
    key = create_client_key("keap")
    circuits.items[key] = Circuit(key, opened_at=now - 7200, probed_at=now - 60, version="another entry")
    w.ports = replace(w.ports, circuits=circuits)
    change = circuits.change

    def slow(*args: Any, **kwargs: Any) -> Circuit:
        w.clock.advance(10)
        return change(*args, **kwargs)

    circuits.change = slow  # type: ignore[method-assign]
    w.run()
    assert circuits.items[key].version == w.vault.clients["keap"].version, "the probe was claimed"
    assert w.provider.requests == []
    assert w.record().attempt_replays == 0


def test_an_unclear_attempt_between_look_and_marker_is_seen() -> None:
    """The other worker's attempt left no marker. Its refresh token may have been used all the same, and is spared."""
    w = world()
    w.provider.script = [answer(500, b"")]
    prepare = w.ports.seal.prepare

    def overtaken(*args: Any) -> Any:
        w.ports.seal.prepare = prepare  # type: ignore[method-assign]
        w.run()
        return prepare(*args)

    w.ports.seal.prepare = overtaken  # type: ignore[assignment]
    w.run()
    assert len(w.provider.requests) == 1
    assert w.record().attempt_id is None


def make_young(w: World) -> TokenSet:
    """Have the token refreshed early in its life, so that there is something left to wait for."""
    now = int(w.clock.now())
    young = replace(w.stored, issued_at=now - 3600, expires_at=now + LIFETIME - 3600)
    sealed = seal_again(NAME, 1, young)
    w.records.items[NAME] = replace(w.record(), sealed=sealed, issued_at=young.issued_at, expires_at=young.expires_at)
    return young


@pytest.mark.parametrize(
    ("lost", "in_flight"), [(LostResponse("gone", "timeout"), 900), (answer(500, b"<html>oops</html>"), 0)]
)
def test_without_grace_a_used_token_is_sent_again_at_the_last_try(lost: Any, in_flight: int) -> None:
    """A lost response and an unclear one: half a minute before the access token expires, and freely after its end.

    A lost one may be in flight until then.
    """
    w = world()
    young = make_young(w)
    w.provider.script = [lost]
    assert w.run().outcome == "failed"
    assert w.record().refresh_at == young.expires_at - 30
    # A caller is served the old access token, which lives on.
    assert w.run(caller_waits=True).tokens == young
    with pytest.raises(ResponsePending):
        w.run(caller_waits=True, force=True)
    assert len(w.provider.requests) == 1

    w.clock.time = float(w.record().refresh_at or 0)
    w.provider.script = [lost]
    w.run()
    assert len(w.provider.requests) == 2
    assert w.record().refresh_at == max(young.expires_at, young.expires_at - 30 + in_flight)
    while w.clock.now() < young.expires_at:
        w.run()
        w.clock.advance(5)
    assert len(w.provider.requests) == 2, "never a third time while the access token lives"
    w.clock.time = float(w.record().refresh_at or 0)
    assert w.run().outcome == "rotated"
    assert w.record().status is Status.ACTIVE


def test_where_revocation_ends_all_a_lost_response_is_replayed_once() -> None:
    """The one counted replay is at stake for all connections of the account; then it is probed daily, once expired."""
    w = world(msgspec.structs.replace(KEAP, revoke=Revoke(url="https://{host}/revoke", scope="grant")))
    young = make_young(w)
    w.provider.script = [LostResponse("gone"), LostResponse("gone again")]
    w.run()
    w.clock.time = float(w.record().refresh_at or 0)
    w.run()
    assert w.record().status is Status.AUTHORIZATION_REQUIRED
    while w.clock.now() < young.expires_at + 3600:
        w.run()
        w.clock.advance(600)
    assert len(w.provider.requests) == 2
    w.clock.time = float(w.record().refresh_at or 0)
    assert w.run().outcome == "rotated", "the provider may never have acted"
    assert w.record().status is Status.ACTIVE


def test_a_reported_rejection_ends_the_sparing_of_a_used_token() -> None:
    """A consumer whose access token is rejected has nothing to lose: the refresh token is sent again at once."""
    w = world()
    young = make_young(w)
    w.provider.script = [answer(500, b"oops")]
    w.run()
    w.clock.advance(60)
    result = w.run(caller_waits=True, rejected=young.access_token.fingerprint)
    assert result.outcome == "rotated"
    assert w.record().token_rejected_at is None


NOT_ACTED_UPON = {
    "not sent": NotSent("no route"),
    "rate limited": answer(429, b""),
    "timed out": answer(408, b""),
    "client refused": answer(401, {"error": "invalid_client"}),
}


def crash_after_request(w: World) -> str:
    w.faults.at, w.faults.kind = REQUEST_CALL, "crash-after"
    with pytest.raises(Crash):
        w.run()
    assert w.record().attempt_id
    w.clock.advance(41)  # the lease is over
    return str(w.record().attempt_id)


@pytest.mark.parametrize("then", NOT_ACTED_UPON.values(), ids=NOT_ACTED_UPON)
def test_a_replay_the_provider_did_not_act_on_leaves_the_doubt(then: Any) -> None:
    """While a response may be in flight, a replay that the provider did not act upon leaves the doubt as it was."""
    w = world(with_grace(KEAP, 60))
    attempt_id = crash_after_request(w)
    w.provider.script = [then]
    w.run()
    assert len(w.provider.requests) == 2
    assert (w.record().attempt_id, w.record().attempt_replays) == (attempt_id, 0), "it may still be tried once"
    assert (w.record().status, w.record().unclear_at) == (Status.DEGRADED, None)


@pytest.mark.parametrize("then", NOT_ACTED_UPON.values(), ids=NOT_ACTED_UPON)
def test_a_doubt_does_not_outlive_the_last_response_in_flight(then: Any) -> None:
    """A quarter of an hour later no response is in flight any more: the attempt is over, its outcome unclear."""
    w = world()
    crash_after_request(w)
    w.run()
    assert (w.record().status, w.record().refresh_at) == (Status.DEGRADED, (w.record().expires_at or 0) - 30)
    sent_at = w.record().attempt_at
    w.clock.time = float(w.record().refresh_at or 0)
    w.provider.script = [then]
    w.run()
    assert (w.record().attempt_id, w.record().unclear_at) == (None, sent_at)
    assert w.record().refresh_at == w.record().expires_at, "the next try, when nothing is left to lose"


@pytest.mark.parametrize("then", [NotSent("no route"), answer(429, b"")], ids=["not sent", "rate limited"])
def test_within_an_attempt_a_lost_response_outweighs_what_follows(then: Any) -> None:
    w = world(with_grace(KEAP, 30))
    w.provider.script = [LostResponse("gone"), then]
    w.run()
    assert w.record().attempt_id is not None
    assert w.record().last_error == "lost_response"
    again = w.record().refresh_at or 0
    assert w.clock.now() < again <= w.clock.now() + 30, "a moment later, within the grace"


def test_a_server_error_ends_its_attempt() -> None:
    """An answer that arrived whole is not a lost one: no other worker can hold it."""
    w = world()
    w.provider.script = [answer(500, b"<html>oops</html>", content_type="text/html")]
    w.run()
    record = w.record()
    assert (record.attempt_id, record.in_doubt_since, record.unclear_at) == (None, None, int(w.clock.now()))
    assert (record.last_error, record.last_status, record.last_detail) == ("unclear", 500, "text/html")


def test_within_the_grace_an_unclear_answer_is_asked_for_again_soon() -> None:
    w = world(with_grace(KEAP, 60))
    w.provider.script = [answer(502, b"")]
    w.run()
    assert 0 < (w.record().refresh_at or 0) - w.clock.now() <= 10
    w.clock.time = float(w.record().refresh_at or 0)
    assert w.run().outcome == "rotated"


def test_an_unreadable_success_is_kept_and_no_further_attempt_is_made() -> None:
    w = world()
    w.provider.script = [answer(200, {"result": {"token": "access-9"}})]
    w.run()
    assert w.record().unreadable_response is not None
    assert (w.record().status, w.record().last_error) == (Status.DEGRADED, "unreadable_response")
    assert w.record().refresh_at is None
    w.clock.advance(3600)
    w.run()
    assert len(w.provider.requests) == 1


@pytest.mark.parametrize("status", [Status.DEGRADED, Status.CLIENT_REFUSED])
def test_an_unreadable_response_is_reported_after_any_earlier_failure(status: Status) -> None:
    w = world(status=status, failures=3, last_error="invalid_client")
    w.provider.script = [answer(200, {"result": {"token": "access-9"}})]
    w.run()
    assert (w.record().status, w.record().last_error) == (Status.DEGRADED, "unreadable_response")
    [event] = w.bus.events.values()
    assert (event["type"], event["detail"]["reason"], event["detail"]["alert"]) == (
        "Connection Degraded",
        "unreadable_response",
        True,
    )


def test_a_lost_response_is_not_retried_at_the_table_its_marker_says_it() -> None:
    """A lost response needs no retries at the table, since its attempt marker says the same."""
    w = world()
    begun = w.clock.now()

    def lost(*args: Any, **kwargs: Any) -> Any:
        break_table(w)
        raise LostResponse("gone")

    w.provider.send = lost  # type: ignore[method-assign]
    assert w.run().outcome == "failed"
    assert w.clock.now() - begun < 6
    assert w.record().attempt_id is not None


def test_a_caller_changes_nothing_in_a_record_that_is_in_doubt() -> None:
    """A caller that asks while a refresh attempt is in doubt changes nothing in its record."""
    w = world(direct_read=False)
    w.provider.script = [LostResponse("gone")]
    w.run()
    before = w.record()
    w.clock.time = before.expires_at or 0
    w.records.items[NAME] = before = replace(before, refresh_at=int(w.clock.now()) + 600)
    for _ in range(3):
        with pytest.raises(TemporarilyUnavailable):
            w.run(caller_waits=True)
    assert w.record() == before


def test_a_forced_refresh_waits_for_a_response_that_may_be_queued() -> None:
    """An operator cannot have a token sent again while its response may be in the queue."""
    w = world()
    change = w.records.change
    after_the_answer(w, lambda: break_table(w))
    w.run()
    w.records.change = change  # type: ignore[method-assign]
    w.clock.advance(45)
    last_try_at = (w.record().expires_at or 0) - 30
    with pytest.raises(ResponsePending) as pending:
        w.run(caller_waits=True, force=True)
    assert pending.value.as_dict()["retry_after"] == last_try_at - int(w.clock.now())
    w.run()
    w.clock.advance(45)
    before = w.record()
    with pytest.raises(ResponsePending) as pending:
        w.run(caller_waits=True, force=True)
    assert pending.value.as_dict()["retry_after"] == last_try_at - int(w.clock.now())
    assert w.record() == before, "the schedule says what it is about"
    w.clock.time = last_try_at - 1.0
    with pytest.raises(ResponsePending, match="keap/main"):
        w.run(caller_waits=True, force=True)
    assert len(w.provider.requests) == 1
    w.receive()
    assert w.run(caller_waits=True, force=True).outcome == "rotated"
    assert not w.provider.revoked


def test_a_forced_refresh_of_an_expired_token_waits_for_what_is_in_flight() -> None:
    """An expired token has nothing to lose but the response that another worker may hold, for a quarter of an hour."""
    w = world()
    w.provider.script = [LostResponse("gone")]
    w.clock.time = (w.record().expires_at or 0) + 1.0
    w.run()
    with pytest.raises(ResponsePending) as pending:
        w.run(caller_waits=True, force=True)
    assert pending.value.as_dict()["retry_after"] == 900
    w.clock.advance(900)
    assert w.run(caller_waits=True, force=True).outcome == "rotated"


def test_within_the_grace_an_operator_need_not_wait_at_all() -> None:
    w = world(with_grace(KEAP, 60))
    w.faults.at, w.faults.kind = REQUEST_CALL, "crash-after"
    with pytest.raises(Crash):
        w.run()
    w.clock.advance(41)
    assert w.run(caller_waits=True, force=True).outcome == "rotated"
