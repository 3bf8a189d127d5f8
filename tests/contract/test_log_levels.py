"""Protects what arrives in CloudWatch Logs: at each level that the template offers, by the filter that Lambda applies.

The functions run under Lambda's own runtime, with the variables that Lambda sets for ``LoggingConfig``. The emulator
writes what the function writes; the filter is the documented one (Lambda guide, "Configuring advanced logging
controls", "Log-level filtering").
"""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from evergrant.adapters.aws.authorizations import StoredAuthorizations
from evergrant.adapters.aws.profiles import StoredProfiles
from evergrant.adapters.aws.records import DynamoRecords
from evergrant.adapters.aws.seal import KmsSeal
from evergrant.adapters.aws.secrets_manager import SecretsVault
from evergrant.adapters.clock import SystemClock
from evergrant.connect import operator_actions
from evergrant.connect.links import issue_ticket
from evergrant.oauth.token_set import TokenSet
from local.browser import Browser
from local.providers import ProviderServer
from tests.adapters.leaks import find_secrets
from tests.contract.api_gateway import HOST, REDIRECT_URI, ApiGateway
from tests.contract.contract import PREFIX, Contract, event
from tests.contract.emulated_lambda import EmulatedLambda
from tests.template.stack import read_template

LEVELS = tuple(read_template()["Parameters"]["LogLevel"]["AllowedValues"])
#: What Lambda orders levels by. A line without a valid one, or without a valid timestamp, counts as INFO.
ORDER = ("TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL")
RFC_3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)")
#: What the emulator itself writes.
OF_THE_EMULATOR = re.compile(r"(START|END|REPORT|INIT_\w+) |\d\d \w{3} \d{4} |\s*$")
BROKEN = {"EVERGRANT_RECORDS_TABLE": "missing", "EVERGRANT_AUTHORIZATIONS_TABLE": "missing"}
SAMPLES = ("scheduler-tick", "rotator-queue", "callback-connect-get", "getter-direct")
#: A ticket that could exist, so that callback looks for it.
TICKET = "A" * 43


def read_written(function: EmulatedLambda) -> list[str]:
    return [line for line in function.log.read_text().splitlines() if not OF_THE_EMULATOR.match(line)]


def filter_as_lambda(lines: list[str], level: str) -> list[dict[str, Any]]:
    """Return the lines that Lambda sends on at an ``ApplicationLogLevel``."""
    return [found for line in lines if ORDER.index(_rank(found := json.loads(line))) >= ORDER.index(level)]


def _rank(line: dict[str, Any]) -> str:
    stated = str(line.get("level", "")).upper().replace("WARNING", "WARN").replace("CRITICAL", "FATAL")
    is_dated = RFC_3339.fullmatch(str(line.get("timestamp", ""))) is not None
    return stated if stated in ORDER and is_dated else "INFO"


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("sample", SAMPLES)
def test_errors_and_metrics_arrive_and_every_line_is_json(contract: Contract, sample: str, level: str) -> None:
    """A function whose tables are gone says so, at each level, and counts it where it has a metric for that."""
    name = sample.partition("-")[0].title()
    function = contract.start(name, POWERTOOLS_LOG_LEVEL=level, **({} if name == "Getter" else BROKEN))
    if name == "Getter":
        function.invoke({"connection": "keap/main", "min_ttl": "soon"})
    function.invoke(event(sample) | ({"pathParameters": {"ticket": TICKET}} if name == "Callback" else {}))

    arrived = filter_as_lambda(read_written(function), "INFO")

    errors = [line for line in arrived if line.get("level") in ("ERROR", "CRITICAL")]
    assert errors or name == "Getter", "getter answers its errors, and logs none"
    metrics = [line for line in arrived if "_aws" in line]
    assert bool(metrics) is (name == "Rotator")


def test_the_filter_drops_what_a_higher_lambda_level_would() -> None:
    """So the template keeps that level at INFO: metrics and lines of another form have no level of their own."""
    lines = [
        json.dumps({"_aws": {}, "Rotations": 1}),
        json.dumps({"level": "ERROR", "timestamp": "2026-11-30 22:07:24,442+0000"}),
        json.dumps({"level": "ERROR", "timestamp": "2026-11-30T22:07:24.442+00:00"}),
    ]
    assert len(filter_as_lambda(lines, "INFO")) == 3
    assert [line["timestamp"] for line in filter_as_lambda(lines, "WARN")] == ["2026-11-30T22:07:24.442+00:00"]


@pytest.mark.parametrize("level", LEVELS)
def test_no_secret_is_logged_at_any_level(contract: Contract, keap: ProviderServer, level: str) -> None:
    """One grant, from the link to the reader: callback exchanges, rotator publishes and refreshes, getter serves."""
    function = {
        name: contract.start(name, POWERTOOLS_LOG_LEVEL=level, EVERGRANT_ALLOW_LOOPBACK="true")
        for name in ("Callback", "Rotator", "Getter")
    }
    connection = f"keap/{level.lower()}"
    link, gateway = issue_link(contract, keap, connection), ApiGateway(function["Callback"])
    secrets = connect(link, gateway) | read_secrets(contract, connection)
    function["Rotator"].invoke({"connection": connection, "force": True})
    secrets |= {f"later {name}": secret for name, secret in read_secrets(contract, connection).items()}
    served = function["Getter"].invoke({"connection": connection, "min_ttl": 60})

    assert served["access_token"] == secrets["later access token"] != secrets["access token"]
    assert secrets["refresh token"] != secrets["later refresh token"]
    logs = {name: it.log.read_text() for name, it in function.items()}
    assert {name: find_secrets(log, secrets) for name, log in logs.items()} == {name: set() for name in logs}
    assert any("_aws" in line for line in filter_as_lambda(read_written(function["Rotator"]), "INFO"))
    assert any("_aws" in line for line in filter_as_lambda(read_written(function["Callback"]), "INFO"))


def connect(link: str, gateway: ApiGateway) -> dict[str, str]:
    """Connect an account as its owner, and return what the browser saw of secrets."""
    with Browser(gateway) as browser:
        page = browser.open(link)
        consent = browser.submit(page, page.forms[0])
        allow = next(form for form in consent.forms if form.fields.get("decision") == "allow")
        outcome = browser.submit(consent, allow)
    assert outcome.status == 200, outcome.text
    returned = next(url for url in gateway.urls if url.path.startswith("/callback"))
    cookie = gateway.cookies[0].partition("=")[2].partition(";")[0]
    ticket = link.rpartition("/")[2]
    return {"code": returned.params["code"], "state": returned.params["state"], "cookie": cookie, "ticket": ticket}


def read_secrets(contract: Contract, connection: str) -> dict[str, str]:
    """Read the tokens of a connection, and the secret of its client."""
    record = DynamoRecords(contract.names["RecordsTable"]).get(connection)
    assert record is not None
    assert record.sealed is not None
    seal, client = KmsSeal(contract.names["SealKey.Arn"]), SecretsVault(PREFIX).client(record.client)
    tokens = TokenSet.decode(seal.unseal(record.sealed, connection, record.generation))
    assert tokens.refresh_token is not None
    return {
        "access token": tokens.access_token.reveal(),
        "refresh token": tokens.refresh_token.reveal(),
        "client secret": client.secrets[0].reveal(),
    }


def issue_link(contract: Contract, keap: ProviderServer, connection: str) -> str:
    table = contract.names["RecordsTable"]
    authorization, grant = operator_actions.plan(
        StoredProfiles(table).load_named("keap"),
        connection,
        variables={"host": keap.host, "login_host": keap.host},
        redirect_uri=REDIRECT_URI,
    )
    operator_actions.begin(DynamoRecords(table), authorization, grant, SystemClock())
    stored = StoredAuthorizations(contract.names["AuthorizationsTable"])
    return f"https://{HOST}/connect/{issue_ticket(stored, authorization, int(SystemClock().now()))}"
