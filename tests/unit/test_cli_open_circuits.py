"""Protects how open circuits and incidents are shown: what is wrong, whom it holds back, and until when."""

from __future__ import annotations

from typing import Any

import pytest

from evergrant.record.circuit import Circuit, Failure
from evergrant.record.connection import Connection
from evergrant.record.status import Status
from evergrant_cli import open_circuits
from tests.unit.samples import NOW, SEALED
from tests.unit.samples import connection as sample

URL = "https://api.example.com/token"
DOWN: dict[str, Any] = {"code": "unclear", "http_status": 503, "detail": "text/html", "probed_at": NOW - 5}
ENDPOINT = Circuit(f"endpoint#{URL}", opened_at=NOW - 720, **DOWN)
REFUSED: dict[str, Any] = {"code": "invalid_client", "http_status": 401, "probed_at": NOW - 5}
CLIENT = Circuit("client#keap", opened_at=NOW - 3600, **REFUSED)
BOTH = {circuit.key: circuit for circuit in (ENDPOINT, CLIENT)}


def connection(name: str = "keap/main", **fields: Any) -> Connection:
    given = {"client": "keap", "endpoint": URL, "expires_at": NOW + 600, "refresh_at": NOW - 60, **fields}
    return sample(name=name, **given)


def describe(circuit: Circuit, *records: Connection) -> str:
    (held,) = open_circuits.list_held({circuit.key: circuit}, records, NOW)
    return open_circuits.describe_held(held, NOW)


def test_a_failing_endpoint_is_shown_with_its_reason_and_who_waits() -> None:
    said = describe(ENDPOINT, connection(), connection("keap/two", expires_at=NOW - 60), connection(refresh_at=NOW + 5))
    assert said == (
        "api.example.com: https://api.example.com/token has failed for 12 min: the provider, or a server in front of "
        "it, failed with a page of HTML (unclear, HTTP 503, text/html). 2 of 3 connections are held back; the first "
        "token expired 1 min ago; the next probe is due in 10 s."
    )


@pytest.mark.parametrize(
    ("refresh_at", "said"), [(NOW - 5, "keap/main is held back; its token"), (NOW + 5, "keap/main will be held back;")]
)
def test_the_only_connection_of_a_circuit_is_named(refresh_at: int, said: str) -> None:
    assert said in describe(CLIENT, connection(refresh_at=refresh_at))


def test_a_refused_client_is_shown_with_the_refusal() -> None:
    said = describe(CLIENT, connection(), connection("keap/two"))
    assert said.startswith("keap: its provider has refused it for 1 h: the provider does not accept the client's")
    assert "(invalid_client, HTTP 401). 2 of 2 connections are held back; the first token expires in 10 min" in said


def test_an_endpoint_holds_back_before_the_client_does() -> None:
    assert open_circuits.find_obstacle(connection(), BOTH) is ENDPOINT
    assert open_circuits.find_obstacle(connection(endpoint="https://other.example/token"), BOTH) is CLIENT
    assert open_circuits.find_obstacle(connection(endpoint=None, client="other"), BOTH) is None


@pytest.mark.parametrize(
    "fields",
    [
        {"status": Status.PAUSED},
        {"status": Status.DISCONNECTED},
        {"status": Status.AUTHORIZATION_REQUIRED},
        {"refresh_at": None},
        {"unreadable_response": SEALED},
    ],
)
def test_what_is_not_refreshed_by_schedule_is_not_held_back(fields: dict[str, Any]) -> None:
    assert open_circuits.find_obstacle(connection(**fields), BOTH) is None


def test_a_probe_behind_retry_after_is_shown_at_its_time() -> None:
    later = Circuit(ENDPOINT.key, opened_at=NOW, retry_at=NOW + 300, **DOWN)
    assert open_circuits.describe_probe(later, NOW) == "the next probe is due in 5 min"
    overdue = Circuit(ENDPOINT.key, opened_at=NOW - 60, **{**DOWN, "probed_at": NOW - 60})
    assert open_circuits.describe_probe(overdue, NOW) == "the next probe is due now"


def test_the_document_of_a_closed_circuit_is_empty() -> None:
    assert open_circuits.build_view(Circuit("client#keap"), NOW) is None
    assert open_circuits.build_incident_view(Circuit("client#keap")) is None


def test_an_incident_is_one_line_with_the_time_at_which_owners_are_asked() -> None:
    refusals = {f"keap/{number}": Failure(NOW - 600, "invalid_grant") for number in range(6)}
    incident = Circuit("client#keap", incident_at=NOW - 600, refusals=refusals)
    assert open_circuits.describe_incident(incident, NOW) == (
        "keap: its provider has refused the grants of 6 connections at once, for 10 min: the provider no longer "
        "accepts the grant (invalid_grant). Their owners are asked in 1 h 50 min, unless one is accepted before"
    )
    assert "asked now" in open_circuits.describe_incident(incident, NOW + 7200)


def test_only_a_refused_connection_belongs_to_its_clients_incident() -> None:
    incident = Circuit("client#keap", incident_at=NOW, refusals={"keap/main": Failure(NOW, "invalid_grant")})
    circuits = {incident.key: incident}
    assert open_circuits.find_incident(connection(), circuits) is incident
    assert open_circuits.find_incident(connection("keap/well"), circuits) is None
    assert open_circuits.find_incident(connection(client="other"), circuits) is None
