"""Protects connections from the troubles of others: what one is refused holds back no other, and what none can have is
asked for by few, until it can be had.

Several connections share a client and an endpoint; ticks, messages and passes run as they are deployed.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest

from evergrant.errors import ClientRefused, Conflict, LostResponse, NotSent, TemporarilyUnavailable, UnknownClient
from evergrant.http_messages import HttpResponse
from evergrant.ports import PortUnavailable
from evergrant.record.circuit import Circuit, Failure
from evergrant.record.queued_dispatch import create_probe
from evergrant.record.status import Status
from evergrant.rotation.handler import process_task
from evergrant.secret import Secret
from tests.unit.fleet import BLANK, CLIENT_KEY, DEAD_GRANT, DOWN, ENDPOINT, ENDPOINT_KEY, REFUSED_CLIENT, Fleet, fleet
from tests.unit.memory import Crash, answer

HOUR = 3600
A, B, C, D, E, F = (f"keap/{name}" for name in "abcdef")
NOT_ALLOWED = answer(403, {"error": "unauthorized_client", "error_description": "refresh_token is invalid"})
LATE = LostResponse("gone", reason="timeout")


def count_requests(f: Fleet, since: float, until: float = float("inf")) -> int:
    return sum(since <= at < until for at in f.provider.asked_at)


# --- while nothing is wrong -------------------------------------------------------------------------------------------


def test_a_sound_client_costs_one_read_and_no_write() -> None:
    """The first acceptance of a client's entry is written; then there is one read of both circuits, and no write."""
    f = fleet(A, B)
    f.run(A)
    assert f.circuits.items == {CLIENT_KEY: replace(f.client, accepted_version="v1")}
    f.faults.calls.clear()
    f.run(B)
    assert [call for call in f.faults.calls if call.startswith("circuits")] == ["circuits.get_many"]


# --- one connection's refusal -----------------------------------------------------------------------------------------

#: What one connection may get for ever, and where its status goes.
OWN_TROUBLES: dict[str, tuple[HttpResponse | Exception, Status]] = {
    "invalid_grant": (DEAD_GRANT, Status.AUTHORIZATION_REQUIRED),
    "unauthorized_client": (NOT_ALLOWED, Status.AUTHORIZATION_REQUIRED),
    "invalid_client": (REFUSED_CLIENT, Status.CLIENT_REFUSED),
    "invalid_request": (answer(400, {"error": "invalid_request"}), Status.AUTHORIZATION_REQUIRED),
    "no reason": (BLANK, Status.AUTHORIZATION_REQUIRED),
    "a page": (answer(403, b"<html>", content_type="text/html"), Status.AUTHORIZATION_REQUIRED),
    "server error": (answer(500, b"oops"), Status.AUTHORIZATION_REQUIRED),
    "no response": (LATE, Status.AUTHORIZATION_REQUIRED),
    "rate limited": (answer(429, b"", retry_after="3600000"), Status.AUTHORIZATION_REQUIRED),
}


@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize("trouble", OWN_TROUBLES)
def test_a_refusal_for_ever_costs_other_connections_no_second(trouble: str, number: int) -> None:
    """With tokens of an hour, for nine hours; the owner or the operator is asked for the refused ones alone."""
    said, status = OWN_TROUBLES[trouble]
    f = fleet(A, B, C, D, E, lifetime=HOUR)
    refused, others = (A, B)[:number], (C, D, E)
    f.pass_time(60)
    f.provider.says = dict.fromkeys(refused, said)
    for _ in range(9 * 60):
        f.pass_time(60)
        assert all((f.records.items[name].expires_at or 0) > f.clock.now() for name in others)
        assert [f.status(name) for name in others] == [Status.ACTIVE] * 3
    assert [f.status(name) for name in refused] == [status] * number
    alerted = {event["detail"]["connection"] for event in f.bus.events.values() if event["detail"].get("alert")}
    assert alerted <= {*refused}


def test_one_connections_own_failure_holds_back_no_other_again_and_again() -> None:
    f = fleet(A, B, C)
    f.provider.says = {A: REFUSED_CLIENT}
    for _ in range(20):
        f.force(A)
        f.force(B)
        f.force(C)
        assert not f.client.is_open
        f.clock.advance(60)
    assert f.status(A) is Status.CLIENT_REFUSED


# --- a client that is refused -----------------------------------------------------------------------------------------


def refuse_client(*names: str, **behaviour: Any) -> Fleet:
    """A fleet whose client is refused, as the first three of its connections found out."""
    f = fleet(*names, to_all=REFUSED_CLIENT, **behaviour)
    for name in names[:3]:
        f.run(name)
    assert f.client.is_open
    return f


def test_three_refusals_of_a_client_hold_back_the_others_with_one_alert() -> None:
    f = fleet(A, B, C, D, E, to_all=REFUSED_CLIENT)
    f.run_all()
    assert f.provider.asked == [A, B, C]
    assert [f.status(name) for name in (A, B, C)] == [Status.CLIENT_REFUSED] * 3
    assert [f.status(name) for name in (D, E)] == [Status.ACTIVE] * 2, "nothing is known to be wrong with them"
    assert f.alerts == ["Client Refused"]
    assert f.bus.types == ["Client Refused"] * 3
    [first, *_] = f.bus.events.values()
    assert (first["detail"]["client"], first["detail"]["reason"]) == ("keap", "invalid_client")


def test_held_back_connections_serve_to_the_end_then_name_the_client() -> None:
    """Connections that are held back serve their tokens to the end, and then say whose credentials to correct."""
    f = refuse_client(A, B, C, D)
    served = f.run(D, caller_waits=True, rejected="another").tokens
    assert served is not None
    assert served.access_token == Secret("old")
    f.expire(D)
    with pytest.raises(ClientRefused) as raised:
        f.run(D, caller_waits=True)
    assert "evergrant client set keap" in raised.value.hint
    assert D not in f.provider.asked


def test_min_ttl_beyond_the_token_starts_no_attempt_while_held_back() -> None:
    """A caller that asks for more than the token's life starts no refresh attempt of a held-back connection."""
    f = refuse_client(A, B, C, D)
    f.run(D, caller_waits=True, min_ttl=80_000)
    assert D not in f.provider.asked
    assert f.records.items[D].failures == 0


def test_a_refused_client_gets_ten_quick_probes_then_few() -> None:
    """Each probe is another connection's; none is risked twice by the circuit."""
    names = [f"keap/{number:02}" for number in range(40)]
    f = refuse_client(*names)
    begun = f.clock.now()
    f.pass_time(4 * HOUR)
    probes = [(name, at - begun) for name, at in zip(f.provider.asked, f.provider.asked_at, strict=True)]
    probes = [(name, after) for name, after in probes if name not in names[:3] and after > 0]
    quick = [after for _, after in probes if after < 300]
    assert 10 <= len(quick) <= 12
    assert len(probes) - len(quick) <= 4 * 4 + 1, "one a quarter of an hour, and one before the first token expires"
    assert len({name for name, _ in probes}) == len(probes)
    assert f.alerts == ["Client Refused"]


def test_a_client_that_is_accepted_again_has_all_recover_at_once() -> None:
    names = [f"keap/{number:02}" for number in range(20)]
    f = refuse_client(*names)
    f.pass_time(2 * HOUR)
    f.expire()
    f.provider.to_all = None
    f.pass_time(16 * 60)
    assert [f.status(name) for name in names] == [Status.ACTIVE] * 20
    assert all((held.expires_at or 0) > f.clock.now() for held in f.records.items.values())
    assert not f.client.is_open
    assert f.alerts.count("Client Refused") == 1
    assert f.alerts.count("Connection Recovered") == 1, "of the one that raised the alert"


def test_another_entry_is_tried_at_once_by_one_connection() -> None:
    f = refuse_client(A, B, C, D, E)
    f.store_entry("v2")
    f.run(D)
    f.run(E)
    assert f.provider.asked == [A, B, C, D]
    assert (f.client.version, f.client.has_changed) == ("v2", True)
    f.store_entry("v3")
    f.provider.to_all = None
    f.run(E)
    assert not f.client.is_open
    f.receive(f.clock.now() + 60)
    assert [f.status(name) for name in (A, B, C, D, E)] == [Status.ACTIVE] * 5


def test_an_operator_who_forces_a_refresh_probes_at_once() -> None:
    f = refuse_client(A, B, C, D)
    f.provider.to_all = None
    tokens = f.run(D, caller_waits=True, force=True).tokens
    assert tokens is not None
    assert tokens.access_token == Secret("new-4")
    assert not f.client.is_open


def test_a_grant_that_is_refused_by_name_shows_that_the_client_is_accepted() -> None:
    f = refuse_client(A, B, C, D)
    f.provider.to_all, f.provider.says = None, {D: DEAD_GRANT}
    f.force(D)
    assert not f.client.is_open
    f.receive(f.clock.now() + 60)
    assert f.status(D) is Status.DEGRADED
    assert [f.status(name) for name in (A, B, C)] == [Status.ACTIVE] * 3


def test_a_client_that_is_refused_again_later_is_reported_again() -> None:
    f = refuse_client(A, B, C, D)
    f.provider.to_all = None
    f.pass_time(2 * HOUR)
    assert [f.status(name) for name in (A, B, C, D)] == [Status.ACTIVE] * 4
    f.provider.to_all = REFUSED_CLIENT
    f.pass_time(86_400)
    assert f.alerts.count("Client Refused") == 2


# --- an endpoint that does not work -----------------------------------------------------------------------------------


def break_endpoint(*names: str, said: HttpResponse | Exception = DOWN) -> Fleet:
    """A fleet whose endpoint does not work, as two of its connections found out."""
    f = fleet(*names, to_all=said)
    for name in names[:2]:
        f.run(name)
    assert f.endpoint.is_open
    return f


OUTAGES: dict[str, HttpResponse | Exception] = {
    "503": DOWN,
    "500": answer(500, b""),
    "a front end's page": answer(403, b"<html>", content_type="text/html"),
    "not found": answer(404, b"default backend"),
    "rate limited": answer(429, b"", retry_after="30"),
    "timeout": LATE,
    "unreachable": NotSent("no route", reason="connect"),
}


@pytest.mark.parametrize("said", OUTAGES.values(), ids=OUTAGES)
def test_two_failures_hold_back_what_is_sent_to_the_endpoint(said: HttpResponse | Exception) -> None:
    """No further refresh token comes into doubt."""
    f = fleet(A, B, C, D, to_all=said)
    f.run_all()
    assert f.provider.asked == [A, B]
    assert f.endpoint.is_open
    assert not f.client.is_open
    assert [f.records.items[name].failures for name in (C, D)] == [0, 0]


@pytest.mark.parametrize("said", [answer(400, {"error": "invalid_scope"}), DEAD_GRANT, REFUSED_CLIENT, NOT_ALLOWED])
def test_an_answer_of_the_server_itself_opens_no_endpoint(said: HttpResponse) -> None:
    f = fleet(A, B, to_all=said)
    f.run_all()
    assert f.provider.asked == [A, B]
    assert not f.endpoint.is_open


@pytest.mark.parametrize("reason", ["host", "request", "address"])
def test_a_request_that_we_cannot_send_is_no_fault_of_the_endpoint(reason: Any) -> None:
    f = fleet(A, B, C, to_all=NotSent("no", reason=reason))
    f.run_all()
    assert f.provider.asked == [A, B, C]
    assert f.circuits.items == {}


def test_a_failed_probe_sends_no_message_to_itself() -> None:
    """The tick sends the probes; what is held back is only due."""
    f = break_endpoint(A, B, C)
    now = int(f.clock.now())
    f.expire(refresh_at=now, due_at=now, due_shard="0")
    f.clock.advance(60)
    f.receive()
    f.tick()
    f.receive(f.clock.now() + 59)
    assert f.endpoint.probes == 3
    assert (f.queue.messages, f.waiting) == ([], [])


def test_a_caller_is_served_what_there_is_while_the_endpoint_is_down() -> None:
    f = break_endpoint(A, B, C)
    served = f.run(C, caller_waits=True, min_ttl=80_000).tokens
    assert served is not None
    assert served.access_token == Secret("old")
    f.expire(C)
    with pytest.raises(TemporarilyUnavailable) as raised:
        f.run(C, caller_waits=True)
    assert ENDPOINT in raised.value.message
    assert 1 <= raised.value.as_dict()["retry_after"] <= 15
    assert f.provider.asked == [A, B]


@pytest.mark.parametrize("said", OUTAGES.values(), ids=OUTAGES)
@pytest.mark.parametrize("minutes", [20, 100])
def test_all_recover_in_90_seconds_after_an_outage_and_no_one_is_asked(
    said: HttpResponse | Exception, minutes: int
) -> None:
    """Also in 150 seconds behind a page that refuses; in the first hour few requests are sent, and then fewer."""
    names = [f"keap/{number:02}" for number in range(30)]
    f = fleet(*names, to_all=said)
    f.expire(left=300)
    begun = f.clock.now()
    f.pass_time(minutes * 60)
    assert count_requests(f, begun + 15) <= minutes * 4 + 2, "at most one every 15 seconds"
    f.provider.to_all = None
    allowed = 150 if isinstance(said, HttpResponse) and said.status in (403, 429) else 90
    f.pass_time(allowed + (300 if minutes >= 60 else 0))
    late = [name for name in names if (f.records.items[name].expires_at or 0) <= f.clock.now()]
    # What may be in flight is waited for, a quarter of an hour.
    assert late == [] or (said is LATE and len(late) < 30)
    f.pass_time(16 * 60)
    assert [f.status(name) for name in names] == [Status.ACTIVE] * 30
    assert not f.endpoint.is_open
    assert "Authorization Required" not in f.bus.types
    assert f.alerts.count("Connection Degraded") == 1, "one for all, since tokens expired meanwhile"


def test_an_outage_while_all_tokens_live_is_no_alert() -> None:
    f = fleet(A, B, C, D, to_all=DOWN)
    f.pass_time(40 * 60)
    f.provider.to_all = None
    assert f.alerts == []
    assert len(f.provider.asked) == 2, "and puts no refresh token at stake"


def test_an_outage_that_no_probe_may_test_ends_with_the_first_last_chance() -> None:
    """Where all tokens live, and each refresh works once, the first to expire is let through in its last minute."""
    f = break_endpoint(A, B, C, D)
    f.provider.to_all = None
    f.expire(C, left=1800)
    f.pass_time(1800)
    assert f.provider.asked[2] == C
    f.pass_time(120)
    assert [(f.records.items[name].expires_at or 0) > f.clock.now() for name in (A, B, C, D)] == [True] * 4
    assert not f.endpoint.is_open


def test_refused_without_a_reason_is_known_as_soon_as_another_one_succeeds() -> None:
    """The connection is woken, and is the owner's ten minutes after its first refusal."""
    f = fleet(A, B)
    f.provider.says = {A: BLANK}
    f.run(A)
    f.run(B)  # within the same second
    assert f.queue.messages == []
    f.clock.advance(1)
    f.force(B)
    assert [message for message, _ in f.queue.messages] == [{"task": "wake", "connection": A}]
    f.pass_time(11 * 60)
    assert f.status(A) is Status.AUTHORIZATION_REQUIRED
    assert f.alerts == ["Authorization Required"]


def test_where_all_are_refused_without_a_reason_the_operator_is_asked() -> None:
    f = fleet(A, B, C, to_all=BLANK)
    f.expire()
    f.pass_time(30 * HOUR)
    assert "Authorization Required" not in f.bus.types
    assert f.alerts.count("Connection Degraded") >= 2, "at once, and a day later"
    f.provider.to_all = None
    f.pass_time(2 * HOUR)
    assert [f.status(name) for name in (A, B, C)] == [Status.ACTIVE] * 3


# --- many grants at once ----------------------------------------------------------------------------------------------


def test_mass_refusals_are_one_alert_and_no_owners() -> None:
    names = [f"keap/{number:02}" for number in range(12)]
    f = fleet(*names, to_all=DEAD_GRANT)
    f.pass_time(115 * 60)
    assert f.alerts == ["Grants Refused"]
    assert [f.status(name) for name in names] == [Status.DEGRADED] * 12
    each = {f.provider.asked.count(name) for name in names}
    assert min(each) >= 10, "a try every ten minutes"
    f.provider.to_all = None
    f.pass_time(11 * 60)
    assert [f.status(name) for name in names] == [Status.ACTIVE] * 12
    assert "Authorization Required" not in f.bus.types
    assert f.client.incident_at is None


def test_mass_refusals_that_last_are_the_owners_after_two_hours() -> None:
    names = [f"keap/{number:02}" for number in range(6)]
    f = fleet(*names, to_all=DEAD_GRANT)
    f.pass_time(135 * 60)
    assert [f.status(name) for name in names] == [Status.AUTHORIZATION_REQUIRED] * 6
    assert f.alerts.count("Grants Refused") == 1


# --- probes -----------------------------------------------------------------------------------------------------------


def claim_probe(f: Fleet, name: str, circuit: str = ENDPOINT_KEY) -> dict[str, Any]:
    """As a tick does."""
    until = int(f.clock.now()) + 30
    f.records.change(name, {"due_at": until})
    return dict(create_probe(name, circuit, until))


def test_a_doubled_probe_message_is_no_second_request() -> None:
    f = break_endpoint(A, B, C)
    f.expire(C)
    message = claim_probe(f, C)
    for _ in range(3):
        assert process_task(f.start(), message)
    assert f.provider.asked == [A, B, C]


def test_a_probe_whose_connection_was_worked_on_since_is_held_back() -> None:
    f = break_endpoint(A, B, C)
    message = claim_probe(f, C)
    f.records.change(C, {"due_at": int(f.clock.now())})
    process_task(f.start(), message)
    assert f.provider.asked == [A, B]


def test_a_probe_of_another_circuit_is_held_back() -> None:
    """An endpoint's probes may be on their way when it closes, while a client is refused that has its own pace."""
    f = break_endpoint(A, B, C)
    f.expire(C)
    assert process_task(f.start(), claim_probe(f, C, CLIENT_KEY))
    assert f.provider.asked == [A, B]
    assert process_task(f.start(), claim_probe(f, C))
    assert f.provider.asked == [A, B, C]


def test_a_probe_that_was_lost_is_made_good_by_the_next() -> None:
    f = break_endpoint(A, B, C, D)
    f.expire(C, D)
    f.provider.to_all = None
    f.tick()
    f.queue.messages.clear()
    f.pass_time(4 * 60)
    assert not f.endpoint.is_open
    assert [f.status(name) for name in (C, D)] == [Status.ACTIVE] * 2


def test_a_caller_probes_where_no_tick_has_sent_a_probe_in_time() -> None:
    """A connection that is not due is in no tick's list. One caller is let through, if its token has expired."""
    f = break_endpoint(A, B, C, D)
    f.provider.to_all = None
    f.expire(C, D)
    f.clock.advance(134)
    for name in (C, D):
        with pytest.raises(TemporarilyUnavailable):
            f.run(name, caller_waits=True)
    f.clock.advance(1)
    assert f.run(C, caller_waits=True).outcome == "rotated"
    assert not f.endpoint.is_open


def test_a_spared_refresh_token_is_let_through_just_before_its_end() -> None:
    """Its last try is at its own time, half a minute before the access token expires; two of them are 15 s apart."""
    f = break_endpoint(A, B, C)
    last_try_at = int(f.clock.now()) + 570
    f.expire(A, B, C, left=600, refresh_at=last_try_at, due_at=last_try_at)
    f.clock.time = float(last_try_at)
    for name in (C, A, B):
        f.run(name)
    assert f.provider.asked == [A, B, A], "C has not been tried, and waits for the tick's last chance"
    f.clock.advance(14)
    f.run(B)
    assert f.provider.asked == [A, B, A]
    f.clock.advance(1)
    f.run(B)
    assert f.provider.asked == [A, B, A, B]


def test_a_caller_with_a_living_token_never_probes_an_endpoint() -> None:
    f = break_endpoint(A, B, C)
    f.clock.advance(HOUR)
    f.run(C, caller_waits=True, min_ttl=80_000)
    assert f.provider.asked == [A, B]


@pytest.mark.parametrize("make", [lambda: break_endpoint(A, B, C, D), lambda: refuse_client(A, B, E, C, D)])
def test_of_two_that_would_probe_at_the_same_time_one_does(make: Any) -> None:
    f: Fleet = make()
    f.expire(C, D)
    f.clock.advance(HOUR)
    asked, change = len(f.provider.asked), f.circuits.change

    def while_we_claim(*args: Any, **kwargs: Any) -> Any:
        f.circuits.change = change  # type: ignore[method-assign]
        with suppress(TemporarilyUnavailable, ClientRefused):
            f.run(D, caller_waits=True)
        return change(*args, **kwargs)

    f.circuits.change = while_we_claim  # type: ignore[method-assign]
    with pytest.raises((TemporarilyUnavailable, ClientRefused)):
        f.run(C, caller_waits=True)
    assert f.provider.asked[asked:] == [D]


# --- circuits that fail -----------------------------------------------------------------------------------------------


def fail(*_: Any, **__: Any) -> Any:
    raise PortUnavailable("made to fail")


@pytest.mark.parametrize("said", [None, DEAD_GRANT, REFUSED_CLIENT, DOWN])
def test_a_circuit_that_cannot_be_written_costs_the_connection_nothing(said: HttpResponse | None) -> None:
    """It only informs other connections. What this one got is recorded as without it."""
    broken, sound = fleet(A, to_all=said), fleet(A, to_all=said)
    broken.circuits.change = fail  # type: ignore[method-assign]
    broken.run(A)
    sound.run(A)
    recorded = [(f.status(A), f.records.items[A].last_error, f.records.items[A].generation) for f in (broken, sound)]
    assert recorded[0] == recorded[1]
    assert broken.bus.types == sound.bus.types


def test_circuits_that_cannot_be_read_stop_the_attempt_before_it_is_sent() -> None:
    f = fleet(A)
    f.circuits.get_many = fail  # type: ignore[method-assign]
    f.run(A)
    assert f.provider.asked == []
    assert f.records.items[A].last_error == "service_unavailable"


@pytest.mark.parametrize("conflicts", [1, 2, 3, 9])
def test_a_change_of_another_worker_is_taken_into_account(conflicts: int) -> None:
    """Another worker opens the circuit between our read and our write; after three of them it is left to others."""
    f = fleet(A, B, C, to_all=DOWN)
    f.expire()
    change, left = f.circuits.change, conflicts

    def overtaken(client: str, changes: Any, *, only_if: Any) -> Any:
        nonlocal left
        if client == ENDPOINT_KEY and left:
            left -= 1
            opened = Circuit(ENDPOINT_KEY, opened_at=int(f.clock.now()) - left, failures={B: Failure(1, "unclear")})
            f.circuits.items[ENDPOINT_KEY] = opened
            raise Conflict(client, opened)
        return change(client, changes, only_if=only_if)

    f.circuits.change = overtaken  # type: ignore[method-assign]
    f.run(A)
    assert f.records.items[A].failures == 1
    assert f.endpoint.is_open
    assert f.endpoint.probes == (1 if conflicts < 3 else 0)
    assert f.records.items[A].refresh_at == int(f.clock.now()), "held back, since it saw the circuit open"


def test_two_refusals_at_the_same_time_see_each_other() -> None:
    f = fleet(A, B, C, to_all=REFUSED_CLIENT)
    f.run(C)
    change = f.circuits.change

    def overtaken(*args: Any, **kwargs: Any) -> Any:
        f.circuits.change = change  # type: ignore[method-assign]
        f.run(B)
        return change(*args, **kwargs)

    f.circuits.change = overtaken  # type: ignore[method-assign]
    f.run(A)
    f.force(A)
    assert f.client.is_open


def test_a_dispatch_that_cannot_be_queued_is_the_next_ticks() -> None:
    f = break_endpoint(A, B, C, D)
    f.provider.to_all = None
    send = f.queue.send
    f.queue.send = fail  # type: ignore[method-assign]
    f.force(C)
    f.queue.send = send  # type: ignore[method-assign]
    assert f.queue.messages == []
    f.clock.advance(60)
    assert f.tick().sent == 1, "what was held back is due"


def test_closing_a_circuit_queues_one_dispatch() -> None:
    for f, key in ((break_endpoint(A, B, C), ENDPOINT_KEY), (refuse_client(A, B, D, C), CLIENT_KEY)):
        f.provider.to_all = None
        f.force(C)
        f.force(A)
        queued = [message for message, _ in f.queue.messages if message.get("task") == "dispatch"]
        assert queued == [{"task": "dispatch", "circuit": key}]


def test_an_alert_that_cannot_be_marked_is_only_repeated() -> None:
    f = fleet(A, B, to_all=REFUSED_CLIENT)
    change = f.circuits.change

    def fail_to_mark(client: str, changes: Any, *, only_if: Any) -> Any:
        return fail() if "alerted_at" in changes else change(client, changes, only_if=only_if)

    f.circuits.change = fail_to_mark  # type: ignore[method-assign]
    f.run_all()
    assert f.alerts == ["Client Refused"] * 2
    assert [f.status(name) for name in (A, B)] == [Status.CLIENT_REFUSED] * 2


# --- a crash, or a failing service, at any call -----------------------------------------------------------------------


def run_with_fault(f: Fleet, names: Sequence[str], at: int, kind: str, **ask: Any) -> None:
    f.faults.calls.clear()
    f.faults.at, f.faults.kind = at, kind
    for name in names:
        with suppress(Crash, PortUnavailable, Conflict, TemporarilyUnavailable):
            f.run(name, **ask)
    f.faults.at = None


@pytest.mark.parametrize("kind", ["crash-before", "crash-after", "before", "after"])
@pytest.mark.parametrize("at", range(1, 28))
@pytest.mark.parametrize("said", [REFUSED_CLIENT, DOWN], ids=["client refused", "endpoint down"])
def test_any_failing_call_lets_all_recover_and_reports_the_trouble(said: HttpResponse, at: int, kind: str) -> None:
    f = fleet(A, B, C, to_all=said)
    f.expire(left=600)
    run_with_fault(f, (A, B, C), at, kind)
    assert len(f.faults.calls) >= min(at, 20)
    f.pass_time(20 * 60)
    alert = "Client Refused" if said is REFUSED_CLIENT else "Connection Degraded"
    assert 1 <= f.alerts.count(alert) <= 3, "by each connection itself, where the circuit was not written"
    f.provider.to_all = None
    f.pass_time(20 * 60)
    assert [f.status(name) for name in (A, B, C)] == [Status.ACTIVE] * 3
    assert not f.client.is_open
    assert not f.endpoint.is_open


@pytest.mark.parametrize("kind", ["crash-before", "crash-after", "before", "after"])
@pytest.mark.parametrize("at", range(1, 15))
@pytest.mark.parametrize("make", [refuse_client, break_endpoint], ids=["client refused", "endpoint down"])
def test_any_failing_call_of_the_probe_lets_all_recover(make: Any, at: int, kind: str) -> None:
    f: Fleet = make(A, B, C, D)
    f.provider.to_all = None
    f.expire()
    run_with_fault(f, (D,), at, kind, caller_waits=True, force=True)
    f.pass_time(20 * 60)
    assert [f.status(name) for name in (A, B, C, D)] == [Status.ACTIVE] * 4
    assert not f.client.is_open
    assert not f.endpoint.is_open


# --- the trouble after the trouble ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("trouble", "error"),
    [
        (answer(400, {"error": "invalid_scope"}), "invalid_scope"),
        (answer(429, b""), "rate_limited"),
        (NotSent("no route"), "not_sent"),
        (answer(200, {"result": {"token": "access-9"}}), "unreadable_response"),
        (UnknownClient("gone"), "unknown_client"),
    ],
)
def test_an_own_failure_after_the_client_recovers_is_reported_as_such(trouble: Any, error: str) -> None:
    """A connection that fails for itself, once its client is accepted again, says so and is reported."""
    f = refuse_client(A, B, C, D)
    before = set(f.bus.events)
    f.provider.to_all = None
    if isinstance(trouble, UnknownClient):
        f.records.items[A] = replace(f.records.items[A], client="gone")
    else:
        f.provider.says = {A: trouble}
    f.force(D)
    f.pass_time(3 * HOUR + 600)
    assert (f.status(A), f.records.items[A].last_error) == (Status.DEGRADED, error)
    assert [f.status(name) for name in (B, C, D)] == [Status.ACTIVE] * 3
    events = [body for key, body in f.bus.events.items() if key not in before and body["detail"]["connection"] == A]
    assert {body["type"] for body in events} == {"Connection Degraded"}
    assert len([body for body in events if body["detail"]["alert"]]) == 1, "before its token expires"
