"""Protects the backstop of the logs: a secret that slips into a line is redacted, and the line stays a line."""

from __future__ import annotations

import io
import json
import logging
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from evergrant.adapters.observability import logger


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    (handler,) = logger.handlers
    assert isinstance(handler, logging.StreamHandler)
    before = handler.setStream(stream)
    yield stream
    handler.setStream(before or stream)


CANARY = "canary-0123456789"


@pytest.mark.parametrize(
    "text",
    [
        f"Authorization: Bearer {CANARY}",
        f"basic {CANARY}",
        f"GET /callback?code={CANARY}&state=1",
        f"refresh_token={CANARY}",
        f'{{"access_token": "{CANARY}", "a": 1}}',
        f"{{'client_secret': '{CANARY}'}}",
        f"code_verifier: {CANARY}",
        f"PASSWORD = {CANARY}",
        f"BEARER {CANARY}",
        "eyJhbGciOiJub25lIn0.eyJzdWIiOiJjYW5hcnkifQ.canary-0123456789",
    ],
)
# Its name is in the line, as the location, and must not be what leads to the redaction.
def test_what_slipped_into_a_message_is_redacted_and_the_line_stays_json(lines: io.StringIO, text: str) -> None:
    logger.error(text, extra={"after": "intact"})
    line = json.loads(lines.getvalue())
    assert "0123456789" not in lines.getvalue()
    assert "[redacted]" in str(line["message"])
    assert line["after"] == "intact"


def test_the_code_of_an_error_and_the_name_of_a_token_are_no_secrets(lines: io.StringIO) -> None:
    logger.info("request refused", code="unknown_connection", reason="no access_token where the profile says")
    line = json.loads(lines.getvalue())
    assert line["code"] == "unknown_connection"
    assert line["reason"] == "no access_token where the profile says"


def test_a_field_that_is_named_like_a_secret_is_redacted(lines: io.StringIO) -> None:
    logger.info("careless", refresh_token=CANARY)
    assert json.loads(lines.getvalue())["refresh_token"] == "[redacted]"


def test_a_lines_timestamp_is_rfc_3339_in_utc(lines: io.StringIO) -> None:
    """Lambda counts a line as INFO when its ``timestamp`` is not in RFC 3339 (Lambda guide, "Log-level filtering")."""
    logger.error("anything")
    timestamp = json.loads(lines.getvalue())["timestamp"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", timestamp)


#: Writes one line at each level, by the logger of the functions.
_ALL_LEVELS = """
from evergrant.adapters.observability import logger
logger.debug("x"), logger.info("x"), logger.warning("x"), logger.error("x")
"""


@pytest.mark.parametrize(
    ("level", "written"),
    [
        ("DEBUG", ["DEBUG", "INFO", "WARNING", "ERROR"]),
        ("INFO", ["INFO", "WARNING", "ERROR"]),
        ("WARN", ["WARNING", "ERROR"]),
        ("ERROR", ["ERROR"]),
    ],
)
def test_the_log_level_counts_beside_lambdas_own(level: str, written: list[str]) -> None:
    """The logger has the level of ``POWERTOOLS_LOG_LEVEL`` although Lambda's own is INFO, and Powertools does not warn.

    By itself Powertools takes ``AWS_LAMBDA_LOG_LEVEL`` instead, and warns on stderr where the other one is lower.
    """
    environment = os.environ | {"AWS_LAMBDA_LOG_LEVEL": "INFO", "POWERTOOLS_LOG_LEVEL": level}
    done = _python(_ALL_LEVELS, environment)
    assert [json.loads(line)["level"] for line in done.stdout.splitlines()] == written
    assert done.stderr == ""


_NO_METRICS = """
from evergrant.adapters.observability import metrics
metrics.log_metrics(lambda event, context: None)({}, None)
"""


def test_an_invocation_without_metrics_writes_no_warning() -> None:
    """By itself Powertools warns on stderr, in several lines, where an invocation has counted nothing."""
    done = _python(_NO_METRICS, os.environ | {"POWERTOOLS_SERVICE_NAME": "x", "POWERTOOLS_METRICS_NAMESPACE": "x"})
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


#: A function at start under Lambda's runtime with its level at DEBUG, and one answer of AWS that holds a secret.
_AT_DEBUG = """
import json, logging, sys
from io import BytesIO
logging.basicConfig(stream=sys.stdout, level=logging.DEBUG, format="%(levelno)d %(name)s %(message)s")

from botocore.awsrequest import AWSResponse
from botocore.httpsession import URLLib3Session

class Body(BytesIO):
    def stream(self, **options):
        yield self.read()

def send(session, request):
    logging.getLogger("urllib3.connectionpool").debug("canary")  # as it would of each request
    document = {"access_token": "canary", "expires_at": "2999-01-01T00:00:00Z"}
    return AWSResponse(request.url, 200, {}, Body(json.dumps({"SecretString": json.dumps(document)}).encode()))

URLLib3Session.send = send
import app
if "evergrant.adapters.aws.sdk" in sys.modules:
    secrets = sys.modules["evergrant.adapters.aws.sdk"].client("secretsmanager")
    answer = secrets.get_secret_value(SecretId="x")["SecretString"]
else:
    answer = json.dumps(app.handler({"connection": "keap/main"}, None))
assert "canary" in answer
logging.getLogger("control").debug("The root logger is at DEBUG.")
"""
_FUNCTIONS = Path(__file__).parents[2] / "functions"


@pytest.mark.parametrize("function", ["scheduler", "rotator", "callback", "getter"])
def test_the_sdk_logs_nothing_below_info(function: str) -> None:
    """boto3, botocore and urllib3 log nothing below INFO in any function, even with the root logger at DEBUG.

    At DEBUG botocore logs the bodies of requests and answers. Lambda's runtime sets the root logger to the function's
    application log level.
    """
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(_FUNCTIONS / function), *filter(None, sys.path)]),
        "AWS_REGION": "eu-west-1",
        "AWS_DEFAULT_REGION": "eu-west-1",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "EVERGRANT_RECORDS_TABLE": "records",
        "EVERGRANT_AUTHORIZATIONS_TABLE": "authorizations",
        "EVERGRANT_QUEUE_URL": "https://sqs.eu-west-1.amazonaws.com/000000000000/rotation",
        "EVERGRANT_ROTATOR_FUNCTION": "rotator",
    }
    done = _python(_AT_DEBUG, environment)
    assert done.stdout.endswith("10 control The root logger is at DEBUG.\n"), done.stderr
    sdk = re.compile(r"^\d+ (?:boto3|botocore|urllib3)\b", re.MULTILINE)
    assert not [line for line in done.stdout.splitlines() if sdk.match(line) and int(line.split()[0]) < logging.INFO]
    assert "canary" not in done.stdout


def _python(script: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False, timeout=60
    )
