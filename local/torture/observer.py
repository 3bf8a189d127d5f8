"""Looks at the connections from outside the functions: the records, the sealed tokens, getter, the protected APIs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import httpx
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from evergrant.adapters.aws.items import build_key, to_connection
from evergrant.record.connection import Connection
from evergrant.record.lost_response import MIN_REPLAY_DELAY_SECONDS
from evergrant.secret import fingerprint
from local.torture.testbed import Arena


@dataclass(frozen=True)
class Invoked:
    """What an invocation came to. ``died``: its process ended before it answered."""

    answer: Mapping[str, Any]
    died: bool = False


class Observer:
    """May be used from any thread."""

    def __init__(self, place: Arena) -> None:
        self._place = place
        self._fingerprints: dict[tuple[str, int], str] = {}
        #: Every refresh token ever seen in a record, with its connection.
        self.stored: dict[str, str] = {}

    # Clients may be shared by threads; making one takes longer than a call.
    @cached_property
    def _lambda(self) -> Any:
        return self._place.aws.client("lambda")

    @cached_property
    def _dynamodb(self) -> Any:
        return self._place.aws.client("dynamodb")

    @cached_property
    def _kms(self) -> Any:
        return self._place.aws.client("kms")

    @cached_property
    def _sqs(self) -> Any:
        return self._place.aws.client("sqs")

    @property
    def _table(self) -> str:
        return self._place.stack.outputs["RecordsTableName"]

    def warm(self) -> None:
        """Make every client now: boto3's making of them is not safe for threads."""
        _ = self._lambda, self._dynamodb, self._kms, self._sqs

    def records(self) -> dict[str, Connection]:
        """All connections, by name."""
        pages = self._dynamodb.get_paginator("scan").paginate(TableName=self._table, ConsistentRead=True)
        items = [item for page in pages for item in page["Items"] if item["pk"]["S"].startswith("connection#")]
        return {record.name: record for record in map(to_connection, items)}

    def record(self, name: str) -> Connection:
        """One connection."""
        answer = self._dynamodb.get_item(TableName=self._table, Key=build_key(name), ConsistentRead=True)
        return to_connection(answer["Item"])

    def refresh_token(self, record: Connection) -> str | None:
        """The fingerprint of the refresh token in a record."""
        if record.sealed is None:
            return None
        key = record.name, record.generation
        if key not in self._fingerprints:
            context = {"evergrant:connection": record.name, "evergrant:generation": str(record.generation)}
            data_key = self._kms.decrypt(CiphertextBlob=record.sealed.key, EncryptionContext=context)["Plaintext"]
            associated = "|".join(f"{name}={value}" for name, value in sorted(context.items())).encode()
            plain = json.loads(AESGCM(data_key).decrypt(record.sealed.nonce, record.sealed.text, associated))
            self._fingerprints[key] = fingerprint(plain["refresh_token"])
        self.stored[self._fingerprints[key]] = record.name
        return self._fingerprints[key]

    def hurry(self, record: Connection, now: int) -> None:
        """Make a connection due, and send it to rotator: only lives are short here."""
        doubt = "attribute_not_exists(attempt_id)" if record.attempt_id is None else "attempt_id = :spend"
        condition = f"generation = :generation AND refresh_at = :before AND {doubt}"
        # Changed meanwhile: it goes on by itself.
        with suppress(self._dynamodb.exceptions.ConditionalCheckFailedException):
            self._dynamodb.update_item(
                TableName=self._table,
                Key=build_key(record.name),
                UpdateExpression="SET refresh_at = :now, due_at = :now",
                ConditionExpression=condition,
                ExpressionAttributeValues={
                    ":now": {"N": str(now)},
                    ":before": {"N": str(record.refresh_at)},
                    ":generation": {"N": str(record.generation)},
                    **({} if record.attempt_id is None else {":spend": {"S": record.attempt_id}}),
                },
            )
            self.wake(record.name)

    def let_settle(self, record: Connection, now: int) -> bool:
        """Put the clock of a spend in doubt so far ahead that its one attempt may be made: minutes, too, are long here.

        Nobody may hold its answer any more; see :data:`evergrant.record.lost_response.MIN_REPLAY_DELAY_SECONDS`.
        False: it is at work, or over.
        """
        with suppress(self._dynamodb.exceptions.ConditionalCheckFailedException):
            self._dynamodb.update_item(
                TableName=self._table,
                Key=build_key(record.name),
                UpdateExpression="SET attempt_at = :then, in_doubt_since = :then, refresh_at = :now, due_at = :now "
                "REMOVE lease_owner, lease_until",
                ConditionExpression="attempt_id = :spend AND generation = :generation AND "
                "(attribute_not_exists(lease_until) OR lease_until < :now)",
                ExpressionAttributeValues={
                    ":then": {"N": str((record.attempt_at or now) - MIN_REPLAY_DELAY_SECONDS - 1)},
                    ":now": {"N": str(now)},
                    ":spend": {"S": str(record.attempt_id)},
                    ":generation": {"N": str(record.generation)},
                },
            )
            self.wake(record.name)
            return True
        return False

    def wake(self, name: str) -> None:
        """Send a connection to rotator, due or not."""
        url = self._place.stack.outputs["RotationQueueUrl"]
        self._sqs.send_message(QueueUrl=url, MessageBody=json.dumps({"connection": name}))

    def invoke(self, function: str, request: Mapping[str, object]) -> Invoked:
        """Invoke a function and wait for its answer."""
        payload = json.dumps(request).encode()
        answer = self._lambda.invoke(FunctionName=self._place.function(function), Payload=payload)
        said = json.loads(answer["Payload"].read())
        died = "FunctionError" in answer and "Worker process died" in json.dumps(said)
        return Invoked(said or {}, died)

    def accepted(self, name: str, document: Mapping[str, Any]) -> bool:
        """Whether the protected API takes the token of a document."""
        if "headers" not in document:
            return False
        url = str(self._place.party(name).server.urls()["api_url"])
        return httpx.get(url, headers=document["headers"], trust_env=False, timeout=30).status_code == 200
