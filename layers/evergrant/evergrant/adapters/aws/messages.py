"""SQS and EventBridge: the rotation queue and the bus."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from ...ports import PortUnavailable
from ...record.alerts import describe_event
from .sdk import client, unavailable

#: SendMessageBatch and PutEvents both take at most 10 entries a call.
_BATCH = 10
SOURCE = "evergrant"


@dataclass(frozen=True, slots=True)
class SqsQueue:
    """:class:`evergrant.ports.Queue` over SQS."""

    url: str

    def send(self, message: Mapping[str, Any], delay: int = 0) -> None:
        with unavailable("sending a message"):
            client("sqs").send_message(QueueUrl=self.url, MessageBody=json.dumps(message), DelaySeconds=delay)

    def send_many(self, messages: Sequence[tuple[Mapping[str, Any], int]]) -> int:
        """Send messages, each with its delay in seconds. Returns how many were taken."""
        taken = 0
        for start in range(0, len(messages), _BATCH):
            entries = [
                {"Id": str(number), "MessageBody": json.dumps(message), "DelaySeconds": delay}
                for number, (message, delay) in enumerate(messages[start : start + _BATCH])
            ]
            with unavailable("sending messages"):
                answer = client("sqs").send_message_batch(QueueUrl=self.url, Entries=entries)
            taken += len(answer.get("Successful", []))
        return taken


@dataclass(frozen=True, slots=True)
class EventBus:
    """:class:`evergrant.ports.Bus` over EventBridge; each event's own id is in its detail."""

    name: str

    def put(self, events: Mapping[str, Mapping[str, Any]]) -> frozenset[str]:
        delivered: set[str] = set()
        waiting = iter(events.items())
        while batch := list(islice(waiting, _BATCH)):
            entries = [
                {
                    "EventBusName": self.name,
                    "Source": SOURCE,
                    "DetailType": body["type"],
                    "Time": datetime.fromtimestamp(body["at"], UTC),
                    "Detail": json.dumps({"id": key, **describe_event(body)}),
                }
                for key, body in batch
            ]
            try:
                with unavailable("putting events"):
                    answer = client("events").put_events(Entries=entries)
            except PortUnavailable:
                if not delivered:
                    raise
                break  # what went before is delivered, and must not be sent again
            results = answer["Entries"]
            delivered |= {key for (key, _), result in zip(batch, results, strict=True) if "EventId" in result}
        return frozenset(delivered)
