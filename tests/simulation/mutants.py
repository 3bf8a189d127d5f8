"""Mistakes to plant: each is one that a programmer might make, and a context manager that makes it.

:data:`PLANTED` says in which situation of :mod:`tests.simulation.situations` each is found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from typing import Any, NamedTuple
from unittest import mock

from evergrant.oauth import token_response
from evergrant.oauth.token_expiry import ExpiryEvidence
from evergrant.oauth.token_set import TokenSet
from evergrant.ports import Due
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
from evergrant.record.circuit import Circuit
from evergrant.record.connection import Connection, RecordChange, RecordFields
from evergrant.record.status import Status
from evergrant.rotation import connection_pass, pace, refresh_attempt, refresh_demand, tick
from evergrant.rotation.circuit_breaker import CircuitBreaker
from evergrant.rotation.publication import Publication
from evergrant.rotation.refresh_demand import Outcome, Result, TokenDemand
from evergrant.rotation.refresh_steps import Refresh
from tests.simulation import invariants, situations
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
    plan = retries.compute_retry_at

    def hasty(connection: Connection, profile: Any, count: int, now: int, wait: int | None = None) -> int:
        return plan(connection, profile, count, now)

    return mock.patch(f"{failures.__name__}.compute_retry_at", hasty)


def a_rate_that_is_not_kept() -> Patch:
    return mock.patch.object(pace.Pace, "find_slot", lambda self, due, at: at)


# --- planning ---------------------------------------------------------------------------------------------------------


def a_shard_that_no_tick_reads() -> Patch:
    list_due = tick._TickRun._list_due

    def without_one(self: tick._TickRun) -> list[Due]:
        return [due for due in list_due(self) if refresh_schedule.choose_shard(due.name) != "3"]

    return mock.patch.object(tick._TickRun, "_list_due", without_one)


def no_next_try_after_a_failure() -> Patch:
    apply = refusals.apply_refusal

    def forgotten(connection: Connection, *args: Any) -> RecordChange:
        return apply(connection, *args).set(refresh_schedule.schedule_refresh(connection, None))

    return mock.patch.object(refusals, "apply_refusal", forgotten)


def refreshed_when_it_has_expired() -> Patch:
    return mock.patch.object(refresh_schedule, "compute_refresh_at", lambda life, *_: life.expires_at)


def refreshed_before_its_minimum_age() -> Patch:
    return mock.patch.object(refresh_schedule, "compute_refresh_at", lambda life, *_: life.expires_at - 120)


def a_backoff_of_hours() -> Patch:
    return together(
        mock.patch.object(retries, "_WAITS_SINCE_EXPIRY", ()),
        mock.patch.object(retries, "_QUICK_FAILURES", 0),
    )


# --- the status, and who is asked -------------------------------------------------------------------------------------


def one_tenants_refusal_is_the_clients() -> Patch:
    return together(
        mock.patch.object(circuit, "_MIN_FAILED", 1),
        mock.patch.object(Circuit, "counts", return_value=True),
    )


def asked_at_the_first_refusal() -> Patch:
    return mock.patch.object(refusals, "MIN_SECOND_REJECTION_SECONDS", 0)


def never_asked() -> Patch:
    worsen = failures.worsen_status

    def softened(connection: Connection, status: Status, *args: Any, **kwargs: Any) -> RecordChange:
        softer = Status.DEGRADED if status is Status.AUTHORIZATION_REQUIRED else status
        return worsen(connection, softer, *args, **kwargs)

    return mock.patch.object(refusals, "worsen_status", softened)


def events_that_are_forgotten() -> Patch:
    return mock.patch.object(Publication, "_put_events", lambda self, connection: frozenset(connection.outbox))


# --- the client -------------------------------------------------------------------------------------------------------


def a_corrected_entry_that_is_not_noticed() -> Patch:
    return together(
        mock.patch.object(CircuitBreaker, "_claim", return_value=False),
        mock.patch.object(probes, "plan_probes", return_value=([], {})),
    )


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
    events_that_are_forgotten: Found(situations.a_dead_grant, invariants.a_change_for_the_worse_is_reported),
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
    invariants.a_client_is_refused_by_its_provider,
)
