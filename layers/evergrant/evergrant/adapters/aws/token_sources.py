"""getter's two services: Secrets Manager first, rotator when that does not do. Imports botocore and nothing else."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from typing import Any

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.session import get_session

from ...secret_names import token_secret_name
from .log_levels import keep_sdk_at_info

keep_sdk_at_info()

#: An HTTP API gives up after 30 seconds and getter's own function one before. Rotator lets its callers wait for 25.
_PATIENCE = 26
#: What Secrets Manager may use of it: one short attempt, for where it is slow rotator has the sealed copy.
_HURRY = Config(connect_timeout=1, read_timeout=2, retries={"total_max_attempts": 1})


Document = dict[str, Any]


def create_token_sources() -> tuple[Callable[[str], Document | None], Callable[[Mapping[str, Any]], Document]]:
    """Return what reads a connection's secret, and what asks rotator.

    Both clients are made at once, while Lambda starts the function with more CPU than it will have afterwards; with
    botocore alone, since boto3 brings transfers to S3 along (a tenth of the time and 7 MB: `make bench PARTS=start`).
    """
    prefix = os.environ.get("EVERGRANT_PREFIX", "evergrant")
    rotator = os.environ["EVERGRANT_ROTATOR_FUNCTION"]
    aws: Any = get_session()  # whose clients have the methods of whatever service they are for
    secrets = aws.create_client("secretsmanager", config=_HURRY)
    # One attempt: where an answer is lost rotator may have worked, and a second one would only queue behind it.
    functions = aws.create_client(
        "lambda", config=Config(connect_timeout=1, read_timeout=_PATIENCE, retries={"total_max_attempts": 1})
    )

    def read_secret(connection: str) -> Document | None:
        try:
            answer = secrets.get_secret_value(SecretId=token_secret_name(prefix, connection))
        except (ClientError, BotoCoreError):
            # Not published, or Secrets Manager does not answer: either way rotator has the sealed copy.
            return None
        return _document(answer.get("SecretString", ""))

    def ask_rotator(request: Mapping[str, Any]) -> Document:
        try:
            answer = functions.invoke(FunctionName=rotator, Payload=json.dumps(request))
            payload = answer["Payload"].read()
        except (ClientError, BotoCoreError):
            return _unavailable("rotator could not be asked.")
        if answer.get("FunctionError"):
            return _unavailable("rotator failed.")
        document: Document = json.loads(payload)
        return document

    return read_secret, ask_rotator


def _document(text: str) -> Document | None:
    """The published document; None where somebody else put another value there."""
    try:
        document = json.loads(text)
    except ValueError:
        return None
    published = isinstance(document, dict) and {"access_token", "expires_at"} <= document.keys()
    return document if published else None


def _unavailable(what: str) -> Document:
    return {
        "error": {"code": "temporarily_unavailable", "message": f"No token can be had now: {what}", "retry_after": 5}
    }
