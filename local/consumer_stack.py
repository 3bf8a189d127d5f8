"""The consumer: a stack of its own beside Evergrant's, which uses Evergrant's policy and layer."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local.aws import LocalAws
from local.deploy import sam_deploy
from local.terminal import Say
from local.tools import ROOT, LocalRunError
from local.world import World

TEMPLATE = ROOT / "local" / "consumer" / "template.yaml"
PARAMETERS = ("ClientLayerArn", "ConsumerPolicyArn", "GetterFunctionArn", "SecretPrefix", "EventBusName")


@dataclass(frozen=True)
class Consumer:
    """The deployed consumer."""

    aws: LocalAws
    function: str
    role_arn: str
    events_queue: str
    """URL of the queue that receives Evergrant's events."""

    def call(self, targets: Iterable[Mapping[str, object]], seconds: float) -> dict[str, dict[str, Any]]:
        """Invoke it to call the APIs for this many seconds; return the counts by connection.

        Raises
        ------
        LocalRunError
            The function failed.
        """
        answer = self.aws.client("lambda").invoke(
            FunctionName=self.function, Payload=json.dumps({"seconds": seconds, "targets": list(targets)}).encode()
        )
        payload = answer["Payload"].read()
        if "FunctionError" in answer:
            raise LocalRunError(f"The consumer's function failed: {payload.decode()[:500]}")
        tallies: dict[str, dict[str, Any]] = json.loads(payload)
        return tallies

    def receive_events(self, wait_seconds: int = 0) -> list[dict[str, Any]]:
        """Receive Evergrant's events since the last call; wait up to ``wait_seconds`` for the first."""
        sqs = self.aws.client("sqs")
        events: list[dict[str, Any]] = []
        while messages := sqs.receive_message(
            QueueUrl=self.events_queue, MaxNumberOfMessages=10, WaitTimeSeconds=0 if events else wait_seconds
        ).get("Messages"):
            for message in messages:
                events.append(json.loads(message["Body"]))
                sqs.delete_message(QueueUrl=self.events_queue, ReceiptHandle=message["ReceiptHandle"])
        return events


def deploy_consumer(world: World, home: Path, say: Say) -> Consumer:
    """Deploy the consumer. It needs no build: its imports are in the client layer or in Lambda's runtime."""
    values = [f"{name}={world.stack.outputs[name]}" for name in PARAMETERS]
    options = ["--capabilities", "CAPABILITY_IAM", "--resolve-s3", "--parameter-overrides", *values]
    outputs = sam_deploy(world.aws, TEMPLATE, "consumer", options, home / "deploy-consumer.log", say)
    return Consumer(world.aws, outputs["ConsumerFunctionName"], outputs["ConsumerRoleArn"], outputs["EventsQueueUrl"])
