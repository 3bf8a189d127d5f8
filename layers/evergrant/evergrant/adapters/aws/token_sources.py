"""Call the two services of getter: Secrets Manager, and rotator. Imports botocore and nothing else."""

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

#: An HTTP API ends a request after 30 seconds, and getter's own function after 29. Rotator answers within 25.
_ROTATOR_TIMEOUT_SECONDS = 26
#: One short attempt at Secrets Manager: where it is slow, rotator has the sealed copy.
_SECRETS_CONFIG = Config(connect_timeout=1, read_timeout=2, retries={"total_max_attempts": 1})

Document = dict[str, Any]


def create_token_sources() -> tuple[Callable[[str], Document | None], Callable[[Mapping[str, Any]], Document]]:
    """Return a function that reads a connection's secret, and one that asks rotator.

    Both clients are made at once, while Lambda starts the function with more CPU than it has afterwards. botocore alone
    is enough: boto3 adds transfers to S3 (a tenth of the time and 7 MB: `make bench PARTS=start`).
    """
    prefix = os.environ.get("EVERGRANT_PREFIX", "evergrant")
    rotator = os.environ["EVERGRANT_ROTATOR_FUNCTION"]
    aws: Any = get_session()  # its clients get their methods at run time
    secrets = aws.create_client("secretsmanager", config=_SECRETS_CONFIG)
    # One attempt: rotator may work on although its answer is lost, and a second request would queue behind that.
    functions = aws.create_client(
        "lambda",
        config=Config(connect_timeout=1, read_timeout=_ROTATOR_TIMEOUT_SECONDS, retries={"total_max_attempts": 1}),
    )

    def read_secret(connection: str) -> Document | None:
        try:
            answer = secrets.get_secret_value(SecretId=token_secret_name(prefix, connection))
        except (ClientError, BotoCoreError):
            # Not published, or Secrets Manager does not answer: rotator has the sealed copy in both cases.
            return None
        return _parse_document(answer.get("SecretString", ""))

    def ask_rotator(request: Mapping[str, Any]) -> Document:
        try:
            answer = functions.invoke(FunctionName=rotator, Payload=json.dumps(request))
            payload = answer["Payload"].read()
        except (ClientError, BotoCoreError):
            return _build_unavailable("rotator could not be asked.")
        if answer.get("FunctionError"):
            return _build_unavailable("rotator failed.")
        document: Document = json.loads(payload)
        return document

    return read_secret, ask_rotator


def _parse_document(text: str) -> Document | None:
    """Return the published document; None where the secret holds another value, written by hand."""
    try:
        document = json.loads(text)
    except ValueError:
        return None
    published = isinstance(document, dict) and {"access_token", "expires_at"} <= document.keys()
    return document if published else None


def _build_unavailable(what: str) -> Document:
    return {
        "error": {"code": "temporarily_unavailable", "message": f"No token can be had now: {what}", "retry_after": 5}
    }
