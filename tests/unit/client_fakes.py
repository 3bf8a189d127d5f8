"""Strict stand-ins for Secrets Manager and Lambda as `evergrant_client` uses them, and a clock to move by hand.

They refuse what AWS or getter would refuse, so that a test cannot pass with a request that would not work.
"""

# ruff: noqa: N803 - arguments are named as botocore names them.

from __future__ import annotations

import hashlib
import io
import json
import re
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import ClientError

START = 1_800_000_000.0
GETTER = "arn:aws:lambda:eu-west-1:123456789012:function:evergrant-getter"


class Clock:
    """Epoch seconds that pass only when told."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        return self.now

    def pass_seconds(self, seconds: float) -> None:
        self.now += seconds


def rfc3339(epoch: float) -> str:
    return datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def fingerprint(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()[:16]


def published(connection: str, token: str, *, expires_at: float, **other: Any) -> dict[str, Any]:
    """Return what rotator publishes, as of the contract between rotator and consumers."""
    return {
        "connection": connection,
        "access_token": token,
        "token_type": "Bearer",
        "expires_at": rfc3339(expires_at),
        "scope": "full",
        "headers": {"Authorization": f"Bearer {token}"},
        "required_headers": [],
        "reject_statuses": [401],
        "captured": {},
        "generation": 1,
        **other,
    }


def refusal(code: str, **other: Any) -> dict[str, Any]:
    """Return getter's typed error."""
    return {"error": {"code": code, "message": f"It is {code}.", "hint": "Do something.", **other}}


def client_error(code: str, status: int = 400) -> ClientError:
    return ClientError(
        {"Error": {"Code": code, "Message": "said by AWS"}, "ResponseMetadata": {"HTTPStatusCode": status}},  # type: ignore[typeddict-item]
        "Operation",
    )


class FakeAws:
    """A session whose two clients answer from memory and note every call."""

    def __init__(self) -> None:
        self.secrets: dict[str, str | Exception] = {}
        self.getter: Callable[[dict[str, Any]], dict[str, Any] | bytes | Exception] | None = None
        self.function_error = False
        self.reads: list[str] = []
        self.asked: list[dict[str, Any]] = []
        self.configs: dict[str, Any] = {}
        self.made = 0
        self.before_read: Callable[[], None] = lambda: None
        self._alone = threading.Lock()

    def publish(self, connection: str, token: str, *, expires_at: float, **other: Any) -> None:
        document = published(connection, token, expires_at=expires_at, **other)
        self.secrets[f"evergrant/tokens/{connection}"] = json.dumps(document)

    def create_client(self, service_name: str, *, config: Any) -> Any:
        assert service_name in {"secretsmanager", "lambda"}
        self.configs[service_name] = config
        self.made += 1
        return _Secrets(self) if service_name == "secretsmanager" else _Lambda(self)


class _Secrets:
    def __init__(self, aws: FakeAws) -> None:
        self._aws = aws

    def get_secret_value(self, *, SecretId: str) -> dict[str, Any]:
        assert re.fullmatch(r"[A-Za-z0-9/_+=.@-]{1,512}", SecretId)
        assert self._aws._alone.acquire(blocking=False), "two fetches at a time"
        try:
            self._aws.reads.append(SecretId)
            self._aws.before_read()
            held = self._aws.secrets.get(SecretId)
        finally:
            self._aws._alone.release()
        if held is None:
            raise client_error("ResourceNotFoundException")
        if isinstance(held, Exception):
            raise held
        return {"Name": SecretId, "SecretString": held, "VersionStages": ["AWSCURRENT"]}


class _Lambda:
    def __init__(self, aws: FakeAws) -> None:
        self._aws = aws

    def invoke(self, *, FunctionName: str, InvocationType: str, Payload: bytes) -> dict[str, Any]:
        assert InvocationType == "RequestResponse"
        if FunctionName != GETTER or self._aws.getter is None:
            raise client_error("ResourceNotFoundException", 404)
        request = json.loads(Payload)
        assert set(request) - {"rejected"} == {"connection", "min_ttl"}
        assert isinstance(request["min_ttl"], int)
        assert request["min_ttl"] >= 0
        assert re.fullmatch(r"[0-9a-f]{16}", request.get("rejected", "0" * 16))
        self._aws.asked.append(request)
        answer = self._aws.getter(request)
        if isinstance(answer, Exception):
            raise answer
        payload = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        said: dict[str, Any] = {"StatusCode": 200, "Payload": io.BytesIO(payload)}
        if self._aws.function_error:
            said["FunctionError"] = "Unhandled"
        return said
