"""Protects the client circuit: one refused client is reported once and probed once an hour, and all recover after it.

Several connections share one client. Their provider says what is wrong, or only that something is.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest

from evergrant.adapters.aws.expressions import Expression
from evergrant.adapters.aws.items import to_attribute
from evergrant.errors import ClientRefused, NotSent, UnknownClient
from evergrant.http_messages import HttpRequest, HttpResponse
from evergrant.oauth.token_set import TokenSet
from evergrant.ports import PortUnavailable
from evergrant.profiles.loader import load_profile
from evergrant.profiles.model import content_hash
from evergrant.record.circuit import MAX_REJECTED, MAX_WAITING, Circuit, reset_rejections
from evergrant.record.connection import Connection, RecordFields
from evergrant.record.status import Status
from evergrant.secret import Secret
from evergrant.settings import Budgets
from tests.unit.fleet import Fleet, connection, fleet
from tests.unit.memory import Crash, MemoryKey, MemoryProfiles, answer

#: A headless grant: its request names the connection, as the refresh token of the others does.
HEADLESS = load_profile(
    'name = "keap"\ntitle = "Keap"\n'
    "[variables.host]\npattern = '[a-z.]+'\n[variables.account]\npattern = '[a-z/]+'\n"
    '[client_credentials]\nurl = "https://{host}/token"\nparams = { refresh_token = "{account}" }\n'
)
HOUR = 3600
A, B, C, D = "keap/a", "keap/b", "keap/c", "keap/d"


# --- while nothing is wrong -------------------------------------------------------------------------------------------


def test_a_sound_client_costs_one_read_and_no_write() -> None:
    f = fleet(A)
    f.run(A)
    assert [call for call in f.faults.calls if call.startswith("circuits")] == ["circuits.get"]
    assert f.circuits.items == {}


# --- a client that is refused -----------------------------------------------------------------------------------------


def test_one_client_refusal_stops_all_its_connections_with_one_event() -> None:
    """One refusal of the client holds back all its connections, and is reported once."""
    f = fleet(A, B, C, works=False)
    f.run_all()
    assert f.provider.asked == [A]
    assert [f.status(name) for name in (A, B, C)] == [Status.CLIENT_REFUSED] * 3
    assert f.bus.types == ["Client Refused"]
    [event] = f.bus.events.values()
    assert event["detail"]["client"] == "keap"
    assert event["detail"]["connections"] == [A]
    assert event["detail"]["reason"] == "invalid_client"


def test_held_back_connections_serve_to_the_end_then_name_the_client() -> None:
    """Connections that are held back serve their tokens to the end, and then say whose credentials to correct."""
    f = fleet(A, B, works=False)
    f.run_all()
    served = f.run(B, caller_waits=True, rejected="another").tokens
    assert served is not None
    assert served.access_token == Secret("old")
    f.clock.advance(86_400)
    f.records.items[B] = replace(f.records.items[B], refresh_at=int(f.clock.now()) + 60)
    with pytest.raises(ClientRefused) as raised:
        f.run(B, caller_waits=True)
    assert "evergrant client set keap" in raised.value.hint


def test_min_ttl_beyond_the_token_starts_no_attempt_while_held_back() -> None:
    """A caller that asks for more than the token's life starts no refresh attempt of a held-back connection."""
    f = fleet(A, B, works=False)
    f.run(A)
    f.run(B, caller_waits=True, min_ttl=80_000)
    assert f.provider.asked == [A]
    assert f.status(B) is Status.CLIENT_REFUSED


def test_the_client_is_probed_once_an_hour_by_one_connection_only() -> None:
    f = fleet(A, B, C, D, works=False)
    f.run_all()
    f.pass_time(12 * HOUR)
    assert 10 <= len(f.provider.asked) <= 15, "a probe an hour, jittered by an eighth"
    assert f.bus.types == ["Client Refused"]


def test_of_two_that_would_probe_at_the_same_time_one_does() -> None:
    f = fleet(A, B, works=False)
    f.run_all()
    f.clock.advance(2 * HOUR)
    change = f.circuits.change

    def while_we_claim(*args: Any, **kwargs: Any) -> Any:
        f.circuits.change = change  # type: ignore[method-assign]
        f.run(B)
        return change(*args, **kwargs)

    f.circuits.change = while_we_claim  # type: ignore[method-assign]
    assert f.run(A).outcome == "busy"
    assert f.provider.asked == [A, B]


def test_a_successful_probe_closes_the_circuit_and_all_recover_in_turn() -> None:
    """A probe that succeeds closes the circuit, and the connections recover one by one."""
    f = fleet(A, B, C, works=False)
    f.run_all()
    f.provider.works = True
    f.clock.advance(75 * 60)
    f.run(A)
    assert not f.is_open
    assert f.status(B) is Status.CLIENT_REFUSED
    woken = {message["connection"]: delay for message, delay in f.queue.messages if message.get("task") == "wake"}
    assert woken == {B: 1, C: 2}, "spread, a second each"
    f.receive()
    assert [f.status(name) for name in (A, B, C)] == [Status.ACTIVE] * 3
    assert f.bus.types.count("Connection Recovered") == 3
    assert f.bus.types.count("Client Refused") == 1
    assert (f.circuits.get("keap").waiting, f.circuits.get("keap").outbox) == ({}, {})


def test_another_secret_is_tried_at_once_by_one_connection() -> None:
    f = fleet(A, B, C, works=False)
    f.run(A)
    f.store_secret("v2", works=True)
    f.run(B)
    assert f.provider.asked == [A, B]
    assert not f.is_open
    f.receive()
    assert f.status(A) is Status.ACTIVE


def test_another_refused_secret_is_tried_once_and_not_reported_again() -> None:
    """Another secret that is refused too is tried once, and not reported again."""
    f = fleet(A, B, C, works=False)
    f.run(A)
    f.store_secret("v2", works=False)
    f.run(B)
    f.run(C)
    assert f.provider.asked == [A, B]
    assert f.bus.types == ["Client Refused"]
    assert f.status(C) is Status.CLIENT_REFUSED


def test_an_operator_who_forces_a_refresh_probes_at_once() -> None:
    f = fleet(A, B, works=False)
    f.run_all()
    f.provider.works = True
    tokens = f.run(B, caller_waits=True, force=True).tokens
    assert tokens is not None
    assert tokens.access_token == Secret("new")
    assert not f.is_open


def test_a_grant_that_is_refused_by_name_shows_that_the_client_is_accepted() -> None:
    f = fleet(A, B, works=False, dead={A})
    f.run_all()
    f.provider.works = True
    f.clock.advance(75 * 60)
    f.run(A)
    assert not f.is_open
    f.receive()
    assert (f.status(A), f.status(B)) == (Status.DEGRADED, Status.ACTIVE)


def test_a_probe_that_does_not_reach_the_provider_is_made_good_soon() -> None:
    f = fleet(A, B, works=False)
    f.run_all()
    f.clock.advance(75 * 60)
    f.provider.down = True
    f.run(A)
    assert f.is_open
    assert (f.circuits.get("keap").probe_at or 0) - f.clock.now() < 900


def test_a_probe_that_a_change_of_its_connection_stopped_is_made_up() -> None:
    """A probe that another change of its connection kept from being sent is made up for soon."""
    f = fleet(A, B, works=False)
    f.run_all()
    f.clock.advance(75 * 60)
    change = f.records.change

    def paused_meanwhile(*args: Any, **kwargs: Any) -> Any:
        if "attempt_id" in args[1]:
            f.records.items[A] = replace(f.records.items[A], status=Status.PAUSED)
        return change(*args, **kwargs)

    f.records.change = paused_meanwhile  # type: ignore[method-assign]
    asked = len(f.provider.asked)
    f.run(A)
    assert len(f.provider.asked) == asked
    assert (f.circuits.get("keap").probe_at or 0) <= f.clock.now()


def test_a_client_that_is_refused_again_later_is_reported_again() -> None:
    f = fleet(A, B, works=False)
    f.run_all()
    f.provider.works = True
    f.pass_time(2 * HOUR)
    assert [f.status(name) for name in (A, B)] == [Status.ACTIVE] * 2
    f.provider.works = False
    f.pass_time(86_400)
    assert f.bus.types.count("Client Refused") == 2


#: One connection of a client that works elsewhere, as providers were seen to refuse it.
UNAUTHORIZED = {
    "Exact Online": (401, "Old refresh token used."),
    "Atlassian": (403, "refresh_token is invalid"),
    "Microsoft": (400, "AADSTS700016: Application 'x' was not found in the directory 'y'."),
}


def build_unauthorized(provider: str) -> HttpResponse:
    status, description = UNAUTHORIZED[provider]
    return answer(status, {"error": "unauthorized_client", "error_description": description})


@pytest.mark.parametrize("provider", UNAUTHORIZED)
def test_unauthorized_client_stops_one_connection_and_no_other(provider: str) -> None:
    """The connection that is refused needs a person; the circuit stays closed, and the other one is refreshed daily."""
    f = fleet(A, B, unauthorized={A: build_unauthorized(provider)})
    for _ in range(3 * 24 * 6):
        f.pass_time(600, step=600)
        assert not f.is_open
        assert (f.records.items[B].expires_at or 0) > f.clock.now(), "the other one never goes without a token"
    assert (f.status(A), f.status(B)) == (Status.AUTHORIZATION_REQUIRED, Status.ACTIVE)
    assert f.provider.asked.count(A) >= 3
    assert f.provider.asked.count(B) >= 3
    assert "Client Refused" not in f.bus.types
    assert f.bus.types.count("Authorization Required") == 1
    assert f.circuits.items == {}


def test_unauthorized_client_of_two_connections_opens_no_circuit() -> None:
    """Also where the grant is the client's own, and there is no grant to blame instead."""
    f = fleet(A, B, C, unauthorized={name: build_unauthorized("Microsoft") for name in (A, B)})
    f.ports = replace(f.ports, profiles=MemoryProfiles(HEADLESS))
    for name, stored in f.records.items.items():
        own = {"account": name, "host": "api.example.com"}
        f.records.items[name] = replace(
            stored, grant="client_credentials", profile_hash=content_hash(HEADLESS), variables=own
        )
    for _ in range(3):
        for name in (A, B, C):
            f.run(name, force=True)
            assert not f.is_open
        f.clock.advance(2 * HOUR)
    assert (f.provider.asked.count(A), f.provider.asked.count(B)) == (3, 3)
    assert [f.status(name) for name in (A, B, C)] == [Status.CLIENT_REFUSED, Status.CLIENT_REFUSED, Status.ACTIVE]
    assert f.bus.types.count("Client Refused") == 2, "one for each connection, and none for each hour"


def test_a_probe_that_unauthorized_client_answers_leaves_the_circuit_open() -> None:
    """The answer says nothing of the client's credentials, so the next connection that is due probes at once."""
    f = fleet(A, B, C, works=False)
    f.run(C)
    f.provider.unauthorized = {A: build_unauthorized("Microsoft")}
    f.clock.advance(75 * 60)
    f.run(A)
    assert f.provider.asked == [C, A]
    assert f.circuits.get("keap").is_open
    f.provider.works = True
    f.run(B)
    f.receive()
    assert not f.is_open
    assert [f.status(name) for name in (B, C)] == [Status.ACTIVE] * 2


def test_one_connections_own_failure_does_not_keep_holding_back_others() -> None:
    """One connection with a failure of its own does not hold back the others again and again."""
    f = fleet(A, B, works=False)
    f.run(A)
    f.provider.works = True
    f.clock.advance(75 * 60)
    f.run(B)  # the probe: accepted
    f.receive()
    f.provider.works = False  # but for A it still is refused
    f.records.items[A] = replace(f.records.items[A], refresh_at=int(f.clock.now()))
    circuit = f.circuits.get("keap")
    f.circuits.items["keap"] = replace(circuit, rejected={A: int(f.clock.now()) - 80 * 60})
    f.run(A)
    assert f.status(A) is Status.CLIENT_REFUSED
    assert not f.is_open


@pytest.mark.parametrize(
    ("trouble", "error"),
    [
        (answer(400, {"error": "invalid_scope"}), "invalid_scope"),
        (answer(429, b""), "rate_limited"),
        (NotSent("no route"), "not_sent"),
        (answer(200, {"result": {"token": "access-9"}}), "unreadable_response"),
        (UnknownClient("gone"), "unknown_client"),
        (PortUnavailable("made to fail"), "service_unavailable"),
    ],
)
@pytest.mark.parametrize("named", [False, True], ids=["held back", "refused itself"])
def test_an_own_failure_after_the_client_recovers_is_reported_as_such(trouble: Any, error: str, named: bool) -> None:
    """A connection that fails for itself, once its client is accepted again, says so and is reported."""
    f = fleet(A, B, C, works=False)
    if named:
        f.run(B)
    f.run_all()
    f.store_secret("v2", works=True)
    f.run(C, caller_waits=True, force=True)
    f.receive()
    assert not f.is_open
    f.records.items[B] = replace(f.records.items[B], status=Status.CLIENT_REFUSED, client="own", failures=1)
    f.records.items[B] = replace(f.records.items[B], alerted_at=1 if named else None, refresh_at=int(f.clock.now()))
    send, client, earlier = f.provider.send, f.vault.client, set(f.bus.events)

    def failing(request: HttpRequest, **options: Any) -> HttpResponse:
        if f"{B} ".encode() not in request.body.replace(b"%2F", b"/").replace(b"+", b" "):
            return send(request, **options)
        if isinstance(trouble, Exception):
            raise trouble
        return trouble  # type: ignore[no-any-return]

    def missing(name: str) -> Any:
        if name == "own" and isinstance(trouble, UnknownClient | PortUnavailable):
            raise trouble
        return client("keap")

    f.provider.send, f.vault.client = failing, missing  # type: ignore[method-assign]
    f.pass_time(30 * HOUR)
    assert (f.status(B), f.records.items[B].last_error) == (Status.DEGRADED, error)
    events = [body for key, body in f.bus.events.items() if key not in earlier and body["detail"]["connection"] == B]
    assert {body["type"] for body in events} == {"Connection Degraded"}
    assert len([body for body in events if body["detail"]["alert"]]) == 1, "before its token expires"
    assert f.records.items[B].alerted_at


def test_a_client_that_waits_for_hundreds_remembers_a_bounded_number() -> None:
    f = fleet(A, B, works=False)
    f.run(A)
    full = {f"keap/{number}": 1 for number in range(MAX_WAITING)}
    f.circuits.items["keap"] = replace(f.circuits.get("keap"), waiting=full)
    f.run(B)
    assert len(f.circuits.get("keap").waiting) == MAX_WAITING
    assert f.status(B) is Status.CLIENT_REFUSED
    assert (f.records.items[B].refresh_at or 0) - f.clock.now() < 2 * HOUR, "it looks again by itself"
    f.provider.works = True
    f.run(A, caller_waits=True, force=True)
    assert len({message["connection"] for message, _ in f.queue.messages}) == MAX_WAITING
    assert f.circuits.get("keap").waiting == {}


def test_a_connection_held_back_as_the_circuit_closes_is_not_forgotten() -> None:
    """A connection that is held back at the moment the circuit closes is not forgotten."""
    f = fleet(A, B, works=False)
    f.run(A)
    change = f.circuits.change

    def closed_meanwhile(*args: Any, **kwargs: Any) -> Any:
        f.circuits.change = change  # type: ignore[method-assign]
        f.provider.works = True
        f.run(A, caller_waits=True, force=True)
        return change(*args, **kwargs)

    f.circuits.change = closed_meanwhile  # type: ignore[method-assign]
    assert f.run(B).outcome == "rotated"


def test_a_connection_without_a_token_is_blamed_until_another_fails() -> None:
    """A connection that never had a token is refused for itself, until another connection is refused too."""
    f = fleet(A, B, C, works=False)
    tokens = TokenSet(Secret("old"), 1, 2, "r", Secret(f"{A} first"))
    f.records.items[A] = replace(f.records.items[A], generation=0, sealed=MemoryKey(A, 0).seal(tokens.encode()))
    f.run(A)
    assert f.status(A) is Status.CLIENT_REFUSED
    assert not f.circuits.get("keap").is_open, "it may be its own variables that are wrong"
    f.provider.works = True
    f.run(B)
    assert f.status(B) is Status.ACTIVE
    assert f.bus.types.count("Client Refused") == 1


def kill_before_the_report(f: Fleet) -> None:
    """The worker of A finds the client refused, and is killed before it can write that into its connection."""
    change = f.records.change

    def killed_before_the_last(connection: str, fields: RecordFields, **conditions: Any) -> Connection:
        if fields.get("last_error"):
            raise Crash("records.change")
        return change(connection, fields, **conditions)

    f.records.change = killed_before_the_last  # type: ignore[method-assign]
    with suppress(Crash):
        f.run(A)
    f.records.change = change  # type: ignore[method-assign]


def test_a_refusal_its_worker_could_not_report_is_reported_by_the_next() -> None:
    """A refusal that its worker could not report is reported by the next connection."""
    f = fleet(A, B, works=False)
    kill_before_the_report(f)
    assert f.bus.types == []
    f.clock.advance(Budgets().lease)
    f.run(B)
    assert f.bus.types == ["Client Refused"]
    assert f.circuits.get("keap").outbox == {}


def test_a_refusal_is_reported_once_though_others_are_held_back_first() -> None:
    """A refusal is reported once, though others are held back before its worker has reported it."""
    f = fleet(A, B, C, works=False)
    change, put = f.records.change, f.bus.put
    put_events: list[str] = []

    def slow(connection: str, fields: RecordFields, **conditions: Any) -> Connection:
        if fields.get("last_error"):
            f.records.change = change  # type: ignore[method-assign]
            f.run(B)
            f.run(C)
        return change(connection, fields, **conditions)

    def counted(events: Any) -> frozenset[str]:
        put_events.extend(events)
        return put(events)

    f.records.change, f.bus.put = slow, counted  # type: ignore[method-assign]
    f.run(A)
    assert [f.status(name) for name in (A, B, C)] == [Status.CLIENT_REFUSED] * 3
    assert f.bus.types == ["Client Refused"]
    assert len(put_events) == 1


def test_a_refusal_that_ended_unreported_is_not_reported_later() -> None:
    """A refusal that ended before it was reported is not reported at the next failure."""
    f = fleet(A, B, works=False)
    kill_before_the_report(f)
    f.store_secret("v2", works=True)
    f.run(B)
    assert (f.is_open, f.circuits.get("keap").outbox) == (False, {})
    f.records.items[B] = connection(B, int(f.clock.now()))
    f.store_secret("v3", works=False)
    f.run(B)
    assert f.bus.types.count("Client Refused") == 1


# --- a crash, or a failing service, at any call -----------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["crash-before", "crash-after", "before", "after"])
@pytest.mark.parametrize("at", range(1, 26))
def test_any_failing_call_lets_all_recover_and_reports_the_refusal(at: int, kind: str) -> None:
    f = fleet(A, B, C, works=False)
    f.faults.at, f.faults.kind = at, kind
    for name in (A, B, C):
        with suppress(Crash, PortUnavailable):
            f.run(name)
    assert len(f.faults.calls) >= at
    f.faults.at = None
    f.pass_time(3 * HOUR, step=300)
    events = f.bus.types
    assert 1 <= events.count("Client Refused") <= 2, "by the connection itself too, where the circuit was not written"
    f.provider.works = True
    f.pass_time(10 * HOUR, step=300)
    assert [f.status(name) for name in (A, B, C)] == [Status.ACTIVE] * 3
    assert not f.is_open


@pytest.mark.parametrize("kind", ["crash-before", "crash-after", "before", "after"])
@pytest.mark.parametrize("at", range(1, 16))
def test_any_failing_call_of_the_probe_lets_all_recover(at: int, kind: str) -> None:
    f = fleet(A, B, C, works=False)
    f.run_all()
    f.provider.works = True
    f.clock.advance(75 * 60)
    f.faults.calls.clear()
    f.faults.at, f.faults.kind = at, kind
    with suppress(Crash, PortUnavailable):
        f.run(A)
    assert len(f.faults.calls) >= at
    f.faults.at = None
    f.pass_time(10 * HOUR, step=300)
    lost = {name for name in (A, B, C) if f.records.items[name].attempt_id is not None}
    assert lost <= {A}
    assert all(f.status(name) is Status.ACTIVE for name in (A, B, C) if name not in lost)
    assert not f.is_open


# --- the same answer for a dead grant and a refused client ------------------------------------------------------------


def test_a_client_with_one_connection_is_never_suspected() -> None:
    f = fleet(A, works=False, vague=True)
    f.run(A)
    assert f.status(A) is Status.DEGRADED
    f.pass_time(660)
    assert f.status(A) is Status.AUTHORIZATION_REQUIRED
    assert not f.is_open


def test_a_second_such_failure_blames_the_client_not_the_grants() -> None:
    """When a second connection fails in the same way the client is blamed, and no one need authorize."""
    f = fleet(A, B, works=False, vague=True)
    f.run_all()
    assert (f.status(A), f.status(B)) == (Status.DEGRADED, Status.CLIENT_REFUSED)
    f.receive()
    assert f.status(A) is Status.CLIENT_REFUSED
    assert f.bus.types == ["Connection Degraded", "Client Refused"]
    assert [event["detail"].get("connections") for event in f.bus.events.values()][-1] == [A, B]
    f.pass_time(5 * HOUR)
    assert "Authorization Required" not in f.bus.types
    f.provider.works = True
    f.pass_time(2 * HOUR)
    assert (f.status(A), f.status(B)) == (Status.ACTIVE, Status.ACTIVE)


def test_one_that_was_taken_for_a_dead_grant_is_put_right() -> None:
    f = fleet(A, works=False, vague=True)
    f.run(A)
    f.pass_time(660)
    assert f.status(A) is Status.AUTHORIZATION_REQUIRED
    f.records.items[B] = connection(B, int(f.clock.now()))
    f.run(B)
    f.receive()
    assert f.status(A) is Status.CLIENT_REFUSED


def test_two_rejections_at_the_same_time_see_each_other() -> None:
    f = fleet(A, B, works=False, vague=True)
    change = f.circuits.change

    def overtaken(*args: Any, **kwargs: Any) -> Any:
        f.circuits.change = change  # type: ignore[method-assign]
        f.run(B)
        return change(*args, **kwargs)

    f.circuits.change = overtaken  # type: ignore[method-assign]
    f.run(A)
    assert f.is_open


def test_a_success_between_two_dead_grants_clears_the_client() -> None:
    """Two dead grants are not the client's fault if another connection is accepted in between."""
    f = fleet(A, B, C, vague=True, dead={A, C})
    f.run_all()  # A fails, B is accepted, C fails
    assert not f.is_open
    assert f.status(C) is Status.DEGRADED
    f.pass_time(20 * 60)
    assert (f.status(A), f.status(C)) == (Status.AUTHORIZATION_REQUIRED,) * 2
    assert "Client Refused" not in f.bus.types


def test_a_suspected_client_is_tried_at_once_by_an_unrefused_connection() -> None:
    """A client that is only suspected is tried at once by a connection that was not refused."""
    f = fleet(A, B, C, vague=True, dead={A, B})
    f.run(A)
    f.run(B)
    assert f.circuits.get("keap").suspected
    f.run(C)
    assert f.status(C) is Status.ACTIVE
    assert not f.is_open
    f.pass_time(30 * 60)
    assert (f.status(A), f.status(B)) == (Status.AUTHORIZATION_REQUIRED,) * 2, "each for itself now"
    assert f.bus.types.count("Client Refused") == 1


def test_recorded_rejections_are_bounded_and_dead_grants_do_not_count() -> None:
    """Of a client's many dead grants a bounded number is recorded, and they do not count against the client."""
    f = fleet(A, B, vague=True, dead={A, B})
    now = int(f.clock.now())
    for name in (A, B):
        dead = replace(f.records.items[name], status=Status.AUTHORIZATION_REQUIRED, rejected_at=now - 3 * 86_400)
        f.records.items[name] = dead
    remembered = {f"keap/{number}": now - 2 * 86_400 + number for number in range(MAX_REJECTED + 250)}
    f.circuits.items["keap"] = replace(f.circuits.get("keap"), rejected=remembered)
    f.run(A)
    f.run(B)
    f.pass_time(3 * 86_400, step=3600)
    assert not f.is_open
    assert (f.status(A), f.status(B)) == (Status.AUTHORIZATION_REQUIRED,) * 2
    rejected = f.circuits.get("keap").rejected
    assert len(rejected) == MAX_REJECTED
    assert "keap/0" not in rejected, "the oldest is forgotten first"
    assert f"keap/{MAX_REJECTED + 249}" in rejected


def test_new_credentials_reset_all_rejections_within_dynamodb_limits() -> None:
    """New credentials void all recorded rejections of the old ones, in changes that DynamoDB takes."""
    f = fleet()
    rejected = {f"keap/{number}": 1 for number in range(1000)}
    seen = f.circuits.items["keap"] = Circuit("keap", refused_at=1, probe_at=2, rejected=rejected)
    for changes in reset_rejections(seen):
        expression = Expression()
        text = expression.update({(name,): value for name, value in changes.items()}, to_attribute("id"))
        assert len(text) <= 4096
        assert f.is_open, "until the last"
        f.circuits.change("keap", changes, only_if={"refused_at": 1})
    assert f.circuits.get("keap") == Circuit("keap")


def test_a_day_apart_two_dead_grants_have_nothing_to_do_with_each_other() -> None:
    f = fleet(A, works=False, vague=True)
    f.run(A)
    f.pass_time(25 * HOUR)
    f.records.items[B] = connection(B, int(f.clock.now()))
    f.run(B)
    assert f.status(B) is Status.DEGRADED
    assert not f.is_open
