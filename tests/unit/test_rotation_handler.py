"""Protects rotator's two ways in: one bad message does not take others along, and every request gets an answer."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from threading import Barrier, Event
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evergrant.adapters.observability import metrics
from evergrant.errors import (
    AuthorizationRequired,
    Conflict,
    InvalidRequest,
    SealBroken,
    TemporarilyUnavailable,
    UnknownConnection,
    UnknownProfile,
)
from evergrant.ports import PortUnavailable, RotationPorts
from evergrant.profiles.model import content_hash
from evergrant.record import queued_dispatch
from evergrant.record.circuit import Circuit, create_endpoint_key
from evergrant.record.failures import Reason
from evergrant.rotation.connection_pass import Rotation
from evergrant.rotation.handler import handle_request, parse_demand, process_batch
from evergrant.rotation.refresh_demand import Outcome, Result, TokenDemand
from evergrant.rotation.tick import Tick
from tests.unit.samples import KEAP, NOW, connection, tokens

ENDPOINT = Circuit(create_endpoint_key("https://a.example/token"))


class Clock:
    """Stands still, unless it is moved."""

    time = float(NOW)

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        raise AssertionError("nothing here sleeps")


class Protocol:
    """Stands for the rotation protocol, which has tests of its own."""

    def __init__(self, clock: Clock | None = None, takes: float = 0, **outcomes: Exception) -> None:
        self.ran: list[TokenDemand] = []
        self.saved: list[Mapping[str, Any]] = []
        self.clock, self.takes, self.outcomes = clock or Clock(), takes, outcomes
        self.table_takes = True
        self.failing_services: list[str] = []
        self.dependency_errors: list[str] = []
        self.failure: Reason | None = None
        self.dispatched: list[str] = []
        self.result = Result("rotated", connection(profile_hash=content_hash(KEAP)), tokens())

    def run(self, ask: TokenDemand) -> Result:
        self.ran.append(ask)
        self.dependency_errors = list(self.failing_services)
        self.clock.time += self.takes
        failure = self.outcomes.get(ask.connection.partition("/")[2])
        if failure:
            raise failure
        return self.result

    def save_from_queue(self, message: Mapping[str, Any]) -> bool:
        self.saved.append(message)
        self.dependency_errors = []
        failure = self.outcomes.get("saving")
        if failure:
            raise failure
        return self.table_takes

    def dispatch(self, circuit: str) -> Tick:
        self.dispatched.append(circuit)
        failure = self.outcomes.get("dispatching")
        if failure:
            raise failure
        return Tick(claimed=3, sent=2, left=1)


class Profiles:
    def load_pinned(self, content_hash: str) -> Any:
        return KEAP


def work(protocol: Protocol, *bodies: Any, left: float = 60) -> list[str]:
    """The messages handed back, by their place."""
    messages = [
        {"messageId": str(number), "body": body if isinstance(body, str) else json.dumps(body)}
        for number, body in enumerate(bodies)
    ]
    response = process_batch(lambda: cast(Rotation, protocol), messages, protocol.clock, protocol.clock.now() + left)
    assert response.keys() == {"batchItemFailures"}
    return [failure["itemIdentifier"] for failure in response["batchItemFailures"]]


def of(account: str) -> dict[str, str]:
    return {"connection": f"keap/{account}"}


# The queue


def test_every_message_is_worked_on_as_the_schedules() -> None:
    protocol = Protocol()
    assert work(protocol, of("a"), of("b")) == []
    assert sorted(ask.connection for ask in protocol.ran) == ["keap/a", "keap/b"]
    assert all(ask == TokenDemand(ask.connection) for ask in protocol.ran)
    assert protocol.saved == []


def test_messages_of_a_batch_run_side_by_side_with_a_worker_each() -> None:
    """Messages of a batch are worked on side by side, each by a worker of its own."""
    together = Barrier(5, timeout=10)
    workers: list[Protocol] = []

    class Waiting(Protocol):
        def run(self, ask: TokenDemand) -> Result:
            together.wait()  # breaks, and fails the test, unless all five are in here at once
            return super().run(ask)

    def begin() -> Rotation:
        workers.append(Waiting())
        return cast(Rotation, workers[-1])

    messages = [{"messageId": str(number), "body": json.dumps(of(f"a{number}"))} for number in range(5)]
    assert process_batch(begin, messages, Clock(), NOW + 60) == {"batchItemFailures": []}
    assert [len(worker.ran) for worker in workers] == [1] * 5


@pytest.mark.parametrize("broken", range(3))
def test_a_worker_that_cannot_be_made_fails_the_batch_after_the_others(broken: int) -> None:
    """A worker that cannot be made fails the batch, once the others are done."""
    # A function that ended while they work would freeze them in the midst of a refresh.
    begun, done = iter(range(3)), Protocol()

    class Slow(Protocol):
        def run(self, ask: TokenDemand) -> Result:
            others_are_begun.wait(10)
            return done.run(ask)

    others_are_begun = Event()

    def begin() -> Rotation:
        number = next(begun)
        if number == 2:
            others_are_begun.set()
        if number == broken:
            raise RuntimeError("unexpected")
        return cast(Rotation, Slow())

    messages = [{"messageId": str(number), "body": json.dumps(of(f"a{number}"))} for number in range(3)]
    with pytest.raises(RuntimeError):
        process_batch(begin, messages, Clock(), NOW + 60)
    assert len(done.ran) == 2


def test_a_batch_may_be_empty() -> None:
    assert work(Protocol()) == []


def test_what_cannot_be_begun_in_time_is_handed_back_untouched() -> None:
    protocol = Protocol()
    assert work(protocol, of("a"), of("b"), left=19.9) == ["0", "1"]
    assert protocol.ran == []
    assert work(protocol, of("a"), of("b"), left=20) == []


def test_a_connection_that_is_gone_is_done_with() -> None:
    assert work(Protocol(gone=UnknownConnection("keap/gone")), of("gone"), of("b")) == []


@pytest.mark.parametrize("failure", [SealBroken("x"), UnknownProfile("x"), Conflict("x")])
def test_a_failure_of_our_own_hands_back_its_message_alone(failure: Exception) -> None:
    protocol = Protocol(bad=failure)
    assert work(protocol, of("a"), of("bad"), of("c")) == ["1"]
    assert len(protocol.ran) == 3


def test_a_bug_fails_its_message_alone_and_is_logged_without_its_text(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A mistake of our own fails its message alone, and is logged without its text."""
    protocol = Protocol(bad=RuntimeError("canary-token"))
    assert work(protocol, of("a"), of("bad"), of("c")) == ["1"]
    assert sorted(ask.connection for ask in protocol.ran) == ["keap/a", "keap/bad", "keap/c"]
    [error] = [record for record in caplog.records if record.levelname == "ERROR"]
    logged = vars(error)
    assert (logged["connection"], logged["reason"]) == ("keap/bad", "RuntimeError")
    assert re.fullmatch(r"(\S+:\d+ )*tests\.unit\.test_rotation_handler:\d+", logged["at"]), (
        "where, from the outside in"
    )
    assert "canary" not in str(logged)


@pytest.mark.parametrize(
    "body",
    [
        "",
        "{",
        pytest.param("[" * 10**5, id="deep"),
        "[]",
        "7",
        "null",
        '"x"',
        "{}",
        '{"connection": 7}',
        '{"connection": "x"}',
        '{"task": "probe"}',
        '{"task": "probe", "connection": "x", "claimed_until": 5}',
        '{"task": "dispatch"}',
    ],
)
def test_a_message_that_cannot_be_read_is_handed_back_alone(body: str) -> None:
    protocol = Protocol()
    assert work(protocol, of("a"), body, of("c")) == ["1"]
    assert sorted(ask.connection for ask in protocol.ran) == ["keap/a", "keap/c"]


def test_an_outage_leaves_the_next_try_to_the_claim() -> None:
    assert work(Protocol(a=PortUnavailable("down")), of("a"), of("b")) == []


def test_a_sealed_set_is_saved_before_anything_else_and_kept_until_it_is() -> None:
    save = {**of("a"), "task": "save", "changes": {"generation": 4}}
    protocol = Protocol()
    assert work(protocol, save) == []
    assert (protocol.saved, protocol.ran) == ([save], [TokenDemand("keap/a")])
    for failure in (PortUnavailable("down"), Conflict("keap/a"), SealBroken("x"), RuntimeError("x")):
        failing = Protocol(saving=failure)
        assert work(failing, save) == ["0"]
        assert failing.ran == []
    assert work(Protocol(a=PortUnavailable("down")), save) == [], "it is saved, and due"


def test_a_sealed_set_that_was_sent_again_is_done_and_nothing_runs() -> None:
    """A sealed token set that was sent again is done with, and nothing more is run."""
    protocol = Protocol()
    protocol.table_takes = False
    assert work(protocol, {**of("a"), "task": "save", "changes": {}}, of("b")) == []
    assert protocol.ran == [TokenDemand("keap/b")]


def test_a_connection_that_is_woken_need_not_wait_for_its_next_try() -> None:
    protocol = Protocol()
    assert work(protocol, {**of("a"), "task": "wake"}) == []
    assert protocol.ran == [TokenDemand("keap/a", woken=True)]
    protocol.result = replace(protocol.result, outcome="no_time")
    assert work(protocol, {**of("a"), "task": "wake"}, of("b")) == ["0"], "it has nothing but this message"


def test_a_probe_is_one_only_for_the_claim_of_its_tick() -> None:
    protocol = Protocol()
    assert work(protocol, queued_dispatch.create_probe("keap/a", ENDPOINT.key, NOW + 30)) == []
    assert protocol.ran == [TokenDemand("keap/a", probe_of=ENDPOINT.key, probe_claim=NOW + 30)]
    assert work(protocol, {**of("b"), "claimed_until": NOW + 30}) == []
    assert protocol.ran[1:] == [TokenDemand("keap/b")], "only a probe has a claim"


@pytest.mark.parametrize(
    ("due_at", "now", "is_probe"),
    [(NOW + 30, NOW + 29, True), (NOW + 30, NOW + 30, False), (NOW + 31, NOW, False), (None, NOW, False)],
)
def test_a_probe_that_comes_late_or_after_other_work_is_none(due_at: int | None, now: int, is_probe: bool) -> None:
    """A later tick may have sent the next one; and a worker that was there has moved the due date."""
    demand = TokenDemand("keap/a", probe_of=ENDPOINT.key, probe_claim=NOW + 30)
    assert demand.is_probe_of(ENDPOINT, connection(name="keap/a", due_at=due_at), now) is is_probe


@pytest.mark.parametrize("claim", [None, "x", [], {}])
def test_a_probe_without_a_claim_is_an_ordinary_message(claim: Any) -> None:
    protocol = Protocol()
    assert work(protocol, {**of("a"), "task": "probe", "claimed_until": claim}) == []
    [ask] = protocol.ran
    assert not ask.is_probe_of(ENDPOINT, connection(name="keap/a", due_at=NOW), NOW - 1)


def test_a_dispatch_is_of_a_client_or_of_an_endpoint() -> None:
    protocol = Protocol()
    keys = ["client#keap", "endpoint#https://api.example.com/token"]
    assert work(protocol, *map(queued_dispatch.create_message, keys)) == []
    assert sorted(protocol.dispatched) == keys
    assert protocol.ran == []


def test_a_dispatch_that_fails_leaves_the_rest_to_the_next_tick(counted: list[str]) -> None:
    """What was held back is still due, so no copy of the message is needed."""
    protocol = Protocol(dispatching=PortUnavailable("down"))
    assert work(protocol, queued_dispatch.create_message("client#keap"), of("b")) == []
    assert sorted(counted) == ["DependencyErrors", "Rotations"]


def test_a_dispatch_with_a_bug_fails_alone() -> None:
    protocol = Protocol(dispatching=RuntimeError("canary-token"))
    assert work(protocol, of("a"), queued_dispatch.create_message("client#keap")) == ["1"]


# What is counted, and what is logged


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the metrics that are counted, one for each time."""
    names: list[str] = []
    monkeypatch.setattr(metrics, "add_metric", lambda name, unit, value: names.append(name))
    return names


@pytest.mark.parametrize(
    ("outcome", "names"), [("rotated", ["Rotations"]), ("failed", ["RotationFailures"]), ("fresh", []), ("busy", [])]
)
def test_what_became_of_a_refresh_is_counted(outcome: Outcome, names: list[str], counted: list[str]) -> None:
    protocol = Protocol()
    protocol.result = replace(protocol.result, outcome=outcome)
    work(protocol, of("a"))
    assert counted == names


def test_a_pass_with_dependency_errors_is_counted(counted: list[str]) -> None:
    """A pass that meets dependency errors is counted, or no alarm would ever rise."""
    protocol = Protocol(a=PortUnavailable("down"))
    work(protocol, of("a"))
    assert counted == ["DependencyErrors"]
    ask(protocol, of("a"))
    assert counted == ["DependencyErrors"] * 2


def test_what_a_pass_could_not_publish_or_tell_is_counted_and_logged(
    counted: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    protocol = Protocol()
    protocol.failing_services = ["publishing: LimitExceededException"]
    protocol.result = replace(protocol.result, outcome="unpublished")
    work(protocol, of("a"))
    ask(protocol, of("a"))
    protocol.outcomes = {"a": TemporarilyUnavailable("No valid token can be had now.", 5)}
    ask(protocol, of("a"))
    assert counted == ["DependencyErrors"] * 3
    errors = [vars(line) for line in caplog.records if line.levelname == "ERROR"]
    assert [line["reason"] for line in errors] == ["publishing: LimitExceededException"] * 3


def test_a_token_set_that_the_table_does_not_take_yet_is_counted(counted: list[str]) -> None:
    protocol = Protocol()
    protocol.table_takes = False
    work(protocol, {**of("a"), "task": "save"})
    assert counted == ["DependencyErrors"]


@pytest.mark.parametrize("by_queue", [True, False])
def test_code_and_status_of_a_refusal_are_logged_with_the_connection(
    by_queue: bool, caplog: pytest.LogCaptureFixture
) -> None:
    protocol = Protocol()
    protocol.result = replace(protocol.result, outcome="failed")
    protocol.failure = Reason("invalid_grant", 400, "application/json")
    if by_queue:
        work(protocol, of("a"))
    else:
        ask(protocol, of("a"))
    [line] = [vars(record) for record in caplog.records if record.levelname == "WARNING"]
    logged = [line[name] for name in ("connection", "code", "http_status", "detail")]
    assert logged == ["keap/a", "invalid_grant", 400, "application/json"]


# Requests


def ask(protocol: Protocol, request: Mapping[str, Any]) -> dict[str, Any]:
    unused = cast(Any, None)
    ports = RotationPorts(*(unused, Profiles(), unused, unused, unused, unused, protocol.clock, unused, unused))
    return handle_request(cast(Rotation, protocol), ports, request)


def test_a_request_is_answered_with_the_document_and_the_seconds_left() -> None:
    protocol = Protocol()
    protocol.clock.time += 0.5
    answered = ask(protocol, of("main"))
    assert (answered["access_token"], answered["expires_in"], answered["generation"]) == ("access-1", 86_399, 3)
    assert answered["headers"] == {"Authorization": "Bearer access-1"}
    assert "refresh-1" not in json.dumps(answered)


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (AuthorizationRequired("keap/main"), "authorization_required"),
        (UnknownConnection("keap/main"), "unknown_connection"),
        (TemporarilyUnavailable("x", 5), "temporarily_unavailable"),
        (SealBroken("x"), "seal_broken"),
        (PortUnavailable("canary"), "temporarily_unavailable"),
    ],
)
def test_a_request_that_fails_is_answered_with_its_error(failure: Exception, code: str) -> None:
    answered = ask(Protocol(main=failure), of("main"))
    assert answered["error"]["code"] == code
    assert "canary" not in json.dumps(answered)


def test_a_service_that_fails_while_answering_is_an_ordinary_error(monkeypatch: Any) -> None:
    """A service that fails when the answer is at hand is an error like others."""

    def down(self: Profiles, content_hash: str) -> Any:
        raise PortUnavailable("canary")

    monkeypatch.setattr(Profiles, "load_pinned", down)
    assert ask(Protocol(), of("main"))["error"]["code"] == "temporarily_unavailable"


def test_a_connection_without_a_token_yet_says_when_to_retry() -> None:
    protocol = Protocol()
    protocol.result = Result("waiting", connection(sealed=None))
    answered = ask(protocol, of("main"))["error"]
    assert (answered["code"], answered["retry_after"]) == ("temporarily_unavailable", 5)


def test_what_was_asked_is_what_the_protocol_is_asked() -> None:
    request = {**of("main"), "min_ttl": 60, "rejected": "0123456789abcdef", "force": True, "wait": 5}
    assert parse_demand(request) == TokenDemand("keap/main", True, 60, "0123456789abcdef", True, 5)
    assert parse_demand(of("main")) == TokenDemand("keap/main", True, 0, None, False, 25)


def test_no_caller_waits_longer_than_an_http_api_does() -> None:
    assert parse_demand({**of("main"), "wait": 600}).wait == 25


@pytest.mark.parametrize("force", [None, False, "true", 1, "yes"])
def test_only_true_is_true(force: Any) -> None:
    assert parse_demand({**of("main"), "force": force}).force is False


@pytest.mark.parametrize("field", ["min_ttl", "wait"])
@pytest.mark.parametrize("value", [-1, "60", True, None, [], float("nan"), float("inf"), 10**9])
def test_an_absurd_number_of_seconds_is_refused_by_its_name(field: str, value: Any) -> None:
    with pytest.raises(InvalidRequest, match=field):
        parse_demand({**of("main"), field: value})


@given(
    st.dictionaries(
        st.sampled_from(["connection", "min_ttl", "wait", "rejected", "force"]),
        st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just("keap/main"),
    )
)
def test_no_request_raises_anything_but_a_refusal(request_: dict[str, Any]) -> None:
    assert ask(Protocol(), request_).keys() & {"error", "access_token"}
