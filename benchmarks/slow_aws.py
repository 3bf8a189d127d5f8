"""Secrets Manager in a process of its own, with the two secrets of the benchmarks.

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

#: The token document of a connection, and the refresh token of a function that refreshes without Evergrant.
TOKEN_SECRET = "evergrant/tokens/keap/main"
REFRESH_SECRET = "refresh/keap/main"

_VERSION = str(uuid.UUID(int=1))


def build_token_document() -> dict[str, Any]:
    """Build a token document with a token of the usual length that lives for a day."""
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
    TOKEN_SECRET: json.dumps(build_token_document()),
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


def run_server(seconds: float) -> AbstractContextManager[str]:
    """Run the server; give its address, ``host:port``."""
    return slow_http.run_server(__name__, seconds)


if __name__ == "__main__":
    slow_http.serve(_answer, sys.argv[1:])
