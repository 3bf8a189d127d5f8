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

from local.providers import ProviderServer
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
def test_no_secret_is_logged_at_any_level(contract: Contract, wealthyhood: ProviderServer, level: str) -> None:
    rotator = contract.start("Rotator", POWERTOOLS_LOG_LEVEL=level)
    answer = rotator.invoke({"connection": "wealthyhood/reports", "force": True})
    log = rotator.log.read_text()
    stored = contract.aws.client("secretsmanager").get_secret_value(SecretId=f"{PREFIX}/clients/wealthyhood")
    (client_secret,) = json.loads(stored["SecretString"])["client_secrets"]
    assert answer["access_token"] not in log
    assert client_secret not in log
    assert any("_aws" in line for line in filter_as_lambda(read_written(rotator), "INFO"))
