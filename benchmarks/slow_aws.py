"""Secrets Manager in a process of its own, holding the two secrets that readers and refreshers want.

python -m benchmarks.slow_aws PORT SECONDS
"""

from __future__ import annotations

import json
import sys
import time
import uuid
from collections.abc import Mapping
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import Any

from benchmarks import slow_http

#: The published document of a connection, and what somebody keeps who refreshes without us.
TOKEN_SECRET = "evergrant/tokens/keap/main"
REFRESH_SECRET = "refresh/keap/main"

_VERSION = str(uuid.UUID(int=1))


def token_document() -> dict[str, Any]:
    """As Evergrant publishes it, of a token of the usual length that lives for a day."""
    token = f"access-{'x' * 900}"
    return {
        "connection": "keap/main",
        "generation": 7,
        "access_token": token,
        "token_type": "bearer",
        "expires_at": datetime.fromtimestamp(int(time.time()) + 86_400, UTC).isoformat().replace("+00:00", "Z"),
        "scope": "full",
        "headers": {"Authorization": f"Bearer {token}"},
        "required_headers": [],
        "reject_statuses": [401],
        "captured": {},
    }


_secrets = {
    TOKEN_SECRET: json.dumps(token_document()),
    REFRESH_SECRET: json.dumps({"refresh_token": f"refresh-{'x' * 300}"}),
}


def _answer(headers: Mapping[str, str], body: bytes) -> bytes:
    asked: dict[str, Any] = json.loads(body)
    name, operation = asked["SecretId"], headers["x-amz-target"].partition(".")[2]
    answer: dict[str, Any] = {"ARN": f"arn:aws:secretsmanager:eu-west-1:123456789012:secret:{name}", "Name": name}
    if operation == "GetSecretValue":
        answer |= {"SecretString": _secrets[name], "VersionId": _VERSION, "VersionStages": ["AWSCURRENT"]}
    elif operation == "DescribeSecret":
        answer |= {"VersionIdsToStages": {_VERSION: ["AWSCURRENT"]}}
    elif operation == "PutSecretValue":
        _secrets[name] = asked["SecretString"]
        answer |= {"VersionId": _VERSION}
    return json.dumps(answer).encode()


def running(seconds: float) -> AbstractContextManager[str]:
    """Its address, ``host:port``."""
    return slow_http.running(__name__, seconds)


if __name__ == "__main__":
    slow_http.serve(_answer, sys.argv[1:])
