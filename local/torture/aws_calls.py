"""What a request of a function to AWS is about: the service, the connection, and the step of the rotation it is."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from local.torture.proxy import Request

_SCOPE = re.compile(r"Credential=[^/]+/\d{8}/[^/]+/([^/]+)/aws4_request")

#: The steps of docs/rotation.md, in their order; "spend" is seen at the provider.
STEPS = ("look", "prepare", "mark", "spend", "save", "publish")


@dataclass(frozen=True)
class Call:
    """One call of an AWS service. ``connection`` and ``step`` are None where a request does not tell."""

    service: str
    operation: str
    connection: str | None = None
    step: str | None = None
    queued: int | None = None
    """Where it keeps an answer in the queue, because the table would not take it: the generation it is to follow."""


def service_of(request: Request) -> str:
    """The service that a request is signed for (Signature Version 4, the credential scope)."""
    found = _SCOPE.search(request.headers.get("authorization", ""))
    return found[1] if found else ""


def call_of(request: Request) -> Call:
    """Read a request."""
    return _call(service_of(request), request.headers.get("x-amz-target", "").rpartition(".")[2], request.body)


@lru_cache(maxsize=20_000)
def _call(service: str, operation: str, body: bytes) -> Call:
    try:
        asked: Any = json.loads(body)
    except ValueError:
        return Call(service, operation)
    if service == "dynamodb":
        kind, _, name = asked.get("Key", {}).get("pk", {}).get("S", "").partition("#")
        if kind != "connection":
            return Call(service, operation)
        return Call(service, operation, name, "look" if operation == "GetItem" else _write(asked))
    if service == "kms":
        return Call(service, operation, asked.get("EncryptionContext", {}).get("evergrant:connection"), "prepare")
    if service == "secretsmanager":
        _, tokens, name = str(asked.get("SecretId") or asked.get("Name")).partition("/tokens/")
        return Call(service, operation, name, "publish") if tokens else Call(service, operation)
    if service == "events":
        details = [json.loads(entry["Detail"]) for entry in asked.get("Entries", [])]
        return Call(service, operation, details[0].get("connection") if details else None, "publish")
    if service == "sqs" and operation == "SendMessage":
        message = json.loads(asked["MessageBody"])
        queued = message["generation"] if message.get("task") == "save" else None
        step = "publish" if queued is None else "save"
        return Call(service, operation, message.get("connection"), step, queued)
    return Call(service, operation)


def _write(asked: Any) -> str | None:
    """Which write of the record it is, by what it sets."""
    names, (sets, _, _) = asked.get("ExpressionAttributeNames", {}), asked["UpdateExpression"].partition(" REMOVE ")
    changed = {name for placeholder, name in names.items() if re.search(rf"{placeholder} = ", sets)}
    if "sealed" in changed:
        return "save"
    if "attempt_id" in changed:
        return "mark"
    return "publish" if {"lease_owner", "lease_until"} & set(names.values()) else None
