"""The faults: what goes wrong with calls of AWS, and with answers of a provider."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from dataclasses import dataclass

from local.torture.proxy import Fault, Reply

#: What each service calls itself, and how it says that it was asked too often (each service's "Common errors").
SERVICES: Mapping[str, tuple[str, str]] = {
    "dynamodb": ("DynamoDB", "ProvisionedThroughputExceededException"),
    "kms": ("KMS", "ThrottlingException"),
    "secretsmanager": ("Secrets Manager", "ThrottlingException"),
    "sqs": ("SQS", "RequestThrottled"),
    "events": ("EventBridge", "ThrottlingException"),
}
MODES = ("fails", "throttles", "hangs")


def aws_fault(service: str, mode: str, chance: random.Random, *, in_vain: bool = False) -> Fault:
    """One call that goes wrong. Where a service fails or hangs, it has done its work in every second case.

    With ``in_vain`` it never has.
    """
    if mode == "throttles":
        return Fault(mode, reply=_error(400, SERVICES[service][1]))
    reaches = chance.random() < 0.5 and not in_vain
    if mode == "hangs":
        return Fault(mode, reaches, delay=float("inf"), ends="dropped")
    return Fault(mode, reaches, reply=_error(500, "InternalServerError"))


def _error(status: int, code: str) -> Reply:
    body = json.dumps({"__type": code, "message": "made to fail"}).encode()
    return Reply(status, body, {"content-type": "application/x-amz-json-1.1"})


@dataclass(frozen=True)
class Lie:
    """One way in which a provider's answer goes wrong.

    ``times`` is how many answers in a row go wrong so. ``rotates``: the provider has acted and its answer is lost.
    ``unread``: Evergrant keeps what it was answered, and a person has to look at it.
    """

    title: str
    fault: Fault
    times: int = 1
    unread: bool = False

    @property
    def rotates(self) -> bool:
        return self.fault.reaches


def lies(lease: int) -> tuple[Lie, ...]:
    """All of them; ``lease`` in seconds."""
    html = {"content-type": "text/html; charset=utf-8"}
    page = b"<!doctype html><title>Back soon</title><p>We are improving our service for you."
    failed = Reply(500, b'{"error": "server_error"}', {"content-type": "application/json"})
    busy = Reply(429, b'{"error": "too_many_requests"}', {"content-type": "application/json"})
    return (
        Lie("rotates, drops the connection", Fault("dropped", reaches=True, ends="dropped")),
        Lie("rotates, answers after the lease", Fault("late", reaches=True, delay=lease + 1.0)),
        Lie("rotates, answers 500", Fault("500", reaches=True, reply=failed)),
        Lie("rotates, answers HTML (502)", Fault("html", reaches=True, reply=Reply(502, page, html))),
        Lie("rotates, half a body", Fault("halved", reaches=True, ends="halved")),
        Lie("429 with Retry-After", Fault("429", reply=Reply(429, busy.body, {**busy.headers, "retry-after": "3"})), 2),
        Lie("429 without Retry-After", Fault("429", reply=busy), 2),
        Lie("500, not rotated", Fault("500", reply=failed)),
        Lie("HTML (200), not rotated", Fault("html", reply=Reply(200, page, html)), unread=True),
    )
