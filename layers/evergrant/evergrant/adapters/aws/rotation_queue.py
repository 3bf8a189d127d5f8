"""Send messages to the rotation queue in SQS."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .sdk import client, unavailable

#: SendMessageBatch takes at most 10 entries a call (API_SendMessageBatch).
_MAX_BATCH = 10


@dataclass(frozen=True, slots=True)
class SqsQueue:
    """:class:`evergrant.ports.Queue` over SQS."""

    url: str

    def send(self, message: Mapping[str, Any], delay: int = 0) -> None:
        with unavailable("sending a message"):
            client("sqs").send_message(QueueUrl=self.url, MessageBody=json.dumps(message), DelaySeconds=delay)

    def send_many(self, messages: Sequence[tuple[Mapping[str, Any], int]]) -> int:
        """Send messages, each with its delay in seconds. Returns how many SQS accepted."""
        accepted = 0
        for start in range(0, len(messages), _MAX_BATCH):
            entries = [
                {"Id": str(number), "MessageBody": json.dumps(message), "DelaySeconds": delay}
                for number, (message, delay) in enumerate(messages[start : start + _MAX_BATCH])
            ]
            with unavailable("sending messages"):
                answer = client("sqs").send_message_batch(QueueUrl=self.url, Entries=entries)
            accepted += len(answer.get("Successful", []))
        return accepted
