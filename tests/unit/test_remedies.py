"""Protects remedies: every reported failure names the command that fixes it, the same in an alert as in
`evergrant status`, and one that exists."""

from __future__ import annotations

import pytest

from evergrant.record.alerts import describe_event
from evergrant.record.connection import Connection
from evergrant.record.status import EventType, Status
from evergrant_cli.connection_view import find_advice
from tests.unit.command_line import parse_command

REMEDIES = {
    "unreadable_response": "evergrant reparse keap/main",
    "unknown_client": "evergrant client set keap-app",
    "invalid_client_entry": "evergrant client set keap-app",
    "not_sent": "evergrant client set keap-app",
    "invalid_variable": "evergrant connect keap/main",
    "unknown_profile": "evergrant connect keap/main",
    "seal_broken": "evergrant connect keap/main",
}


def command_of(reason: str) -> str:
    detail = {"connection": "keap/main", "client": "keap-app", "reason": reason}
    return str(describe_event({"type": EventType.DEGRADED, "detail": detail})["command"])


@pytest.mark.parametrize(("reason", "command"), REMEDIES.items())
def test_a_degraded_connections_command_is_the_one_that_fixes_it(reason: str, command: str) -> None:
    assert command_of(reason) == command


@pytest.mark.parametrize("reason", ["server_error", "lost_response", "service_unavailable", ""])
def test_what_recovers_by_itself_is_looked_at(reason: str) -> None:
    assert command_of(reason) == "evergrant status keap/main"


@pytest.mark.parametrize("reason", REMEDIES)
def test_the_operators_command_names_the_same_one(reason: str) -> None:
    troubled = Connection(
        name="keap/main",
        status=Status.DEGRADED,
        grant="authorization_code",
        client="keap-app",
        profile_hash="0" * 64,
        last_error=reason,
    )
    assert f"`{command_of(reason)}" in find_advice(troubled)


@pytest.mark.parametrize("reason", [*REMEDIES, "server_error"])
@pytest.mark.parametrize("kind", EventType)
def test_every_command_of_a_notice_is_one_that_there_is(kind: EventType, reason: str) -> None:
    detail = {"connection": "keap/main", "client": "keap-app", "reason": reason}
    given = parse_command(str(describe_event({"type": kind, "detail": detail})["command"]))
    assert {"keap/main", "keap-app"} & set(map(str, given.values()))


@pytest.mark.parametrize("command", ["evergrant fix keap/main", "evergrant status --fix", "evergrant connect"])
def test_a_command_that_there_is_not_is_found_out(command: str) -> None:
    with pytest.raises(Exception, match=r"fix|[Mm]issing"):
        parse_command(command)
