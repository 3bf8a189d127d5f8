"""Mistakes to plant: each is one that a programmer might make, and a context manager that makes it.

:data:`PLANTED` says in which situation of :mod:`tests.simulation.situations` each is found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from math import inf
from typing import Any, NamedTuple
from unittest import mock

from evergrant.oauth import error_response, token_response
from evergrant.oauth.error_codes import REGISTERED_ERRORS
from evergrant.oauth.token_expiry import ExpiryEvidence
from evergrant.oauth.token_set import TokenSet
from evergrant.profiles.model import Profile
from evergrant.record import (
    circuit,
    failures,
    lost_response,
    probes,
    queued_save,
    refresh_schedule,
    refusals,
    retries,
    token_save,
)
from evergrant.record.circuit import Circuit, CircuitChanges, Surroundings
from evergrant.record.connection import Connection, RecordChange, RecordFields
from evergrant.record.failures import Reason
from evergrant.record.probes import Candidate
from evergrant.record.status import Status
from evergrant.rotation import connection_pass, refresh_attempt, refresh_demand, tick
from evergrant.rotation.circuit_breaker import CircuitBreaker
from evergrant.rotation.pace import Pace
from evergrant.rotation.publication import Publication
from evergrant.rotation.refresh_demand import Outcome, Result, TokenDemand
from evergrant.rotation.refresh_steps import Refresh
from tests.simulation import invariants, situations
from tests.simulation.scenarios import HOUR
from tests.simulation.services import Queue, Vault

Patch = AbstractContextManager[Any]
Mutant = Callable[[], Patch]


class Found(NamedTuple):
    """The situation in which a mistake is found, and the invariant that it breaks; None: the situation's own demand."""

    situation: Callable[[], None]
    invariant: Callable[..., str | None] | None = None


@contextmanager
def together(*patches: Patch) -> Iterator[None]:
    with ExitStack() as stack:
        for patch in patches:
            stack.enter_context(patch)
        yield


def ruled(kind: str, like: str) -> Patch:
    """Treat a refusal of one kind like one of another kind."""
    return mock.patch.dict(refusals._RULES, {kind: refusals._RULES[like]})  # type: ignore[index]


# --- sending ----------------------------------------------------------------------------------------------------------


def replayed_outside_the_grace() -> Patch:
    return mock.patch.object(lost_response, "may_replay", return_value=True)


def replayed_while_an_answer_may_be_in_flight() -> Patch:
    return mock.patch.object(lost_response, "MIN_REPLAY_DELAY_SECONDS", 0)


def _spared_until(compute: Callable[..., int]) -> Patch:
    places = (retries, refusals, lost_response)
    return together(*(mock.patch.object(place, "compute_spared_until", compute) for place in places))


def a_refresh_token_that_is_not_spared() -> Patch:
    """After an unclear answer, or one that was lost a quarter of an hour ago."""
    return _spared_until(lambda _connection, _profile, _since, _tried_at, now: now)


def a_refresh_token_that_is_spared_for_ever() -> Patch:
    return _spared_until(lambda _connection, _profile, since, _tried_at, now: max(now, since + 24 * HOUR))


def no_last_try_of_a_spared_refresh_token() -> Patch:
    return mock.patch.object(retries, "LAST_TRY_SECONDS", 0)


def sent_without_a_lease_or_a_marker() -> Patch:
    def unmarked(self: Refresh, connection: Connection, marker: RecordFields) -> Connection:
        return replace(connection, lease_owner=marker["lease_owner"], lease_until=marker["lease_until"])

    return mock.patch.object(Refresh, "_mark", unmarked)


def a_rate_that_is_not_kept() -> Patch:
    return mock.patch.object(Pace, "find_slot", lambda self, due, at: at)


# --- planning ---------------------------------------------------------------------------------------------------------


def a_shard_that_no_tick_reads() -> Patch:
    list_due = tick._TickRun._list_due

    def without_one(self: tick._TickRun) -> list[Any]:
        return [due for due in list_due(self) if refresh_schedule.choose_shard(due.name) != "3"]

    return mock.patch.object(tick._TickRun, "_list_due", without_one)


def no_next_try_after_a_failure() -> Patch:
    def forgotten(connection: Connection, *_: Any) -> RecordFields:
        return refresh_schedule.schedule_refresh(connection, None)

    return mock.patch.object(refusals, "retry", forgotten)


def refreshed_when_it_has_expired() -> Patch:
    return mock.patch.object(refresh_schedule, "compute_refresh_at", lambda life, *_: life.expires_at)


def refreshed_before_its_minimum_age() -> Patch:
    return mock.patch.object(refresh_schedule, "compute_earliest_at", lambda issued_at, _: issued_at)


def a_repeated_token_that_counts_as_a_refresh() -> Patch:
    regular = mock.patch.object(
        refresh_schedule, "compute_repeated_refresh_at", lambda _life, _rotation, _cache, regular: regular
    )
    return together(regular, mock.patch.object(ExpiryEvidence, "_is_other_token", return_value=True))


def tried_too_rarely_after_the_expiry() -> Patch:
    return mock.patch.object(retries, "_WAITS_SINCE_EXPIRY", ((inf, 900),))


def a_wait_that_is_ignored() -> Patch:
    retry = failures.retry

    def impatient(*args: Any) -> RecordFields:
        return retry(*args[:4])

    return mock.patch.object(refusals, "retry", impatient)


def a_wait_that_outlasts_the_token() -> Patch:
    compute: Callable[..., int] = retries.compute_retry_at

    def patient(*args: Any) -> int:
        return max(compute(*args), int(args[3]) + int(args[4] or 0))

    return mock.patch.object(failures, "compute_retry_at", patient)


# --- the circuits -----------------------------------------------------------------------------------------------------


def an_endpoint_that_is_never_to_blame() -> Patch:
    return mock.patch.object(circuit, "_is_endpoint_to_blame", return_value=False)


def an_endpoint_to_blame_for_one() -> Patch:
    return mock.patch.object(circuit, "_is_endpoint_to_blame", return_value=True)


def a_circuit_that_stays_open() -> Patch:
    record = circuit._record_success

    def forgetful(seen: Circuit, *args: Any, **named: Any) -> CircuitChanges:
        changes = record(seen, *args, **named)
        changes.pop("opened_at", None)
        return changes

    return mock.patch.object(circuit, "_record_success", forgetful)


def probes_too_often() -> Patch:
    return mock.patch.object(probes, "MIN_INTERVAL_SECONDS", 3)


def no_probes() -> Patch:
    return mock.patch.object(probes, "plan_probes", return_value=([], {}))


def a_probe_that_is_let_through_twice() -> Patch:
    return mock.patch.object(TokenDemand, "is_probe_of", lambda self, *_: self.probe_claim is not None)


def all_at_once_when_a_circuit_closes() -> Patch:
    return mock.patch.object(tick._TickRun, "_spread", lambda self, dues: [self.now] * len(dues))


def nothing_is_done_when_a_circuit_closes() -> Patch:
    return mock.patch.object(CircuitBreaker, "_resume_others", return_value=None)


def a_trouble_of_its_own_that_counts() -> Patch:
    return mock.patch.object(Circuit, "counts", return_value=True)


def a_client_to_blame_for_one() -> Patch:
    return mock.patch.object(circuit, "_is_client_to_blame", return_value=True)


def a_client_that_is_never_to_blame() -> Patch:
    return mock.patch.object(circuit, "_is_client_to_blame", return_value=False)


def a_probe_of_one_that_was_refused() -> Patch:
    plan = probes.plan_probes

    def blind(seen: Circuit, candidates: Sequence[Candidate], *args: Any) -> Any:
        refused = [candidate for candidate in candidates if candidate.held.name in seen.failures]
        return plan(seen, refused or candidates, *args)

    return mock.patch.object(probes, "plan_probes", blind)


def a_corrected_entry_that_is_not_noticed() -> Patch:
    look = CircuitBreaker.look

    def deaf(self: CircuitBreaker, *args: Any) -> Surroundings:
        seen = look(self, *args)
        return replace(seen, version=seen.client.version) if seen.client.is_open else seen

    return mock.patch.object(CircuitBreaker, "look", deaf)


def probes_of_a_client_too_often() -> Patch:
    return probes_too_often()


# --- the status, and who is asked -------------------------------------------------------------------------------------


def unauthorized_client_is_the_clients() -> Patch:
    registered = {**REGISTERED_ERRORS, "unauthorized_client": "client_rejected"}
    return mock.patch.object(error_response, "REGISTERED_ERRORS", registered)


def asked_at_the_first_refusal() -> Patch:
    return mock.patch.object(refusals, "MIN_SECOND_REJECTION_SECONDS", 0)


def asked_for_a_refusal_without_a_reason() -> Patch:
    return ruled("rejected_unknown", "grant_rejected")


def never_asked_for_a_refusal_without_a_reason() -> Patch:
    return ruled("rejected_unknown", "transient")


def never_asked_for_a_request_that_is_wrong() -> Patch:
    return ruled("malformed", "transient")


def many_refused_grants_that_are_no_incident() -> Patch:
    return mock.patch.object(circuit, "_MIN_INCIDENT", 1000)


def an_incident_without_an_end() -> Patch:
    return mock.patch.object(refusals, "INCIDENT_PATIENCE_SECONDS", 24 * HOUR)


def never_asked_for_one_that_fails_alone() -> Patch:
    return mock.patch.object(refusals, "require_owner_if_alone", return_value=RecordChange())


def never_asked() -> Patch:
    worsen = failures.worsen_status

    def softened(connection: Connection, status: Status, now: int, reason: Reason, **named: Any) -> RecordChange:
        softer = Status.DEGRADED if status is Status.AUTHORIZATION_REQUIRED else status
        return worsen(connection, softer, now, reason, **named)

    return mock.patch.object(refusals, "worsen_status", softened)


def active_in_spite_of_all() -> Patch:
    return mock.patch.object(failures, "worsen_status", return_value=RecordChange())


def no_alert_of_a_token_that_ends() -> Patch:
    return mock.patch.object(failures, "_is_alert_due", return_value=False)


def an_alert_of_each_failure() -> Patch:
    return mock.patch.object(failures, "_is_alert_due", return_value=True)


def no_alert_after_a_day() -> Patch:
    return mock.patch.object(failures, "_compute_alert_again_at", return_value=2**40)


def an_alert_for_each_connection() -> Patch:
    return mock.patch.object(failures, "_choose_reported", return_value=None)


def events_that_are_forgotten() -> Patch:
    return mock.patch.object(Publication, "_put_events", lambda self, connection: frozenset(connection.outbox))


# --- answers ----------------------------------------------------------------------------------------------------------


def the_default_lifetime_before_the_stated_one() -> Patch:
    return mock.patch.object(ExpiryEvidence, "_find_stated", ExpiryEvidence._find_default)


def an_epoch_that_is_believed() -> Patch:
    return mock.patch.object(ExpiryEvidence, "_is_beyond", return_value=False)


def a_lifetime_of_zero_is_the_default() -> Patch:
    return mock.patch.object(ExpiryEvidence, "_count_expired_arrival", lambda self, *_: self._assume())


def a_token_set_beside_an_error_is_refused() -> Patch:
    return mock.patch.object(token_response._Reader, "is_complete", False)


def a_page_is_a_refusal() -> Patch:
    choose = error_response._choose_kind_without_code

    def taken_for_one(*args: Any) -> Any:
        kind, rule = choose(*args)
        return ("grant_rejected" if kind == "not_reached" else kind), rule

    return mock.patch.object(error_response, "_choose_kind_without_code", taken_for_one)


def a_page_of_an_error_is_clear() -> Patch:
    """A 502 counts as an answer of a server that did not act."""
    choose = error_response._choose_kind_without_code

    def taken_for_clear(*args: Any) -> Any:
        kind, rule = choose(*args)
        return ("transient" if kind == "unclear" else kind), rule

    return mock.patch.object(error_response, "_choose_kind_without_code", taken_for_clear)


def retry_after_is_not_read() -> Patch:
    return mock.patch.object(error_response, "parse_retry_after", return_value=None)


def the_old_refresh_token_is_kept() -> Patch:
    parse = token_response.parse_token_response

    def keeping(profile: Profile, response: Any, sent_at: int, previous: TokenSet | None = None, *args: Any) -> Any:
        parsed = parse(profile, response, sent_at, previous, *args)
        if isinstance(parsed, TokenSet) and previous and previous.refresh_token:
            return replace(parsed, refresh_token=previous.refresh_token)
        return parsed

    return mock.patch.object(refresh_attempt, "parse_token_response", keeping)


# --- saves and reads --------------------------------------------------------------------------------------------------


def a_generation_that_stays() -> Patch:
    save = token_save.save_token_set

    def same(connection: Connection, *args: Any) -> RecordChange:
        return save(connection, *args).set({"generation": connection.generation})

    return mock.patch.object(token_save, "save_token_set", same)


def nothing_in_the_queue() -> Patch:
    """A token set that the table does not take is dropped."""
    arrive = Queue.arrive

    def dropping(self: Queue, text: str, delay: int) -> None:
        if f'"{queued_save.TASK}"' not in text:
            arrive(self, text, delay)

    return mock.patch.object(Queue, "arrive", dropping)


def a_chain_of_messages_that_lambda_stops() -> Patch:
    """Rotator does not allow recursion."""
    begin = Queue.__init__

    def forbidding(self: Queue, *args: Any) -> None:
        begin(self, *args)
        self.allows_recursion = False

    return mock.patch.object(Queue, "__init__", forbidding)


def nothing_is_published() -> Patch:
    return mock.patch.object(Vault, "put", return_value=None)


def withheld_while_degraded() -> Patch:
    serve = refresh_demand.serve_current

    def strict(connection: Connection, demand: TokenDemand, *args: Any) -> Result:
        if demand.caller_waits and connection.status is Status.DEGRADED:
            raise refresh_demand._explain_missing_token(connection, args[2])
        return serve(connection, demand, *args)

    return mock.patch.object(connection_pass, "serve_current", strict)


def an_expired_token_is_served() -> Patch:
    serve = refresh_demand.serve_current

    def lax(
        connection: Connection, demand: TokenDemand, tokens: TokenSet | None, outcome: Outcome, now: int, *args: Any
    ) -> Result:
        if tokens is not None and tokens.expires_at <= now:
            return Result(outcome, connection, tokens)
        return serve(connection, demand, tokens, outcome, now, *args)

    return mock.patch.object(connection_pass, "serve_current", lax)


def a_report_of_a_consumer_that_is_ignored() -> Patch:
    return mock.patch.object(TokenDemand, "is_rejected", return_value=False)


#: Each mistake, and the situation in which it is found.
PLANTED: Mapping[Mutant, Found] = {
    replayed_outside_the_grace: Found(situations.lost_responses, invariants.no_refresh_token_is_sent_twice),
    replayed_while_an_answer_may_be_in_flight: Found(
        situations.lost_responses, invariants.no_refresh_token_is_sent_twice
    ),
    a_refresh_token_that_is_not_spared: Found(situations.an_unclear_answer, invariants.no_refresh_token_is_sent_twice),
    a_refresh_token_that_is_spared_for_ever: Found(
        situations.an_unclear_answer_past_the_expiry, invariants.a_connection_without_a_token_is_retried
    ),
    no_last_try_of_a_spared_refresh_token: Found(situations.an_unclear_answer),
    sent_without_a_lease_or_a_marker: Found(
        situations.messages_that_come_twice, invariants.no_refresh_token_is_sent_twice
    ),
    a_rate_that_is_not_kept: Found(situations.a_fleet_with_a_declared_rate_behind_a_page),
    a_shard_that_no_tick_reads: Found(situations.a_quiet_morning, invariants.no_due_connection_is_forgotten),
    no_next_try_after_a_failure: Found(situations.a_provider_out_of_reach, invariants.no_due_connection_is_forgotten),
    refreshed_when_it_has_expired: Found(situations.a_quiet_morning),
    refreshed_before_its_minimum_age: Found(situations.a_quiet_morning),
    a_repeated_token_that_counts_as_a_refresh: Found(situations.the_same_token_again),
    tried_too_rarely_after_the_expiry: Found(
        situations.an_unclear_answer_past_the_expiry, invariants.a_connection_without_a_token_is_retried
    ),
    a_wait_that_is_ignored: Found(situations.a_provider_that_asks_to_wait, invariants.a_wait_is_kept),
    a_wait_that_outlasts_the_token: Found(situations.a_wait_longer_than_the_token),
    an_endpoint_that_is_never_to_blame: Found(situations.a_fleet_behind_a_page),
    an_endpoint_to_blame_for_one: Found(situations.a_page_for_one),
    a_circuit_that_stays_open: Found(situations.a_fleet_behind_a_page),
    probes_too_often: Found(situations.a_fleet_behind_a_page, invariants.an_open_endpoint_gets_a_request_in_15_s),
    no_probes: Found(situations.two_behind_a_page),
    a_probe_that_is_let_through_twice: Found(
        situations.messages_of_probes_that_come_twice, invariants.an_open_endpoint_gets_a_request_in_15_s
    ),
    all_at_once_when_a_circuit_closes: Found(situations.a_fleet_behind_a_page),
    nothing_is_done_when_a_circuit_closes: Found(situations.two_behind_a_page),
    a_trouble_of_its_own_that_counts: Found(
        situations.three_tenants_without_the_client, invariants.a_client_is_refused_by_its_provider
    ),
    a_client_to_blame_for_one: Found(situations.one_of_twelve_is_refused_as_a_client),
    a_client_that_is_never_to_blame: Found(situations.a_client_that_is_corrected),
    a_probe_of_one_that_was_refused: Found(situations.some_are_refused_as_clients),
    a_corrected_entry_that_is_not_noticed: Found(situations.a_client_that_is_corrected_for_many),
    probes_of_a_client_too_often: Found(
        situations.some_are_refused_as_clients, invariants.an_open_client_gets_a_request_in_15_s
    ),
    unauthorized_client_is_the_clients: Found(
        situations.a_tenant_without_the_client, invariants.a_client_is_refused_by_its_provider
    ),
    asked_at_the_first_refusal: Found(situations.a_short_refusal, invariants.an_owner_is_asked_with_a_reason),
    asked_for_a_refusal_without_a_reason: Found(
        situations.a_vague_refusal_of_all, invariants.an_owner_is_asked_with_a_reason
    ),
    never_asked_for_a_refusal_without_a_reason: Found(situations.a_vague_refusal_of_one),
    never_asked_for_a_request_that_is_wrong: Found(situations.a_malformed_request_of_one),
    many_refused_grants_that_are_no_incident: Found(
        situations.many_grants_refused_for_ninety_minutes, invariants.an_owner_is_asked_with_a_reason
    ),
    an_incident_without_an_end: Found(situations.many_grants_refused_for_ever),
    never_asked_for_one_that_fails_alone: Found(situations.a_page_for_one),
    never_asked: Found(situations.a_dead_grant),
    active_in_spite_of_all: Found(situations.a_provider_out_of_reach),
    no_alert_of_a_token_that_ends: Found(situations.a_fleet_behind_a_page),
    an_alert_of_each_failure: Found(
        situations.a_page_for_twenty_minutes_hours_before_the_expiry, invariants.a_blip_is_no_alert
    ),
    no_alert_after_a_day: Found(situations.a_page_for_a_day, invariants.no_silence_lasts_a_day),
    an_alert_for_each_connection: Found(situations.a_fleet_behind_a_page, invariants.one_alert_for_one_trouble),
    events_that_are_forgotten: Found(situations.a_dead_grant, invariants.a_change_for_the_worse_is_reported),
    the_default_lifetime_before_the_stated_one: Found(
        situations.a_quiet_morning, invariants.a_token_is_not_believed_for_too_long
    ),
    an_epoch_that_is_believed: Found(
        situations.an_epoch_for_a_lifetime, invariants.a_token_is_not_believed_for_too_long
    ),
    a_lifetime_of_zero_is_the_default: Found(situations.a_lifetime_of_zero),
    a_token_set_beside_an_error_is_refused: Found(
        situations.an_error_beside_a_token_set, invariants.no_token_set_is_thrown_away
    ),
    a_page_is_a_refusal: Found(situations.a_page_for_twenty_minutes, invariants.an_owner_is_asked_with_a_reason),
    a_page_of_an_error_is_clear: Found(situations.an_unclear_answer, invariants.no_refresh_token_is_sent_twice),
    retry_after_is_not_read: Found(situations.a_provider_that_asks_to_wait, invariants.a_wait_is_kept),
    the_old_refresh_token_is_kept: Found(situations.a_quiet_morning, invariants.no_refresh_token_is_sent_twice),
    a_generation_that_stays: Found(situations.a_quiet_morning, invariants.a_generation_never_goes_back),
    nothing_in_the_queue: Found(situations.a_table_out_of_order, invariants.no_token_set_is_thrown_away),
    a_chain_of_messages_that_lambda_stops: Found(
        situations.a_table_out_of_order_for_five_minutes, invariants.no_token_set_is_thrown_away
    ),
    nothing_is_published: Found(situations.a_quiet_morning, invariants.what_consumers_read_is_current),
    withheld_while_degraded: Found(
        situations.short_lived_tokens_of_a_provider_out_of_reach, invariants.no_valid_token_is_withheld
    ),
    an_expired_token_is_served: Found(situations.a_provider_out_of_reach, invariants.no_expired_token_is_served),
    a_report_of_a_consumer_that_is_ignored: Found(
        situations.a_token_that_is_withdrawn, invariants.a_connection_without_a_token_is_not_active
    ),
}
