"""The faults to inject: failed calls of AWS, and faulty responses of a provider."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from dataclasses import dataclass

from local.torture.proxy import Fault, Reply

#: Service to its title and its throttling error ("Common errors" in its API reference).
SERVICES: Mapping[str, tuple[str, str]] = {
    "dynamodb": ("DynamoDB", "ProvisionedThroughputExceededException"),
    "kms": ("KMS", "ThrottlingException"),
    "secretsmanager": ("Secrets Manager", "ThrottlingException"),
    "sqs": ("SQS", "RequestThrottled"),
    "events": ("EventBridge", "ThrottlingException"),
}
MODES = ("fails", "throttles", "hangs")


def create_aws_fault(service: str, mode: str, chance: random.Random, *, in_vain: bool = False) -> Fault:
    """Return a fault of one call. A call that fails or hangs takes effect in half of the cases.

    With ``in_vain`` it never takes effect.
    """
    if mode == "throttles":
        return Fault(mode, reply=_create_error(400, SERVICES[service][1]))
    reaches = chance.random() < 0.5 and not in_vain
    if mode == "hangs":
        return Fault(mode, reaches, delay=float("inf"), ends="dropped")
    return Fault(mode, reaches, reply=_create_error(500, "InternalServerError"))


def _create_error(status: int, code: str) -> Reply:
    body = json.dumps({"__type": code, "message": "made to fail"}).encode()
    return Reply(status, body, {"content-type": "application/x-amz-json-1.1"})


@dataclass(frozen=True)
class ResponseFault:
    """One kind of faulty response of a provider.

    ``times`` is how many responses in a row have the fault. ``rotates``: the provider rotates, and the response is
    lost. ``unreadable``: Evergrant keeps the response, and an operator has to look at it.
    """

    title: str
    fault: Fault
    times: int = 1
    unreadable: bool = False

    @property
    def rotates(self) -> bool:
        return self.fault.reaches


def list_response_faults(lease: int) -> tuple[ResponseFault, ...]:
    """Return every kind of faulty response; ``lease`` is in seconds."""
    html = {"content-type": "text/html; charset=utf-8"}
    page = b"<!doctype html><title>Back soon</title><p>We are improving our service for you."
    failed = Reply(500, b'{"error": "server_error"}', {"content-type": "application/json"})
    busy = Reply(429, b'{"error": "too_many_requests"}', {"content-type": "application/json"})
    return (
        ResponseFault("rotates, drops the connection", Fault("dropped", reaches=True, ends="dropped")),
        ResponseFault("rotates, answers after the lease", Fault("late", reaches=True, delay=lease + 1.0)),
        ResponseFault("rotates, answers 500", Fault("500", reaches=True, reply=failed)),
        ResponseFault("rotates, answers HTML (502)", Fault("html", reaches=True, reply=Reply(502, page, html))),
        ResponseFault("rotates, half a body", Fault("halved", reaches=True, ends="halved")),
        ResponseFault(
            "429 with Retry-After", Fault("429", reply=Reply(429, busy.body, {**busy.headers, "retry-after": "3"})), 2
        ),
        ResponseFault("429 without Retry-After", Fault("429", reply=busy), 2),
        ResponseFault("500, not rotated", Fault("500", reply=failed)),
        ResponseFault("HTML (200), not rotated", Fault("html", reply=Reply(200, page, html))),
    )
