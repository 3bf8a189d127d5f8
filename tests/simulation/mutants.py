"""Mistakes to plant: each is one that a programmer might make, and a context manager that makes it.

:data:`PLANTED` says in which situation of :mod:`tests.simulation.situations` each is found. :data:`SLOTS` are the rules
that the code does not have yet: with the rule comes its mistake, and the line moves to :data:`PLANTED`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from typing import Any, NamedTuple
from unittest import mock

from evergrant.oauth import error_response, token_response
from evergrant.oauth.error_response import Refusal
from evergrant.oauth.token_expiry import ExpiryEvidence
from evergrant.oauth.token_set import TokenSet
from evergrant.record import failures, lost_response, queued_save, refresh_schedule, token_save
from evergrant.record.circuit import Circuit
from evergrant.record.connection import Connection, RecordChange, RecordFields
from evergrant.record.status import Status
from evergrant.rotation import connection_pass, refresh_attempt, refresh_demand, tick
from evergrant.rotation.circuit_breaker import CircuitBreaker
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


# --- sending ----------------------------------------------------------------------------------------------------------


def replayed_outside_the_grace() -> Patch:
    return mock.patch.object(lost_response, "may_replay", return_value=True)


def replayed_while_an_answer_may_be_in_flight() -> Patch:
    return mock.patch.object(lost_response, "MIN_REPLAY_DELAY_SECONDS", 0)


def sent_without_a_lease_or_a_marker() -> Patch:
    def unmarked(self: Refresh, connection: Connection, marker: RecordFields) -> Connection:
        return replace(connection, lease_owner=marker["lease_owner"], lease_until=marker["lease_until"])

    return mock.patch.object(Refresh, "_mark", unmarked)


def a_wait_that_is_ignored() -> Patch:
    backoff = refresh_schedule.compute_backoff_at
    return mock.patch.object(refresh_schedule, "compute_backoff_at", lambda count, now, wait=None: backoff(count, now))


def a_rate_that_is_not_kept() -> Patch:
    return mock.patch.object(tick._Pace, "_find_rate", return_value=None)


# --- planning ---------------------------------------------------------------------------------------------------------


def a_shard_that_no_tick_reads() -> Patch:
    list_due = tick._TickRun._list_due

    def without_one(self: tick._TickRun) -> list[tick.Due]:
        return [due for due in list_due(self) if refresh_schedule.choose_shard(due.name) != "3"]

    return mock.patch.object(tick._TickRun, "_list_due", without_one)


def no_next_try_after_a_failure() -> Patch:
    apply = failures.apply_refusal

    def forgotten(connection: Connection, refusal: Refusal, now: int) -> RecordChange:
        return apply(connection, refusal, now).set(refresh_schedule.schedule_refresh(connection, None))

    return mock.patch.object(failures, "apply_refusal", forgotten)


def refreshed_when_it_has_expired() -> Patch:
    return mock.patch.object(refresh_schedule, "compute_refresh_at", lambda life, *_: life.expires_at)


def refreshed_before_its_minimum_age() -> Patch:
    return mock.patch.object(refresh_schedule, "compute_refresh_at", lambda life, *_: life.expires_at - 120)


def a_backoff_of_hours() -> Patch:
    return mock.patch.object(refresh_schedule, "MAX_BACKOFF_SECONDS", 8 * HOUR)


# --- the status, and who is asked -------------------------------------------------------------------------------------


def one_tenants_refusal_is_the_clients() -> Patch:
    classify = error_response.classify_answer

    def blaming(*args: Any) -> Refusal | None:
        refusal = classify(*args)
        is_meant = refusal is not None and refusal.code == "unauthorized_client"
        return replace(refusal, kind="client_rejected") if refusal and is_meant else refusal

    return together(
        mock.patch(f"{token_response.__name__}.classify_answer", blaming),
        mock.patch.object(failures, "says_nothing_of_client", return_value=False),
    )


def asked_at_the_first_refusal() -> Patch:
    reject = failures._apply_grant_rejection

    def at_once(connection: Connection, now: int, error: str) -> RecordChange:
        return reject(replace(connection, rejected_at=0), now, error)

    return mock.patch.object(failures, "_apply_grant_rejection", at_once)


def never_asked() -> Patch:
    worsen = failures.worsen_status

    def softened(connection: Connection, status: Status, now: int, error: str) -> RecordChange:
        softer = Status.DEGRADED if status is Status.AUTHORIZATION_REQUIRED else status
        return worsen(connection, softer, now, error)

    return mock.patch.object(failures, "worsen_status", softened)


def active_in_spite_of_all() -> Patch:
    return mock.patch.object(failures, "worsen_status", return_value=RecordChange())


def events_that_are_forgotten() -> Patch:
    return mock.patch.object(Publication, "_put_events", lambda self, connection: frozenset(connection.outbox))


# --- the client -------------------------------------------------------------------------------------------------------


def connections_that_are_not_woken() -> Patch:
    return mock.patch.object(CircuitBreaker, "_wake", return_value=None)


def a_corrected_entry_that_is_not_noticed() -> Patch:
    may_probe = Circuit.may_probe

    def deaf(self: Circuit, connection: str, version: str | None, now: int) -> bool:
        return may_probe(self, connection, self.version, now) and now >= (self.probe_at or 0) + 4 * HOUR

    return mock.patch.object(Circuit, "may_probe", deaf)


# --- token sets -------------------------------------------------------------------------------------------------------


def the_default_lifetime_before_the_stated_one() -> Patch:
    return mock.patch.object(ExpiryEvidence, "_find_stated", ExpiryEvidence._find_default)


def an_epoch_that_is_believed() -> Patch:
    return mock.patch.object(ExpiryEvidence, "_is_beyond", return_value=False)


def zero_is_the_default() -> Patch:
    def default(self: ExpiryEvidence, *_: Any) -> Any:
        return self._assume()

    return mock.patch.object(ExpiryEvidence, "_count_expired_arrival", default)


def a_token_handed_out_again_counts_as_new() -> Patch:
    return mock.patch.object(refresh_schedule, "compute_repeated_refresh_at", lambda *times: times[-1])


def a_token_set_beside_an_error_is_refused() -> Patch:
    return mock.patch.object(token_response._Reader, "is_complete", False)


def a_page_is_a_refusal() -> Patch:
    choose = error_response._choose_kind_without_code

    def taken_for_vague(*args: Any) -> Any:
        kind, rule = choose(*args)
        return ("rejected_unknown" if kind == "not_reached" else kind), rule

    return mock.patch.object(error_response, "_choose_kind_without_code", taken_for_vague)


def the_old_refresh_token_is_kept() -> Patch:
    parse = token_response.parse_token_response

    def keeping(profile: Any, response: Any, sent_at: int, previous: TokenSet | None = None, *args: Any) -> Any:
        parsed = parse(profile, response, sent_at, previous, *args)
        if isinstance(parsed, TokenSet) and previous and previous.refresh_token:
            return replace(parsed, refresh_token=previous.refresh_token)
        return parsed

    return mock.patch.object(refresh_attempt, "parse_token_response", keeping)


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


def nothing_is_published() -> Patch:
    return mock.patch.object(Vault, "put", return_value=None)


# --- getter's answers -------------------------------------------------------------------------------------------------


def withheld_while_degraded() -> Patch:
    serve = refresh_demand.serve_current

    def strict(connection: Connection, demand: TokenDemand, *args: Any) -> Result:
        if demand.caller_waits and connection.status is Status.DEGRADED:
            raise refresh_demand._explain_missing_token(connection, args[-1])
        return serve(connection, demand, *args)

    return mock.patch.object(connection_pass, "serve_current", strict)


def an_expired_token_is_served() -> Patch:
    serve = refresh_demand.serve_current

    def lax(connection: Connection, demand: TokenDemand, tokens: TokenSet | None, outcome: Outcome, now: int) -> Result:
        if tokens is not None and tokens.expires_at <= now:
            return Result(outcome, connection, tokens)
        return serve(connection, demand, tokens, outcome, now)

    return mock.patch.object(connection_pass, "serve_current", lax)


def a_report_of_a_consumer_that_is_ignored() -> Patch:
    return mock.patch.object(TokenDemand, "is_rejected", return_value=False)


#: Each mistake, and where it is found.
PLANTED: Mapping[Mutant, Found] = {
    replayed_outside_the_grace: Found(situations.lost_responses, invariants.no_refresh_token_is_sent_twice),
    replayed_while_an_answer_may_be_in_flight: Found(
        situations.lost_responses, invariants.no_refresh_token_is_sent_twice
    ),
    sent_without_a_lease_or_a_marker: Found(
        situations.messages_that_come_twice, invariants.no_refresh_token_is_sent_twice
    ),
    a_wait_that_is_ignored: Found(situations.a_provider_that_asks_to_wait, invariants.a_wait_is_kept),
    a_rate_that_is_not_kept: Found(situations.a_crowd_at_a_declared_rate),
    a_shard_that_no_tick_reads: Found(situations.a_quiet_morning, invariants.no_due_connection_is_forgotten),
    no_next_try_after_a_failure: Found(situations.a_provider_out_of_reach, invariants.no_due_connection_is_forgotten),
    refreshed_when_it_has_expired: Found(situations.a_quiet_morning),
    refreshed_before_its_minimum_age: Found(situations.a_quiet_morning),
    a_backoff_of_hours: Found(situations.a_provider_out_of_reach),
    one_tenants_refusal_is_the_clients: Found(situations.a_tenant_without_the_client),
    asked_at_the_first_refusal: Found(situations.a_short_refusal, invariants.an_owner_is_asked_with_a_reason),
    never_asked: Found(situations.a_dead_grant),
    active_in_spite_of_all: Found(
        situations.a_provider_out_of_reach, invariants.a_connection_without_a_token_is_not_active
    ),
    events_that_are_forgotten: Found(situations.a_dead_grant, invariants.a_change_for_the_worse_is_reported),
    connections_that_are_not_woken: Found(situations.a_client_that_is_corrected),
    a_corrected_entry_that_is_not_noticed: Found(situations.a_client_that_is_corrected),
    the_default_lifetime_before_the_stated_one: Found(
        situations.a_quiet_morning, invariants.a_token_is_not_believed_for_too_long
    ),
    zero_is_the_default: Found(
        situations.a_token_that_is_handed_out_again, invariants.a_token_is_not_believed_for_too_long
    ),
    a_token_handed_out_again_counts_as_new: Found(situations.a_token_that_is_handed_out_again),
    an_epoch_that_is_believed: Found(
        situations.an_epoch_for_a_lifetime, invariants.a_token_is_not_believed_for_too_long
    ),
    a_token_set_beside_an_error_is_refused: Found(
        situations.an_error_beside_a_token_set, invariants.no_token_set_is_thrown_away
    ),
    a_page_is_a_refusal: Found(situations.a_page_for_twenty_minutes, invariants.a_client_is_refused_by_its_provider),
    the_old_refresh_token_is_kept: Found(situations.a_quiet_morning),
    a_generation_that_stays: Found(situations.a_quiet_morning, invariants.a_generation_never_goes_back),
    nothing_in_the_queue: Found(situations.a_table_out_of_order, invariants.no_token_set_is_thrown_away),
    nothing_is_published: Found(situations.a_quiet_morning, invariants.what_consumers_read_is_current),
    withheld_while_degraded: Found(
        situations.short_lived_tokens_of_a_provider_out_of_reach, invariants.no_valid_token_is_withheld
    ),
    an_expired_token_is_served: Found(situations.a_provider_out_of_reach, invariants.no_expired_token_is_served),
    a_report_of_a_consumer_that_is_ignored: Found(
        situations.a_token_that_is_withdrawn, invariants.a_connection_without_a_token_is_not_active
    ),
}

#: Invariants whose mistakes come with their rules.
AWAITING: tuple[Callable[..., str | None], ...] = (
    invariants.an_open_endpoint_gets_a_request_in_15_s,
    invariants.an_open_client_gets_a_request_in_15_s,
    invariants.a_blip_is_no_alert,
    invariants.one_alert_for_one_trouble,
    invariants.a_connection_without_a_token_is_retried,
    invariants.no_silence_lasts_a_day,
)
#: Rules that come, and the mistake that each is to be planted with.
SLOTS: Mapping[str, str] = {
    "vague": "a vague refusal asks the owner although no other connection was answered properly",
    "silence": "the alert of a connection without a token is not repeated after a day",
    "unauthorized_client": "three such refusals, with one accepted between, are the client's",
    "client circuit": "it opens at the first refusal although the entry has not changed",
    "client probes": "the connection that was refused probes itself",
    "mass refusal": "each owner is asked at the second strike",
    "unclear": "an unclear answer waits 900 s after the access token has expired",
    "with access token": "nothing is tried between the first attempt and the end of both tokens",
    "endpoint circuit": "it never opens; it opens for one connection; it never closes",
    "endpoint probes": "each held connection probes; a probe ignores Retry-After; none goes to an expired one",
    "dispatch": "the worker that closes the circuit wakes none, or all at once",
    "alone": "the backoff grows to a quarter of an hour after the expiry",
    "one alert": "each connection of an endpoint sends an alert of its own",
    "Retry-After": "it holds a connection past the expiry",
    "permanent": "invalid_request is retried for ever",
}
