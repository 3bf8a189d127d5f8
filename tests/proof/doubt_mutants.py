"""Mistakes to plant in what follows an answer that settles nothing, or none at all, and in the circuits."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from types import ModuleType
from typing import Any
from unittest import mock

from evergrant.ports import PortUnavailable
from evergrant.profiles.model import Profile
from evergrant.record import circuit, lost_response, queued_dispatch, refusals, retries
from evergrant.record.connection import Connection, RecordState
from evergrant.rotation.connection_pass import Rotation
from evergrant.rotation.refresh_demand import TokenDemand

_SPARE, _END = retries.compute_spared_until, retries.compute_end_of_token


@contextmanager
def _sparing(rule: Any, *modules: ModuleType) -> Iterator[None]:
    """Another rule of sparing, in the modules that have it by name; of the preparation, it is the module's own."""
    with ExitStack() as stack:
        for module in modules or (refusals, lost_response, retries):
            stack.enter_context(mock.patch.object(module, "compute_spared_until", rule))
        yield


def _at_once(_connection: Connection, _profile: Profile, _since: int, _tried_at: int, now: int) -> int:
    return now


def not_spared_after_an_unclear_answer() -> Any:
    return _sparing(_at_once, refusals, retries)


def not_spared_after_a_lost_response() -> Any:
    return _sparing(_at_once, lost_response)


def in_flight_since_the_first_loss() -> Any:
    """A replay that is lost, too, is taken to be as old as the request before."""

    def same(connection: Connection, **fields: Any) -> Connection:
        return connection if fields == {"in_doubt_since": None} else replace(connection, **fields)

    return mock.patch.object(lost_response, "replace", same)


def marked_over_an_attempt_that_ended() -> Any:
    """A worker that read the record before another one's attempt, which ended without a marker, begins its own."""
    snapshot = Connection.snapshot

    def fewer(connection: Connection, *names: str) -> RecordState:
        return snapshot(connection, *(name for name in names if name != "failures"))

    return mock.patch.object(Connection, "snapshot", fewer)


def tried_long_before_its_end() -> Any:
    return mock.patch.object(retries, "LAST_TRY_SECONDS", 300)


def never_tried_before_its_end() -> Any:
    return mock.patch.object(retries, "LAST_TRY_SECONDS", 0)


def tried_twice_before_its_end() -> Any:
    def again(connection: Connection, profile: Profile, since: int, tried_at: int, now: int) -> int:
        is_last = connection.expires_at is not None and now >= connection.expires_at - 30
        return now if is_last else _SPARE(connection, profile, since, tried_at, now)

    return _sparing(again)


def spared_beyond_its_end() -> Any:
    def later(connection: Connection) -> int | None:
        ends_at = _END(connection)
        return None if ends_at is None else ends_at + 3600

    return mock.patch.object(retries, "compute_end_of_token", later)


def an_assumed_end_taken_for_the_end() -> Any:
    return mock.patch.object(retries, "ASSUMED_EXPIRY_RULES", frozenset())


def deaf_to_a_rejected_token() -> Any:
    return mock.patch.object(Rotation, "_note_rejected_token", lambda _, connection, *__: connection)


def counted_nowhere() -> Any:
    return mock.patch.object(lost_response, "_ends_whole_permission", return_value=False)


def counted_everywhere() -> Any:
    return mock.patch.object(lost_response, "_ends_whole_permission", return_value=True)


def blind_to_the_end_of_a_refresh_token() -> Any:
    def unended(connection: Connection, *args: Any) -> int:
        return _SPARE(replace(connection, refresh_expires_at=None), *args)

    return _sparing(unended)


def a_circuit_that_stays_open() -> Any:
    return mock.patch.object(circuit, "_OF_AN_OPEN_CIRCUIT", ())


def a_circuit_that_never_opens() -> Any:
    return mock.patch.object(circuit, "_is_endpoint_to_blame", return_value=False)


def closed_without_a_dispatch() -> Any:
    return mock.patch.object(queued_dispatch, "create_message", side_effect=PortUnavailable("forgotten"))


def a_probe_that_counts_twice() -> Any:
    """Each delivery of a probe's message passes, although the connection was worked on since the tick chose it."""
    return mock.patch.object(TokenDemand, "is_probe_of", lambda demand, *_: demand.probe_claim is not None)
