"""Protects the backstop of the logs: a secret that slips into a line is redacted, and the line stays a line."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest

from evergrant.observability import logger


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
