"""Requests of a function to AWS: the service, the connection, and the step of the rotation."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from local.torture.proxy import Request

_SCOPE = re.compile(r"Credential=[^/]+/\d{8}/[^/]+/([^/]+)/aws4_request")

#: The steps of docs/rotation.md in order. "send", the refresh attempt, is seen at the provider only.
STEPS = ("look", "prepare", "mark", "send", "save", "publish")


@dataclass(frozen=True)
class Call:
    """One call of an AWS service. ``connection`` and ``step`` are None if the request does not name them."""

    service: str
    operation: str
    connection: str | None = None
    step: str | None = None
    queued: int | None = None
    """Of a queued save: the generation that the token set follows."""


def parse_service(request: Request) -> str:
    """Return the service that a request is signed for (credential scope of Signature Version 4)."""
    found = _SCOPE.search(request.headers.get("authorization", ""))
    return found[1] if found else ""


def parse_call(request: Request) -> Call:
    """Classify a request."""
    return _parse_call(parse_service(request), request.headers.get("x-amz-target", "").rpartition(".")[2], request.body)


@lru_cache(maxsize=20_000)
def _parse_call(service: str, operation: str, body: bytes) -> Call:
    try:
        asked: Any = json.loads(body)
    except ValueError:
        return Call(service, operation)
    if service == "dynamodb":
        kind, _, name = asked.get("Key", {}).get("pk", {}).get("S", "").partition("#")
        if kind != "connection":
            return Call(service, operation)
        return Call(service, operation, name, "look" if operation == "GetItem" else _find_write_step(asked))
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


def _find_write_step(asked: Any) -> str | None:
    """Return the step of a write, by the attributes that it sets."""
    names, (sets, _, _) = asked.get("ExpressionAttributeNames", {}), asked["UpdateExpression"].partition(" REMOVE ")
    changed = {name for placeholder, name in names.items() if re.search(rf"{placeholder} = ", sets)}
    if "sealed" in changed:
        return "save"
    if "attempt_id" in changed:
        return "mark"
    return "publish" if {"lease_owner", "lease_until"} & set(names.values()) else None
