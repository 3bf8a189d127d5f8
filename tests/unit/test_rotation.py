"""Protects the rotation protocol: no refresh token is lost that could be kept, none is spent twice, no state lies.

The provider here revokes the whole grant when a refresh token comes twice, so every double spend shows.
"""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import parse_qsl

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from evergrant.errors import (
    AuthorizationRequired,
    ClientRefused,
    Disconnected,
    LostResponse,
    NotSent,
    Paused,
    ResponsePending,
    TemporarilyUnavailable,
    UnknownClient,
    UnknownConnection,
)
from evergrant.oauth.client import Client
from evergrant.oauth.token_set import TokenSet
from evergrant.ports import PortUnavailable, RotationPorts
from evergrant.profiles import built_in
from evergrant.profiles.model import ExpiryRule, Profile, Rate, content_hash
from evergrant.record import failures as failing
from evergrant.record.connection import Connection, Status
from evergrant.rotation.demand import Result, TokenDemand
from evergrant.rotation.refresh import Rotation
from evergrant.secret import Secret
from evergrant.settings import Settings
from evergrant.times import TICK_SECONDS
from tests.unit.memory import (
    CLIENT,
    Crash,
    FakeClock,
    Faults,
    MemoryBus,
    MemoryCircuits,
    MemoryKey,
    MemoryProfiles,
    MemoryQueue,
    MemoryRecords,
    MemorySeal,
    MemoryVault,
    RotatingProvider,
    answer,
    basic_of,
    opened,
)

NAME = "keap/main"
LIFETIME = 86_400
KEAP = built_in.load_built_in()["keap"]


def with_grace(profile: Profile, seconds: int) -> Profile:
    return msgspec.structs.replace(profile, rotation=msgspec.structs.replace(profile.rotation, reuse_grace=seconds))


@dataclass
class World:
    """One connection with a token set that is due, and everything around it."""

    faults: Faults
    clock: FakeClock
    records: MemoryRecords
    vault: MemoryVault
    provider: RotatingProvider
    queue: MemoryQueue
    bus: MemoryBus
    ports: RotationPorts
    settings: Settings
    dependency_errors: list[str] = field(default_factory=list)
    """What services refused, in all passes so far."""

    def run(self, **ask: Any) -> Result:
        rotation = Rotation(self.ports, self.settings, self.clock.now() + 59)
        try:
            return rotation.run(TokenDemand(NAME, **ask))
        finally:
            self.dependency_errors += rotation.dependency_errors

    def receive(self) -> None:
        """Work through the rotation queue, as the next workers would."""
        messages, self.queue.messages = self.queue.messages, []
        for message, _ in messages:
            rotation = Rotation(self.ports, self.settings, self.clock.now() + 59)
            if message.get("task") != "save" or rotation.save_from_queue(message):
                rotation.run(TokenDemand(NAME))

    def record(self) -> Connection:
        return self.records.items[NAME]

    @property
    def stored(self) -> TokenSet:
        sealed = self.record().sealed
        assert sealed
        return TokenSet.decode(opened(sealed))


def world(profile: Profile = KEAP, *, lifetime: int = LIFETIME, due: bool = True, **fields: Any) -> World:
    faults, clock = Faults(), FakeClock()
    records, vault, queue, bus = MemoryRecords(faults), MemoryVault(faults), MemoryQueue(faults), MemoryBus(faults)
    provider = RotatingProvider(faults, clock, lifetime, profile.rotation.reuse_grace)
    issued_at = int(clock.now()) - (lifetime * 7 // 8 if due else 60)
    tokens = TokenSet(
        access_token=Secret("access-0"),
        issued_at=issued_at,
        expires_at=issued_at + lifetime,
        expiry_rule="expires_in:seconds",
        refresh_token=Secret("refresh-0"),
    )
    connection = Connection(
        name=NAME,
        status=Status.ACTIVE,
        grant="authorization_code",
        client="keap",
        profile_hash=content_hash(profile),
        variables={"host": "api.example.com", "audience": "https://api.example.com"},
        redirect_uri="https://grants.example.com/callback",
        generation=1,
        published_generation=1,
        sealed=MemoryKey(NAME, 1).seal(tokens.encode()),
        issued_at=tokens.issued_at,
        expires_at=tokens.expires_at,
        refresh_at=int(clock.now()) if due else tokens.expires_at - 10_800,
        due_at=int(clock.now()),
        due_shard="0",
    )
    records.items[NAME] = replace(connection, **fields)
    profiles, circuits = MemoryProfiles(profile), MemoryCircuits(faults)
    ports = RotationPorts(records, profiles, vault, MemorySeal(faults), provider, queue, clock, bus, circuits)
    return World(faults, clock, records, vault, provider, queue, bus, ports, Settings())


# --- the way it usually goes ------------------------------------------------------------------------------------------


def test_a_due_connection_is_refreshed_saved_published_and_scheduled_again() -> None:
    w = world()
    assert w.run().outcome == "rotated"
    assert w.stored.refresh_token == Secret("refresh-1")
    assert w.record().generation == w.record().published_generation == 2
    assert w.vault.published[NAME]["access_token"] == "access-1"
    assert "refresh" not in json.dumps(w.vault.published[NAME])
    assert w.bus.types == ["Token Rotated"]
    assert (w.record().lease_owner, w.record().attempt_id, w.record().outbox) == (None, None, {})
    # About 21 hours ahead, 24 less the lead of 3, less the jitter.
    assert w.record().due_at == w.record().refresh_at
    assert 18 * 3600 < (w.record().refresh_at or 0) - w.clock.now() <= 21 * 3600


def test_one_refresh_takes_at_most_three_writes_to_the_table() -> None:
    w = world()
    w.run()
    assert w.faults.calls.count("records.change") == 3
    assert w.faults.calls.count("seal.prepare") + w.faults.calls.count("seal.unseal") == 2
    assert w.faults.calls.count("vault.publish") == 1


def test_everything_the_save_needs_is_fetched_before_the_attempt() -> None:
    w = world()
    w.run()
    spent = w.faults.calls.index("provider.send")
    assert {"seal.prepare", "vault.client"} <= set(w.faults.calls[:spent])
    assert w.faults.calls[spent + 1] == "records.change"


def test_a_connection_that_is_not_due_is_left_alone() -> None:
    w = world(due=False)
    assert w.run().outcome == "fresh"
    assert w.provider.requests == []


def test_a_refresh_before_the_next_tick_sends_its_message_on_time() -> None:
    """A refresh due before the next tick sends its own message, at the exact time."""
    w = world(lifetime=60)
    w.run()
    [(message, delay)] = w.queue.messages
    assert message == {"connection": NAME}
    assert w.clock.now() + delay == w.record().refresh_at
    assert (w.record().due_at or 0) > (w.record().refresh_at or 0), "claimed, so that the tick does not send it too"


def with_rate(profile: Profile) -> Profile:
    return msgspec.structs.replace(profile, rotation=msgspec.structs.replace(profile.rotation, rate=Rate(60, 60)))


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


def test_a_refresh_due_after_the_next_tick_is_left_to_it() -> None:
    w = world(lifetime=4 * TICK_SECONDS)
    w.run()
    assert w.queue.messages == []
    assert w.record().due_at == w.record().refresh_at


def test_tokens_too_short_lived_for_secrets_manager_are_not_published() -> None:
    """Tokens that live too short a time for Secrets Manager are not published there."""
    w = world(lifetime=300)
    w.run()
    assert w.vault.published == {}
    assert w.record().published_generation == w.record().generation


def test_the_older_client_secret_is_tried_when_the_newer_one_is_refused() -> None:
    w = world()
    w.vault.clients["keap"] = replace(CLIENT, secrets=(Secret("new"), Secret("old")))
    w.provider.script = [answer(401, {"error": "invalid_client"})]
    assert w.run().outcome == "rotated"
    assert [basic_of(request) for request in w.provider.requests] == ["client-1:new", "client-1:old"]


def test_too_little_time_left_hands_the_work_back_before_any_attempt() -> None:
    w = world()
    result = Rotation(w.ports, w.settings, w.clock.now() + 5).run(TokenDemand(NAME))
    assert result.outcome == "no_time"
    assert w.provider.requests == []
    assert w.record().attempt_id is None


# --- two workers ------------------------------------------------------------------------------------------------------


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


def test_a_late_response_does_not_overwrite_another_workers_generation() -> None:
    """A late response does not overwrite the generation that another worker saved."""
    w = world()
    send = w.provider.send

    def overtaken(*args: Any, **kwargs: Any) -> Any:
        response = send(*args, **kwargs)
        other = replace(w.stored, refresh_token=Secret("refresh-of-a-new-grant"))
        sealed = MemoryKey(NAME, 2).seal(other.encode())
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


def test_a_late_failure_does_not_undo_a_pause() -> None:
    w = world()

    def paused(*_: Any, **__: Any) -> Any:
        w.records.items[NAME] = replace(w.record(), status=Status.PAUSED, due_at=None, due_shard=None)
        raise NotSent("no route")

    w.provider.send = paused  # type: ignore[method-assign]
    w.run()
    assert (w.record().status, w.record().due_at) == (Status.PAUSED, None)


# --- a crash, or a failing service, at any call -----------------------------------------------------------------------

CALLS = 11
SPEND = 7


def test_the_number_of_calls_that_the_faults_below_cover_is_all_of_them() -> None:
    w = world()
    w.run()
    assert len(w.faults.calls) == CALLS
    assert w.faults.calls[SPEND - 1] == "provider.send"


@pytest.mark.parametrize("kind", ["crash-before", "crash-after", "before", "after"])
@pytest.mark.parametrize("at", range(1, CALLS + 1))
def test_the_grant_survives_any_failing_call_if_its_response_arrived(at: int, kind: str) -> None:
    """At any failing call, the grant survives wherever its response reached the worker."""
    w = world()
    w.faults.at, w.faults.kind = at, kind
    with suppress(Crash, PortUnavailable):
        w.run()
    broken = w.faults.calls[at - 1]
    lost = broken == "provider.send" and kind in ("crash-after", "after")
    never_saved = w.record().generation == 1 and w.provider.number == 1 and not w.queue.messages
    w.faults.at = None

    for _ in range(12):
        w.receive()
        w.clock.advance(120)
        w.run()

    assert not w.provider.revoked, "a spent refresh token was sent again"
    generations = [item.generation for item in w.records.history]
    assert generations == sorted(generations)
    if lost or never_saved:
        # Only an answer that never came back, or a worker killed with it in hand, is missing; and the record says so.
        assert w.record().attempt_id is not None
        assert (w.record().generation, w.record().status) == (1, Status.DEGRADED)
        return
    if w.record().attempt_id is not None:
        # Killed after the marker and before the request: nobody can tell, so it is tried once, late, and works.
        assert w.provider.number == 0
        w.clock.time = w.record().refresh_at or 0
        w.run()
    assert w.stored.refresh_token == Secret(w.provider.live or "")
    assert w.record().status is Status.ACTIVE
    assert w.vault.published[NAME]["access_token"] == w.stored.access_token.reveal()
    assert w.record().outbox == {}
    for event_type in ("Connection Degraded", "Authorization Required", "Token Rotated"):
        assert w.bus.types.count(event_type) <= 1


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


def down(*_: Any, **__: Any) -> Any:
    raise PortUnavailable("made to fail")


def after_the_answer(w: World, happens: Callable[[], None]) -> None:
    """Have something happen between the provider's answer and the save."""
    send = w.provider.send

    def answered(*args: Any, **kwargs: Any) -> Any:
        response = send(*args, **kwargs)
        happens()
        return response

    w.provider.send = answered  # type: ignore[method-assign]


def break_table(w: World) -> None:
    w.records.change = down  # type: ignore[method-assign]


def table_down_after_the_answer(w: World, seconds: int) -> None:
    """From the provider's answer on, which need not be one of ours to save."""
    change = w.records.change

    def broken() -> None:
        until = w.clock.now() + seconds

        def when_up(*args: Any, **kwargs: Any) -> Connection:
            if w.clock.now() < until:
                raise PortUnavailable("the table is down")
            return change(*args, **kwargs)

        w.records.change = when_up  # type: ignore[method-assign]

    after_the_answer(w, broken)


@pytest.mark.parametrize(
    ("refusal", "error"),
    [
        (answer(429, b""), "rate_limited"),
        (answer(400, {"error": "invalid_grant"}), "invalid_grant"),
        (answer(401, {"error": "invalid_client"}), "invalid_client"),
    ],
)
def test_a_refusal_is_written_down_even_if_the_table_takes_it_late(refusal: Any, error: str) -> None:
    w = world()
    w.provider.script = [refusal]
    table_down_after_the_answer(w, 50)
    assert w.run().outcome == "failed"
    assert (w.record().attempt_id, w.record().last_error) == (None, error)
    assert w.record().lease_owner is None


def test_a_waiting_caller_bounds_the_retries_of_saving_a_refusal() -> None:
    """A caller that waits is not held longer than its wait for the table to take a refusal."""
    for wait, held in ((25, 25), (0, 5)):
        w = world()
        w.provider.script = [answer(429, b"")]
        table_down_after_the_answer(w, 50)
        begun = w.clock.now()
        w.run(caller_waits=True, min_ttl=LIFETIME // 2, wait=wait)
        assert len(w.provider.requests) == 1
        assert held <= w.clock.now() - begun < held + 1


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
    assert (again["changes"], again["resent"], delay) == (message["changes"], 1, 15)
    w.records.change = change  # type: ignore[method-assign]
    w.receive()
    assert w.stored.refresh_token == Secret("refresh-1")
    break_table(w)
    with pytest.raises(PortUnavailable):
        Rotation(w.ports, w.settings).save_from_queue({**message, "resent": 240})


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


def test_an_unreadable_response_is_kept_despite_table_and_lease() -> None:
    """An unreadable response is kept, even if the table is down and the lease ran out."""
    w = world()
    w.provider.script = [answer(200, b"<html>welcome</html>")]
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
    assert len(w.provider.requests) == 1, "nothing more is spent, by force neither"


def test_an_event_that_could_not_be_delivered_is_due_at_the_next_tick() -> None:
    w = world()
    bare = replace(w.stored, refresh_token=None)
    w.records.items[NAME] = replace(w.record(), sealed=MemoryKey(NAME, 1).seal(bare.encode()))
    put, w.bus.put = w.bus.put, down  # type: ignore[method-assign]
    w.run()
    assert w.record().refresh_at is None
    assert 0 < (w.record().due_at or 0) - w.clock.now() <= TICK_SECONDS
    w.bus.put = put  # type: ignore[method-assign]
    w.clock.advance(TICK_SECONDS)
    w.run()
    assert w.bus.types == ["Authorization Required"]


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


def test_a_caller_of_a_grant_without_a_refresh_token_gets_the_remedy() -> None:
    """A caller that asks for a grant without a refresh token hears what to do."""
    w = world()
    bare = replace(w.stored, refresh_token=None)
    w.records.items[NAME] = replace(w.record(), sealed=MemoryKey(NAME, 1).seal(bare.encode()))
    w.clock.advance(LIFETIME)
    with pytest.raises(AuthorizationRequired):
        w.run(caller_waits=True)
    assert (w.record().status, w.record().last_error) == (Status.AUTHORIZATION_REQUIRED, "no_refresh_token")


def test_a_service_that_fails_for_long_shows_in_the_record() -> None:
    w = world()
    w.ports.seal.prepare = down  # type: ignore[method-assign]
    for _ in range(3):
        assert w.run().outcome == "failed"
        w.clock.time = max(w.clock.time, float(w.record().refresh_at or 0))
    assert (w.record().status, w.record().last_error) == (Status.DEGRADED, "service_unavailable")
    assert w.bus.types == ["Connection Degraded"]
    assert w.run(caller_waits=True, rejected="x").tokens == w.stored, "what is valid is served meanwhile"


@pytest.mark.parametrize("status", [Status.PAUSED, Status.DISCONNECTED])
def test_what_is_missing_on_our_side_does_not_undo_a_pause_or_a_disconnect(status: Status) -> None:
    w = world()

    def meanwhile(name: str) -> Client:
        w.records.items[NAME] = replace(w.record(), status=status, due_at=None)
        raise UnknownClient(name)

    w.vault.client = meanwhile  # type: ignore[method-assign]
    w.run()
    assert (w.record().status, w.record().due_at) == (status, None)


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


def test_a_client_secret_no_request_can_carry_stops_before_the_attempt() -> None:
    """A client secret that no request can carry is found out before anything is sent."""
    w = world()
    w.vault.clients["keap"] = replace(CLIENT, client_id="canary\r\nid")
    profile = msgspec.structs.replace(KEAP, refresh=KEAP.exchange)
    w.ports.profiles.pinned = lambda content_hash: profile  # type: ignore[method-assign]
    w.run()
    assert (w.record().attempt_id, w.record().last_error) == (None, "invalid_variable")
    assert w.provider.requests == []


def test_a_refresh_token_whose_end_does_not_move_is_not_raced_against() -> None:
    w = world(lifetime=7200)
    ends_at = int(w.clock.now()) + 9000
    script = [{"access_token": f"a-{n}", "refresh_token": f"r-{n}", "expires_in": 7200} for n in range(50)]
    profile = msgspec.structs.replace(
        KEAP,
        response=msgspec.structs.replace(KEAP.response, refresh_expires=(ExpiryRule(path="ends", format="epoch"),)),
    )
    w.ports.profiles.pinned = lambda content_hash: profile  # type: ignore[method-assign]
    w.provider.script = [answer(200, {**body, "ends": ends_at}) for body in script]
    for _ in range(40):
        w.run()
        w.clock.time = max(w.clock.time + 1, float(w.record().refresh_at or 0))
    assert len(w.provider.requests) == 40
    assert w.clock.now() - 1_800_000_000 > 38 * 2000, "refreshed by its life, not ever faster towards the end"


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
    assert "vault.current" in w.faults.calls
    assert not {"records.change", "vault.publish"} & set(w.faults.calls)


def test_every_request_of_an_attempt_carries_its_own_assertion() -> None:
    assert KEAP.refresh
    refresh = msgspec.structs.replace(KEAP.refresh, client_auth="private_key_jwt")
    w = world(with_grace(msgspec.structs.replace(KEAP, refresh=refresh), 60))
    key = ec.generate_private_key(ec.SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    w.vault.clients["keap"] = replace(CLIENT, secrets=(), private_key=Secret(key.decode()))
    w.provider.script = [LostResponse("gone"), LostResponse("gone")]
    assert w.run().outcome == "rotated"
    proofs = [dict(parse_qsl(request.body.decode()))["client_assertion"] for request in w.provider.requests]
    ids = {json.loads(urlsafe_b64decode(proof.split(".")[1] + "=="))["jti"] for proof in proofs}
    assert len(proofs) == len(ids) == 3


# --- doubt ------------------------------------------------------------------------------------------------------------


def test_within_the_grace_a_lost_response_is_replayed_at_once() -> None:
    w = world(with_grace(KEAP, 30))
    w.faults.at, w.faults.kind = SPEND, "after"
    result = w.run()
    assert w.faults.calls.count("provider.send") == 2
    assert result.outcome == "rotated"
    assert not w.provider.revoked


def test_within_the_grace_a_crash_is_recovered_by_the_next_worker() -> None:
    w = world(with_grace(KEAP, 60))
    w.faults.at, w.faults.kind = SPEND, "crash-after"
    with pytest.raises(Crash):
        w.run()
    w.clock.advance(45)
    assert w.run().outcome == "rotated"
    assert w.stored.refresh_token == Secret("refresh-1")


def test_a_replay_whose_turn_comes_after_the_grace_is_not_sent() -> None:
    w = world(with_grace(KEAP, 60))
    w.faults.at, w.faults.kind = SPEND, "crash-after"
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


def test_without_grace_an_attempt_in_doubt_is_replayed_once_and_late() -> None:
    """Without a grace, an attempt in doubt waits for the last quarter of the token's life, and is replayed once."""
    w = world()
    # Refreshed early in its life, so that there is something left to wait for.
    young = replace(w.stored, issued_at=int(w.clock.now()) - 3600, expires_at=int(w.clock.now()) + LIFETIME - 3600)
    sealed = MemoryKey(NAME, 1).seal(young.encode())
    w.records.items[NAME] = replace(w.record(), sealed=sealed, issued_at=young.issued_at, expires_at=young.expires_at)
    w.provider.script = [LostResponse("gone")]
    assert w.run().outcome == "failed"
    assert w.record().status is Status.DEGRADED
    assert w.record().refresh_at == young.expires_at - LIFETIME // 4
    assert w.record().attempt_id is not None
    assert w.bus.types == ["Connection Degraded"]
    # Whoever asks is served the old access token, which lives on.
    assert w.run(caller_waits=True).tokens == young

    w.clock.time = float(w.record().refresh_at or 0)
    w.provider.script = [LostResponse("gone again")]
    w.run()
    assert w.record().status is Status.AUTHORIZATION_REQUIRED
    assert len(w.provider.requests) == 2
    while w.clock.now() < young.expires_at:
        w.run()
        w.clock.advance(600)
    assert len(w.provider.requests) == 2, "never a third time while the access token lives"
    # Afterwards it is probed daily, as everything that waits for a person: the provider may never have acted.
    w.clock.time = float(w.record().refresh_at or 0)
    assert w.run().outcome == "rotated"
    assert w.record().status is Status.ACTIVE


@pytest.mark.parametrize(
    "then",
    [NotSent("no route"), answer(429, b""), answer(408, b""), answer(401, {"error": "invalid_client"})],
    ids=["not sent", "rate limited", "timed out", "client refused"],
)
def test_a_replay_the_provider_did_not_act_on_leaves_the_doubt(then: Any) -> None:
    """A replay that the provider did not act upon leaves the doubt as it was."""
    w = world(with_grace(KEAP, 30))
    w.faults.at, w.faults.kind = SPEND, "crash-after"
    with pytest.raises(Crash):
        w.run()
    spent = w.record().attempt_id
    assert spent
    w.clock.advance(41)  # the lease is over, and the grace too
    w.run()
    assert w.record().status == Status.DEGRADED
    w.clock.time = float(w.record().refresh_at or 0)
    w.provider.script = [then]
    w.run()
    assert (w.record().attempt_id, w.record().attempt_replays) == (spent, 0), "it may still be tried once"
    assert len(w.provider.requests) == 2


@pytest.mark.parametrize("then", [NotSent("no route"), answer(429, b"")], ids=["not sent", "rate limited"])
def test_within_an_attempt_a_lost_response_outweighs_what_follows(then: Any) -> None:
    w = world(with_grace(KEAP, 30))
    w.provider.script = [LostResponse("gone"), then]
    w.run()
    assert w.record().attempt_id is not None
    assert w.record().last_error == "lost_response"
    again = w.record().refresh_at or 0
    assert w.clock.now() < again <= w.clock.now() + 30, "a moment later, within the grace"


def test_a_server_error_counts_as_a_lost_response() -> None:
    w = world()
    w.provider.script = [answer(500, b"<html>oops</html>")]
    w.run()
    assert w.record().attempt_id is not None
    assert w.record().last_error == "lost_response"


def test_what_cannot_have_reached_the_provider_is_not_in_doubt() -> None:
    w = world()
    w.provider.script = [NotSent("no route")]
    w.run()
    assert w.record().attempt_id is None
    assert w.record().failures == 1
    assert w.record().status is Status.ACTIVE
    assert 0 < (w.record().refresh_at or 0) - w.clock.now() <= 15
    w.clock.advance(20)
    assert w.run().outcome == "rotated"


def test_an_unreadable_success_is_kept_and_no_further_attempt_is_made() -> None:
    w = world()
    w.provider.script = [answer(200, b"<html>welcome</html>")]
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
    w.provider.script = [answer(200, b"<html>welcome</html>")]
    w.run()
    assert (w.record().status, w.record().last_error) == (Status.DEGRADED, "unreadable_response")
    [event] = w.bus.events.values()
    assert (event["type"], event["detail"]["reason"], event["detail"]["alert"]) == (
        "Connection Degraded",
        "unreadable_response",
        True,
    )


# --- refusals ---------------------------------------------------------------------------------------------------------

DEAD = answer(400, {"error": "invalid_grant", "error_description": "token canary-in-description is dead"})


def test_a_second_rejection_ten_minutes_later_requires_a_person() -> None:
    """One rejection degrades the connection, and a second one ten minutes later requires a person."""
    w = world()
    w.provider.script = [DEAD, DEAD]
    w.run()
    assert (w.record().status, w.record().last_error) == (Status.DEGRADED, "invalid_grant")
    assert w.record().refresh_at == w.clock.now() + failing.MIN_SECOND_REJECTION_SECONDS
    w.clock.advance(failing.MIN_SECOND_REJECTION_SECONDS)
    w.run()
    assert w.record().status is Status.AUTHORIZATION_REQUIRED
    assert w.bus.types == ["Connection Degraded", "Authorization Required"]
    # One probe a day from now on, in case the provider heals.
    assert 0.8 * 86_400 < (w.record().refresh_at or 0) - w.clock.now() < 1.2 * 86_400
    assert w.record().sealed is not None, "a credential is never deleted because a refresh failed"
    assert "canary-in-description" not in repr(w.records.history) + repr(w.bus.events)


def test_a_grant_that_heals_is_active_again_and_says_so() -> None:
    w = world()
    w.provider.script = [DEAD]
    w.run()
    w.clock.advance(failing.MIN_SECOND_REJECTION_SECONDS)
    w.run()
    assert w.record().status is Status.ACTIVE
    assert w.record().rejected_at is None
    assert w.bus.types == ["Connection Degraded", "Token Rotated", "Connection Recovered"]


def test_a_rejection_after_another_worker_rotated_adopts_the_new_set() -> None:
    w = world()
    send = w.provider.send

    def overtaken(*args: Any, **kwargs: Any) -> Any:
        w.provider.send = send  # type: ignore[method-assign]
        now = int(w.clock.now())
        w.records.items[NAME] = replace(
            w.record(), lease_owner=None, lease_until=None, attempt_id=None, refresh_at=now, due_at=now
        )
        w.run()
        return DEAD

    w.provider.send = overtaken  # type: ignore[method-assign]
    result = w.run(caller_waits=True, rejected=Secret("access-0").fingerprint)
    assert result.tokens is not None
    assert result.tokens.access_token == Secret("access-1")
    assert w.record().status is Status.ACTIVE


def test_a_refused_client_is_distinguished_from_a_refused_grant() -> None:
    w = world()
    w.provider.script = [answer(401, {"error": "invalid_client"})]
    w.run()
    assert w.record().status is Status.CLIENT_REFUSED
    assert w.bus.types == ["Client Refused"]


def test_a_rate_limit_is_waited_out_as_long_as_the_provider_says() -> None:
    w = world()
    w.provider.script = [answer(429, b"", retry_after="120")]
    w.run()
    assert w.record().refresh_at == w.clock.now() + 120
    assert w.record().status is Status.ACTIVE


def test_three_failures_in_a_row_degrade() -> None:
    w = world()
    w.provider.script = [NotSent("no route")] * 3
    for _ in range(3):
        w.run()
        w.clock.time = max(w.clock.time, w.record().refresh_at or 0)
    assert w.record().status is Status.DEGRADED


def test_a_missing_client_degrades_and_is_looked_for_again() -> None:
    w = world()
    w.vault.clients.clear()
    assert w.run().outcome == "failed"
    assert (w.record().status, w.record().last_error) == (Status.DEGRADED, "unknown_client")
    assert w.record().attempt_id is None
    assert (w.record().refresh_at or 0) > w.clock.now()


def test_a_grant_without_a_refresh_token_asks_for_a_person_in_time() -> None:
    w = world()
    bare = replace(w.stored, refresh_token=None)
    w.records.items[NAME] = replace(w.record(), sealed=MemoryKey(NAME, 1).seal(bare.encode()))
    w.run()
    assert w.record().status is Status.AUTHORIZATION_REQUIRED
    assert w.bus.types == ["Authorization Required"]
    assert w.run(caller_waits=True).tokens == bare, "its access token is served to the end"


# --- somebody asks ----------------------------------------------------------------------------------------------------


def test_a_fresh_token_is_answered_without_asking_the_provider() -> None:
    w = world(due=False)
    assert w.run(caller_waits=True, min_ttl=3600).tokens == w.stored
    assert w.provider.requests == []


def test_a_token_that_does_not_live_long_enough_is_refreshed() -> None:
    w = world(due=False)
    tokens = w.run(caller_waits=True, min_ttl=LIFETIME - 30).tokens
    assert tokens is not None
    assert tokens.access_token == Secret("access-1")


def test_more_than_the_tokens_live_is_answered_with_what_there_is() -> None:
    w = world(due=False)
    assert w.run(caller_waits=True, min_ttl=LIFETIME * 2).tokens == w.stored
    assert w.provider.requests == []


def test_a_refused_token_is_replaced_only_while_it_is_the_current_one() -> None:
    w = world(due=False)
    refused = Secret("access-0").fingerprint
    first = w.run(caller_waits=True, rejected=refused).tokens
    again = w.run(caller_waits=True, rejected=refused).tokens
    assert first == again
    assert len(w.provider.requests) == 1


def test_a_refused_token_that_is_brand_new_is_not_replaced_again_and_again() -> None:
    w = world(due=False)
    first = w.run(caller_waits=True, rejected=Secret("access-0").fingerprint).tokens
    assert first is not None
    w.run(caller_waits=True, rejected=first.access_token.fingerprint)
    assert len(w.provider.requests) == 1


def test_a_dead_connection_serves_its_token_then_gives_the_remedy() -> None:
    """A dead connection serves its token to the end, and then says what to do."""
    w = world(status=Status.AUTHORIZATION_REQUIRED, failures=2)
    assert w.run(caller_waits=True).tokens == w.stored
    w.records.items[NAME] = replace(w.record(), refresh_at=int(w.clock.now()) + LIFETIME)
    w.clock.advance(LIFETIME // 2)
    with pytest.raises(AuthorizationRequired, match="keap/main") as raised:
        w.run(caller_waits=True)
    assert "evergrant connect keap/main" in raised.value.hint
    assert w.provider.requests == []


def test_an_expired_token_of_a_refused_client_names_the_client() -> None:
    """An expired token of a refused client says whose credentials to correct."""
    w = world(status=Status.CLIENT_REFUSED, failures=1, refresh_at=1_800_999_999)
    w.clock.advance(LIFETIME)
    with pytest.raises(ClientRefused) as raised:
        w.run(caller_waits=True)
    assert "evergrant client set keap" in raised.value.hint


def test_a_provider_that_is_down_is_not_hammered_by_those_who_ask() -> None:
    w = world()
    w.clock.advance(LIFETIME)
    w.provider.script = [NotSent("no route")]
    for _ in range(5):
        with pytest.raises(TemporarilyUnavailable) as raised:
            w.run(caller_waits=True)
        assert 1 <= raised.value.retry_after <= 15
    assert len(w.provider.requests) == 1


def test_a_forced_refresh_waits_for_a_response_that_may_be_queued() -> None:
    """An operator cannot have a token sent again while its response may be in the queue."""
    w = world()
    change = w.records.change
    after_the_answer(w, lambda: break_table(w))
    w.run()
    w.records.change = change  # type: ignore[method-assign]
    w.clock.advance(45)
    with pytest.raises(ResponsePending) as told:
        w.run(caller_waits=True, force=True)
    assert told.value.as_dict()["retry_after"] == 900, "nobody has found the lease that ran out yet"
    w.run()
    w.clock.advance(45)
    before = w.record()
    with pytest.raises(ResponsePending) as told:
        w.run(caller_waits=True, force=True)
    settled_at = (before.in_doubt_since or 0) + 900
    assert told.value.as_dict()["retry_after"] == settled_at - int(w.clock.now())
    assert w.record() == before, "the schedule says what it is about"
    w.clock.time = settled_at - 1.0
    with pytest.raises(ResponsePending, match="keap/main"):
        w.run(caller_waits=True, force=True)
    assert len(w.provider.requests) == 1
    w.receive()
    assert w.run(caller_waits=True, force=True).outcome == "rotated"
    assert not w.provider.revoked


def test_an_operator_may_replay_a_lost_response_before_the_last_quarter() -> None:
    """An operator need not wait for the last quarter of the token's life to have a lost response replayed."""
    w = world()
    w.provider.script = [LostResponse("gone")]
    w.run()
    with pytest.raises(ResponsePending):
        w.run(caller_waits=True, force=True)
    w.clock.advance(900)
    assert (w.record().refresh_at or 0) > w.clock.now()
    w.provider.script = [LostResponse("gone again")]
    w.run(caller_waits=True, force=True)
    assert (w.record().attempt_replays, w.record().status) == (1, Status.AUTHORIZATION_REQUIRED)
    # Nobody holds an answer of that one: its worker wrote down that it was lost.
    assert w.run(caller_waits=True, force=True).outcome == "rotated"


def test_within_the_grace_an_operator_need_not_wait_at_all() -> None:
    w = world(with_grace(KEAP, 60))
    w.faults.at, w.faults.kind = SPEND, "crash-after"
    with pytest.raises(Crash):
        w.run()
    w.clock.advance(41)
    assert w.run(caller_waits=True, force=True).outcome == "rotated"


def test_an_operator_can_force_a_refresh_of_a_fresh_token() -> None:
    w = world(due=False)
    tokens = w.run(caller_waits=True, force=True).tokens
    assert tokens is not None
    assert tokens.access_token == Secret("access-1")


@pytest.mark.parametrize(("status", "error"), [(Status.PAUSED, Paused), (Status.DISCONNECTED, Disconnected)])
def test_an_inactive_connection_is_not_refreshed(status: Status, error: type[Exception]) -> None:
    w = world(status=status)
    assert w.run().outcome == "inactive"
    with pytest.raises(error):
        w.run(caller_waits=True, force=True)
    assert w.provider.requests == []


def test_a_paused_connection_serves_its_token_to_the_end() -> None:
    w = world(status=Status.PAUSED, due=False)
    assert w.run(caller_waits=True, min_ttl=LIFETIME).tokens == w.stored
    w.clock.advance(LIFETIME)
    with pytest.raises(Paused):
        w.run(caller_waits=True)
    assert w.provider.requests == []


def test_an_unknown_connection_is_an_error_of_its_own() -> None:
    w = world()
    with pytest.raises(UnknownConnection):
        Rotation(w.ports, w.settings).run(TokenDemand("keap/nobody"))


# --- a client's own grant ---------------------------------------------------------------------------------------------


def headless(**fields: Any) -> World:
    profile = built_in.load_built_in()["wealthyhood"]
    return world(profile, grant="client_credentials", client="wealthyhood", **fields)


TOKEN = answer(200, {"access_token": "access-1", "token_type": "Bearer", "expires_in": 3600})


def test_a_client_gets_its_first_token_as_soon_as_it_is_connected() -> None:
    w = headless(status=Status.AWAITING_AUTHORIZATION, generation=0, published_generation=0, sealed=None)
    w.provider.script = [TOKEN]
    tokens = w.run(caller_waits=True, force=True).tokens
    assert tokens is not None
    assert json.loads(w.provider.requests[0].body) == {
        "grant_type": "client_credentials",
        "client_id": "client-1",
        "client_secret": "canary-client-secret",
        "audience": "https://api.example.com",
    }
    assert w.bus.types == ["Connection Authorized"]
    assert w.vault.published[NAME]["required_headers"] == ["x-user-id"]


def test_a_lost_response_of_a_client_grant_is_no_doubt_at_all() -> None:
    w = headless()
    w.provider.script = [LostResponse("gone"), TOKEN]
    assert w.run().outcome == "rotated"


def test_a_refused_client_grant_blames_the_client_not_the_grant() -> None:
    """A refusal of a client grant blames the client, and no one need authorize."""
    w = headless()
    w.provider.script = [answer(403, {"error": "access_denied"})]
    w.run()
    assert w.record().status is Status.CLIENT_REFUSED


def test_clients_without_a_secret_are_spoken_for_too() -> None:
    w = world()
    w.vault.clients["keap"] = Client("keap", "client-1", (), ("api.example.com",))
    assert w.run().outcome == "rotated"


# A worker that dies


def test_after_a_crash_during_an_attempt_a_worker_runs_at_lease_end() -> None:
    """After a crash during a refresh attempt another worker comes by when the lease ends."""
    w = world(with_grace(KEAP, 60), due=False)  # somebody asked, long before it was due
    w.faults.at, w.faults.kind = SPEND, "crash-after"
    with pytest.raises(Crash):
        w.run(caller_waits=True, force=True)
    assert w.record().due_at == w.record().lease_until == w.clock.now() + 40
    w.faults.at = None
    w.clock.advance(40)
    assert w.run().outcome == "rotated", "within the grace, nothing is lost"
    assert not w.provider.revoked


# Warnings


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
