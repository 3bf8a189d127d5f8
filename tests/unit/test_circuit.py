"""Protects circuits: what answers to several connections say of their client, or endpoint, and what they do not say.

Answers are recorded one after the other, as rotator records them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evergrant.record.circuit import (
    ALERT_AGAIN_SECONDS,
    MAX_ENTRIES,
    UNAUTHORIZED,
    VAGUE,
    Answer,
    Circuit,
    CircuitChanges,
    Failure,
    Surroundings,
    create_client_key,
    create_endpoint_key,
    forget_failures,
    record_answer,
)
from evergrant.record.status import Status
from evergrant.times import DAY_SECONDS
from tests.unit.samples import ENDPOINT_URL, NOW, connection

CLIENT, ENDPOINT = create_client_key("keap"), create_endpoint_key(ENDPOINT_URL)
ACCEPTED, ANSWERED = Answer("accepted"), Answer("answered")
REFUSED = Answer("failed", "invalid_client", 401, "application/json")
NOT_ALLOWED = Answer("failed", UNAUTHORIZED, 400)
DEAD = Answer("answered", refused_code="invalid_grant")
MALFORMED = Answer("neutral", refused_code="invalid_request")
DOWN = Answer("failed", "unclear", 503, "text/html")
BLANK = Answer("failed", VAGUE, 401)
OPEN_FIELDS = ("opened_at", "code", "http_status", "detail", "probed_at", "urgent_at", "retry_at", "version")


@dataclass
class Recorder:
    """Records answers to connections, named by a letter, one after the other."""

    circuit: Circuit
    now: int = NOW
    version: str | None = "v1"
    writes: list[CircuitChanges] = field(default_factory=list)

    def get(self, name: str, answer: Answer, *, after: int = 1, **fields: Any) -> CircuitChanges:
        self.now += after
        asked = connection(name=f"keap/{name}", **fields)
        changes = record_answer(self.circuit, asked, answer, self.version, self.now)
        if changes:
            self.writes.append(changes)
        self.circuit = apply_changes(self.circuit, changes)
        return changes

    def get_all(self, names: Iterable[str], answer: Answer, *, after: int = 1) -> None:
        for name in names:
            self.get(name, answer, after=after)


def apply_changes(circuit: Circuit, changes: CircuitChanges) -> Circuit:
    values: dict[str, Any] = {name: value for name, value in changes.items() if "." not in name}
    for kind in ("failures", "refusals"):
        entries = {f"{kind}.{name}": entry for name, entry in getattr(circuit, kind).items()} | changes
        prefix = f"{kind}."
        values[kind] = {
            name.removeprefix(prefix): entry
            for name, entry in entries.items()
            if name.startswith(prefix) and entry is not None
        }
    return replace(circuit, **values)


def of_client(**fields: Any) -> Recorder:
    return Recorder(Circuit(CLIENT, **{"accepted_version": "v1", **fields}))


def of_endpoint(**fields: Any) -> Recorder:
    return Recorder(Circuit(ENDPOINT, **fields), version=None)


# Nothing is wrong


@given(st.lists(st.sampled_from("abcde"), max_size=20))
def test_while_nothing_is_wrong_nothing_is_written(names: list[str]) -> None:
    for recorder in (of_client(), of_endpoint()):
        recorder.get_all(names, ACCEPTED)
        assert recorder.writes == []


def test_the_entry_that_a_client_was_accepted_with_is_written_once() -> None:
    recorder = of_client(accepted_version=None)
    recorder.get_all("abc", ACCEPTED)
    assert [changes["accepted_version"] for changes in recorder.writes] == ["v1"]
    recorder.version = "v2"
    recorder.get_all("abc", ACCEPTED)
    assert recorder.circuit.accepted_version == "v2"
    assert len(recorder.writes) == 2


# A client opens


def test_the_third_client_refusal_in_a_row_opens_the_circuit() -> None:
    recorder = of_client()
    recorder.get_all("ab", REFUSED)
    assert recorder.circuit.opened_at is None
    changes = recorder.get("c", REFUSED)
    shown = [changes[name] for name in ("opened_at", "code", "http_status", "detail", "version", "has_changed")]
    assert shown == [recorder.now, "invalid_client", 401, "application/json", "v1", False]
    assert (changes["probes"], changes["probed_at"]) == (0, recorder.now)


@pytest.mark.parametrize("between", [ACCEPTED, DEAD], ids=["a token set", "a refused grant"])
def test_refusals_before_a_success_of_another_no_longer_count(between: Answer) -> None:
    recorder = of_client()
    recorder.get_all("ab", REFUSED)
    recorder.get("d", between)
    recorder.get_all("ce", REFUSED)
    assert not recorder.circuit.is_open
    recorder.get("f", REFUSED)
    assert recorder.circuit.is_open


@pytest.mark.parametrize("answer", [REFUSED, NOT_ALLOWED, DOWN], ids=lambda answer: answer.code)
@pytest.mark.parametrize("make", [of_client, of_endpoint])
def test_one_connection_alone_opens_no_circuit(make: Any, answer: Answer) -> None:
    recorder = make()
    for _ in range(50):
        recorder.get("a", answer)
    assert not recorder.circuit.is_open
    assert recorder.circuit.failures == {"keap/a": Failure(recorder.now, answer.code)}


def test_refusals_by_different_codes_do_not_count_together() -> None:
    recorder = of_client()
    recorder.get_all("ab", REFUSED)
    recorder.get_all("cd", NOT_ALLOWED)
    assert not recorder.circuit.is_open


def test_what_a_connection_said_of_its_own_does_not_open_the_client() -> None:
    """A connection that was refused while another was accepted counts no more, until it was accepted itself."""
    recorder = of_client()
    recorder.get_all("ab", REFUSED)
    recorder.get("c", ACCEPTED)
    for _ in range(10):
        recorder.get_all("ab", REFUSED, after=60)
        recorder.get("d", REFUSED)
        recorder.get("d", ACCEPTED)
        assert not recorder.circuit.is_open
    recorder.get_all("ab", ACCEPTED)
    recorder.get_all("abd", REFUSED)
    assert recorder.circuit.is_open


@pytest.mark.parametrize("answer", [REFUSED, NOT_ALLOWED, DOWN, BLANK], ids=lambda answer: answer.code)
@pytest.mark.parametrize("make", [of_client, of_endpoint])
def test_a_trouble_of_ones_own_is_written_no_more_than_once(make: Any, answer: Answer) -> None:
    recorder = make()
    recorder.get("a", answer)
    recorder.get("b", ACCEPTED)
    written = len(recorder.writes)
    for _ in range(20):
        recorder.get("a", answer)
        recorder.get("b", ACCEPTED)
    assert len(recorder.writes) == written


def test_a_trouble_of_ones_own_stays_one_with_another_code() -> None:
    recorder = of_endpoint()
    recorder.get("a", DOWN)
    recorder.get("b", ACCEPTED)
    assert not recorder.get("a", Answer("failed", "not_reached", 403))
    recorder.get_all("cd", DOWN)
    assert recorder.circuit.opened_at is None, "two of three, since one was answered lately"


def test_the_first_refusal_of_a_changed_entry_opens_the_circuit() -> None:
    recorder = of_client()
    recorder.version = "v2"
    changes = recorder.get("a", REFUSED, generation=1)
    assert (changes["opened_at"], changes["version"], changes["has_changed"]) == (recorder.now, "v2", True)


@pytest.mark.parametrize(
    ("accepted_version", "answer", "fields"),
    [
        (None, REFUSED, {}),
        ("v1", NOT_ALLOWED, {}),
        ("v1", REFUSED, {"generation": 0}),
    ],
    ids=["never accepted", "unauthorized_client", "a connection that never worked"],
)
def test_a_changed_entry_is_not_to_blame_for_what_it_did_not_break(
    accepted_version: str | None, answer: Answer, fields: dict[str, Any]
) -> None:
    recorder = of_client(accepted_version=accepted_version)
    recorder.version = "v2"
    recorder.get("a", answer, **fields)
    assert not recorder.circuit.is_open


def test_unauthorized_client_of_three_with_none_accepted_is_the_clients() -> None:
    recorder = of_client()
    recorder.get_all("ab", NOT_ALLOWED)
    recorder.get("d", DEAD)  # shows that the client was authenticated, not that it may use this grant type
    recorder.get("c", NOT_ALLOWED)
    assert recorder.circuit.is_open


def test_unauthorized_client_counts_no_more_after_an_acceptance() -> None:
    recorder = of_client()
    recorder.get_all("ab", NOT_ALLOWED)
    recorder.get("d", ACCEPTED)
    recorder.get_all("cab", NOT_ALLOWED)
    assert not recorder.circuit.is_open


# An endpoint opens


def test_two_connections_open_an_endpoint_that_answered_none_lately() -> None:
    """All that tried within two minutes failed."""
    recorder = of_endpoint()
    recorder.get("a", DOWN)
    recorder.get("b", DOWN, after=119)
    assert recorder.circuit.is_open
    shown = [getattr(recorder.circuit, name) for name in ("opened_at", "code", "http_status", "detail", "probed_at")]
    assert shown == [recorder.now, "unclear", 503, "text/html", recorder.now]


def test_three_connections_open_an_endpoint_that_answered_another_one() -> None:
    recorder = of_endpoint()
    recorder.get("x", DOWN)
    recorder.get("d", ACCEPTED)
    recorder.get_all("ab", DOWN)
    assert not recorder.circuit.is_open
    recorder.get("c", DOWN)
    assert recorder.circuit.is_open


def test_failures_of_an_endpoint_count_together_for_two_minutes() -> None:
    recorder = of_endpoint()
    recorder.get_all("abcdefgh", DOWN, after=120)
    assert not recorder.circuit.is_open
    recorder.get("i", DOWN, after=119)
    assert recorder.circuit.is_open


@pytest.mark.parametrize("between", [ACCEPTED, ANSWERED], ids=["a token set", "a refusal"])
def test_any_answer_of_the_server_itself_starts_the_count_anew(between: Answer) -> None:
    recorder = of_endpoint()
    for name in "abcdef":
        recorder.get(name, DOWN)
        recorder.get("z", between)
    assert not recorder.circuit.is_open


def test_different_failures_of_an_endpoint_count_together() -> None:
    recorder = of_endpoint()
    recorder.get("a", DOWN)
    recorder.get("b", Answer("failed", "lost_response", detail="timeout"))
    assert recorder.circuit.is_open
    assert (recorder.circuit.http_status, recorder.circuit.detail) == (None, "timeout")


def test_a_refusal_without_a_reason_never_opens_an_endpoint() -> None:
    recorder = of_endpoint()
    for _ in range(3):
        recorder.get_all("abcdef", BLANK)
    assert not recorder.circuit.is_open
    assert recorder.circuit.has_others_failing("keap/a")
    recorder.get("g", DOWN)
    recorder.get("a", BLANK)
    assert not recorder.circuit.is_open, "nor does it count beside another failure"


# An open circuit


def open_endpoint() -> Recorder:
    recorder = of_endpoint()
    recorder.get_all("ab", DOWN)
    assert recorder.circuit.is_open
    return recorder


def open_client(names: str = "abc") -> Recorder:
    recorder = of_client()
    recorder.get_all(names, REFUSED)
    assert recorder.circuit.is_open
    return recorder


def test_a_failed_probe_is_counted_and_shown() -> None:
    recorder = open_endpoint()
    opened_at = recorder.circuit.opened_at
    recorder.get("a", Answer("failed", "not_reached", 403, "text/html"), after=15)
    recorder.get("c", Answer("failed", "rate_limited", 429, retry_after=60), after=15)
    assert (recorder.circuit.probes, recorder.circuit.opened_at) == (2, opened_at)
    shown = [getattr(recorder.circuit, name) for name in ("code", "http_status", "detail", "retry_at")]
    assert shown == ["rate_limited", 429, None, recorder.now + 60]
    assert recorder.circuit.has_failed_probe


def test_a_vague_answer_is_a_failed_probe_too() -> None:
    recorder = open_endpoint()
    recorder.get("a", BLANK, after=15)
    assert recorder.circuit.probes == 1
    assert recorder.circuit.is_open


def test_of_a_client_only_unrefused_connections_count_as_probes() -> None:
    recorder = open_client()
    recorder.get_all("abc", REFUSED, after=15)
    assert recorder.circuit.probes == 0
    recorder.get_all("de", REFUSED, after=15)
    assert recorder.circuit.probes == 2
    recorder.get_all("de", REFUSED, after=15)
    assert recorder.circuit.probes == 2


def test_an_urgent_probe_does_not_prolong_what_retry_after_asked_for() -> None:
    """Those whose tokens expired meanwhile wait for the moment that was named first; then another one may be named."""
    limited = Answer("failed", "rate_limited", 429, retry_after=600)
    recorder = open_endpoint()
    recorder.get("a", limited)
    first = recorder.now + 600
    recorder.get("c", limited, after=599)
    assert recorder.circuit.retry_at == first
    recorder.get("d", limited, after=1)
    assert recorder.circuit.retry_at == first + 600


def test_what_retry_after_asks_for_is_remembered_as_the_circuit_opens() -> None:
    recorder = of_endpoint()
    recorder.get("a", DOWN)
    recorder.get("b", Answer("failed", "rate_limited", 429, retry_after=1800))
    assert recorder.circuit.retry_at == recorder.now + 1800


@pytest.mark.parametrize("answer", [ACCEPTED, DEAD], ids=["a token set", "a refused grant"])
def test_what_shows_that_the_client_was_authenticated_closes_it(answer: Answer) -> None:
    recorder = open_client()
    recorder.get("d", answer, after=15)
    assert not recorder.circuit.is_open
    assert [getattr(recorder.circuit, name) for name in OPEN_FIELDS] == [None] * len(OPEN_FIELDS)
    assert recorder.circuit.probes == 0
    assert recorder.circuit.answered_at == recorder.now


@pytest.mark.parametrize("answer", [NOT_ALLOWED, MALFORMED])
def test_what_says_nothing_of_the_credentials_leaves_the_client_open(answer: Answer) -> None:
    recorder = open_client()
    recorder.get("d", answer, after=15)
    assert recorder.circuit.is_open


@pytest.mark.parametrize("answer", [ACCEPTED, ANSWERED], ids=["a token set", "a refusal"])
def test_any_answer_of_the_server_itself_closes_the_endpoint(answer: Answer) -> None:
    recorder = open_endpoint()
    recorder.circuit = replace(recorder.circuit, retry_at=NOW + 600, urgent_at=NOW)
    recorder.get("a", answer, after=15)
    assert not recorder.circuit.is_open
    assert [getattr(recorder.circuit, name) for name in OPEN_FIELDS] == [None] * len(OPEN_FIELDS)
    assert "keap/a" not in recorder.circuit.failures
    assert recorder.circuit.answered_at == recorder.now
    assert recorder.circuit.accepted_at == (recorder.now if answer is ACCEPTED else None)


def test_an_endpoint_that_fails_anew_after_recovery_needs_as_many_again() -> None:
    recorder = open_endpoint()
    recorder.get("a", ACCEPTED)
    recorder.get("a", DOWN, after=200)
    assert not recorder.circuit.is_open
    recorder.get("c", DOWN)
    assert recorder.circuit.is_open


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from([ACCEPTED, REFUSED, NOT_ALLOWED, DEAD, BLANK]))))
def test_a_client_is_open_only_between_three_refused_and_one_authenticated(steps: list[tuple[str, Answer]]) -> None:
    """Three refused alike since the last success, and none of them known to have a trouble of its own."""
    recorder = of_client()
    for name, answer in steps:
        was_open = recorder.circuit.is_open
        recorder.get(name, answer)
        if answer in (ACCEPTED, DEAD):
            assert not recorder.circuit.is_open
            assert not any(
                recorder.circuit.counts(other) and other.code != UNAUTHORIZED
                for other in recorder.circuit.failures.values()
            )
        elif recorder.circuit.is_open and not was_open:
            alike = [other for other in recorder.circuit.failures.values() if other.code == answer.code]
            assert len([other for other in alike if recorder.circuit.counts(other)]) >= 3


# Bounds


@pytest.mark.parametrize("make", [of_client, of_endpoint])
def test_troubles_of_their_own_leave_room_for_new_failures(make: Any) -> None:
    """A client may have a hundred connections that are refused for ever, and must be recognized as refused itself."""
    recorder = make()
    own = {f"keap/own{number}": Failure(NOW - 900 + number, "invalid_client") for number in range(MAX_ENTRIES)}
    recorder.circuit = replace(recorder.circuit, failures=own, answered_at=NOW - 300, accepted_at=NOW - 300)
    recorder.get_all("abc", REFUSED)
    assert recorder.circuit.is_open
    assert len(recorder.circuit.failures) == MAX_ENTRIES
    assert not {"keap/own0", "keap/own1", "keap/own2"} & recorder.circuit.failures.keys(), "the oldest are forgotten"


def test_an_item_remembers_a_bounded_number_of_failures_and_refusals() -> None:
    recorder = of_client()
    for number in range(MAX_ENTRIES + 50):
        recorder.get(f"r{number}", REFUSED)
        recorder.get(f"m{number}", MALFORMED)
        recorder.get(f"g{number}", DEAD)
    assert len(recorder.circuit.failures) <= MAX_ENTRIES
    assert len(recorder.circuit.refusals) <= MAX_ENTRIES


# Mass refusals


def test_five_grants_refused_by_one_code_in_half_an_hour_are_an_incident() -> None:
    recorder = of_client()
    recorder.get_all("abcd", DEAD, after=440)
    began = [recorder.circuit.incident_at]
    for name in "efgh":
        recorder.get(name, DEAD)
        began.append(recorder.circuit.incident_at)
    assert began == [None, *[NOW + 4 * 440 + 1] * 4], "it begins once"


def test_the_same_connection_five_times_is_no_incident() -> None:
    recorder = of_client()
    for _ in range(9):
        recorder.get("a", DEAD)
    assert recorder.circuit.incident_at is None
    assert recorder.circuit.refusals == {"keap/a": Failure(NOW + 1, "invalid_grant")}, "written once"
    recorder.get("a", MALFORMED)
    assert recorder.circuit.refusals == {"keap/a": Failure(NOW + 10, "invalid_request")}, "another code is news"


def test_five_grants_refused_over_hours_are_no_incident() -> None:
    recorder = of_client()
    recorder.get_all("abcdefgh", DEAD, after=460)
    assert recorder.circuit.incident_at is None


def test_five_grants_refused_by_different_codes_are_no_incident() -> None:
    recorder = of_client()
    recorder.get_all("abcd", DEAD)
    recorder.get_all("efgh", MALFORMED)
    assert recorder.circuit.incident_at is None
    recorder.get("i", MALFORMED)
    assert recorder.circuit.incident_at == recorder.now


def test_grants_that_never_worked_are_no_incident() -> None:
    recorder = of_client()
    for name in "abcdefgh":
        recorder.get(name, DEAD, generation=0)
    assert recorder.circuit.incident_at is None
    assert recorder.circuit.refusals == {}


def test_grants_whose_owners_were_asked_already_are_no_incident() -> None:
    """They are probed daily, for ever."""
    recorder = of_client()
    for name in "abcdefgh":
        recorder.get(name, DEAD, status=Status.AUTHORIZATION_REQUIRED)
    assert recorder.circuit.incident_at is None
    assert recorder.writes == []


@pytest.mark.parametrize("when", ["before the fifth", "after the fifth"])
def test_any_acceptance_ends_an_incident(when: str) -> None:
    recorder = of_client()
    recorder.get_all("abcd" if when == "before the fifth" else "abcde", DEAD)
    recorder.get("z", ACCEPTED)
    recorder.get_all("fghi", DEAD)
    assert recorder.circuit.incident_at is None
    recorder.get("j", DEAD)
    assert recorder.circuit.incident_at == recorder.now, "five more, none accepted between"


def test_refusals_are_forgotten_after_a_day_or_an_acceptance() -> None:
    recorder = of_client()
    recorder.get_all("ab", DEAD)
    recorder.get("c", DEAD, after=DAY_SECONDS)
    assert recorder.circuit.refusals.keys() == {"keap/c"}
    recorder.get("c", ACCEPTED)
    assert recorder.circuit.refusals == {}


def test_an_acceptance_is_remembered_while_a_grant_is_refused() -> None:
    """That others are accepted meanwhile makes a refusal the grant's own (see :mod:`evergrant.record.refusals`)."""
    for refused in (DEAD, MALFORMED):
        recorder = of_client()
        recorder.get("a", refused)
        recorder.get("b", ACCEPTED)
        assert recorder.circuit.accepted_at == recorder.now
        assert not recorder.get("b", ACCEPTED), "once is enough"


def test_a_malformed_request_leaves_refusals_of_the_client_as_they_are() -> None:
    recorder = of_client()
    recorder.get_all("ab", REFUSED)
    recorder.get("d", MALFORMED)
    recorder.get("c", REFUSED)
    assert recorder.circuit.is_open


def test_another_kind_of_refusal_starts_to_count_when_it_comes() -> None:
    """What it means depends on what others got since; an older trouble of its own says nothing about that."""
    recorder = of_endpoint()
    recorder.get("a", DOWN)
    recorder.get("b", ACCEPTED)
    recorder.get("a", BLANK)
    first = recorder.now
    recorder.get("b", ACCEPTED)
    assert recorder.circuit.answered_at is not None
    assert recorder.circuit.answered_at > first, "so the second one is the owner's"


@pytest.mark.parametrize("first", [True, False], ids=["the failure first", "the answer first"])
def test_within_one_second_a_failure_counts_beside_an_answer(first: bool) -> None:
    """Their order is not known, and the next answer says more."""
    recorder = of_endpoint(failures={"keap/x": Failure(NOW, "unclear")})
    for name, answer in [("a", BLANK), ("b", ACCEPTED)] if first else [("b", ACCEPTED), ("a", BLANK)]:
        recorder.get(name, answer, after=0)
    assert recorder.circuit.list_vague() == {"keap/a"}
    recorder.get("b", ACCEPTED)
    assert recorder.circuit.list_vague() == set()
    assert recorder.circuit.answered_at == NOW + 1


@pytest.mark.parametrize("make", [open_client, lambda: of_client(failures={"keap/a": Failure(NOW, "invalid_client")})])
def test_a_new_entry_starts_without_the_refusals_of_the_old_one(make: Any) -> None:
    """The first refusal of it opens the circuit again."""
    recorder: Recorder = make()
    recorder.circuit = replace(recorder.circuit, alerted_at=NOW, probes=3)
    was_open = recorder.circuit.is_open
    recorder.circuit = apply_changes(recorder.circuit, forget_failures(recorder.circuit))
    assert (recorder.circuit.failures, recorder.circuit.alerted_at, recorder.circuit.opened_at) == ({}, None, None)
    assert recorder.circuit.accepted_version == "v1"
    assert recorder.circuit.probes == (0 if was_open else 3)
    recorder.version = "v2"
    recorder.get("a", REFUSED)
    assert recorder.circuit.is_open
    assert forget_failures(Circuit(CLIENT, accepted_version="v1")) == {}, "nothing is written where nothing is recorded"


# Refused without a reason, and alerts


def test_the_vaguely_refused_are_listed_until_another_succeeds() -> None:
    recorder = of_endpoint()
    recorder.get_all("ab", BLANK)
    recorder.get("c", DOWN)
    assert recorder.circuit.list_vague() == {"keap/a", "keap/b"}
    recorder.get("d", ANSWERED)
    assert recorder.circuit.list_vague() == set()


def test_others_fail_too_only_where_nothing_succeeded_since() -> None:
    recorder = of_endpoint()
    recorder.get("a", BLANK)
    assert not recorder.circuit.has_others_failing("keap/a")
    assert recorder.circuit.has_others_failing("keap/b")
    recorder.get("c", ACCEPTED)
    assert not recorder.circuit.has_others_failing("keap/b")


def test_an_alert_is_due_first_and_again_after_a_day() -> None:
    assert Circuit(CLIENT).is_alert_due(NOW)
    assert not Circuit(CLIENT, alerted_at=NOW).is_alert_due(NOW + ALERT_AGAIN_SECONDS - 1)
    assert Circuit(CLIENT, alerted_at=NOW).is_alert_due(NOW + ALERT_AGAIN_SECONDS)


def test_after_a_success_the_next_trouble_is_reported_an_hour_later() -> None:
    for recorder in (open_client(), open_endpoint()):
        recorder.circuit = replace(recorder.circuit, alerted_at=NOW)
        recorder.circuit = replace(recorder.circuit, answered_at=NOW - 1)
        assert not recorder.circuit.is_alert_due(NOW + 3600)
        recorder.get("d", ACCEPTED)
        assert not recorder.circuit.is_alert_due(NOW + 3599)
        assert recorder.circuit.is_alert_due(NOW + 3600)


def test_a_refused_grant_of_an_incident_keeps_its_alert() -> None:
    recorder = of_client()
    recorder.get_all("abcde", DEAD)
    recorder.circuit = replace(recorder.circuit, alerted_at=recorder.now)
    recorder.get_all("fg", DEAD)
    assert recorder.circuit.alerted_at == recorder.now - 2
    assert not recorder.circuit.is_alert_due(recorder.now + 7200)


# Both together


def test_the_endpoint_holds_a_connection_back_before_its_client_does() -> None:
    client, endpoint = Circuit(CLIENT, opened_at=NOW), Circuit(ENDPOINT, opened_at=NOW)
    assert Surroundings(client, endpoint).open_circuit is endpoint
    assert Surroundings(client, Circuit(ENDPOINT)).open_circuit is client
    assert Surroundings(Circuit(CLIENT), Circuit(ENDPOINT)).open_circuit is None


def test_a_key_says_what_it_is_of() -> None:
    assert (Circuit(CLIENT).is_client, Circuit(CLIENT).name) == (True, "keap")
    assert (Circuit(ENDPOINT).is_client, Circuit(ENDPOINT).name) == (False, ENDPOINT_URL)
