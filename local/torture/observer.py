"""Observes connections from outside the functions: records, sealed tokens, getter, and the protected APIs."""

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
from evergrant.record.circuit import create_endpoint_key
from evergrant.record.connection import Connection
from evergrant.record.lost_response import MIN_REPLAY_DELAY_SECONDS
from evergrant.record.queued_dispatch import create_probe
from evergrant.record.sealed import Sealed
from evergrant.secret import fingerprint
from local.torture.testbed import Testbed

#: For so long after it was sent, a probe counts.
_PROBE_SECONDS = 60


@dataclass(frozen=True)
class Invocation:
    """The outcome of an invocation. ``died``: its process ended before the response."""

    response: Mapping[str, Any]
    died: bool = False


class Observer:
    """Reads and changes the testbed's state. Safe for use from any thread."""

    def __init__(self, testbed: Testbed) -> None:
        self._testbed = testbed
        self._fingerprints: dict[tuple[str, int], str] = {}
        #: Fingerprint of every refresh token seen in a record, to its connection.
        self.stored: dict[str, str] = {}

    # Threads may share a client; to create one takes longer than a call.
    @cached_property
    def _lambda(self) -> Any:
        return self._testbed.aws.client("lambda")

    @cached_property
    def _dynamodb(self) -> Any:
        return self._testbed.aws.client("dynamodb")

    @cached_property
    def _kms(self) -> Any:
        return self._testbed.aws.client("kms")

    @cached_property
    def _sqs(self) -> Any:
        return self._testbed.aws.client("sqs")

    @property
    def _table(self) -> str:
        return self._testbed.stack.outputs["RecordsTableName"]

    def create_clients(self) -> None:
        """Create every client now: boto3 is not thread-safe while it creates one."""
        _ = self._lambda, self._dynamodb, self._kms, self._sqs

    def read_records(self) -> dict[str, Connection]:
        """Read all connections, by name."""
        pages = self._dynamodb.get_paginator("scan").paginate(TableName=self._table, ConsistentRead=True)
        items = [item for page in pages for item in page["Items"] if item["pk"]["S"].startswith("connection#")]
        return {record.name: record for record in map(to_connection, items)}

    def read_record(self, name: str) -> Connection:
        """Read one connection."""
        answer = self._dynamodb.get_item(TableName=self._table, Key=build_key(name), ConsistentRead=True)
        return to_connection(answer["Item"])

    def unseal(self, sealed: Sealed, connection: str, generation: int) -> bytes:
        """Open what a function sealed, past the key's policy."""
        context = {"evergrant:connection": connection, "evergrant:generation": str(generation)}
        data_key = self._kms.decrypt(CiphertextBlob=sealed.key, EncryptionContext=context)["Plaintext"]
        associated = "|".join(f"{name}={value}" for name, value in sorted(context.items())).encode()
        return AESGCM(data_key).decrypt(sealed.nonce, sealed.text, associated)

    def fingerprint_refresh_token(self, record: Connection) -> str | None:
        """Return the fingerprint of the refresh token in a record, and note it in ``stored``."""
        if record.sealed is None:
            return None
        key = record.name, record.generation
        if key not in self._fingerprints:
            plain = json.loads(self.unseal(record.sealed, *key))
            self._fingerprints[key] = fingerprint(plain["refresh_token"])
        self.stored[self._fingerprints[key]] = record.name
        return self._fingerprints[key]

    def list_open_endpoints(self) -> frozenset[str]:
        """List the token endpoints whose circuits are open."""
        pages = self._dynamodb.get_paginator("scan").paginate(
            TableName=self._table,
            ConsistentRead=True,
            FilterExpression="begins_with(pk, :prefix) AND attribute_exists(opened_at)",
            ExpressionAttributeValues={":prefix": {"S": create_endpoint_key("")}},
        )
        keys = [item["pk"]["S"] for page in pages for item in page["Items"]]
        return frozenset(key.removeprefix(create_endpoint_key("")) for key in keys)

    def make_due(self, record: Connection, now: int, *, is_held: bool = False) -> bool:
        """Make a connection due, and send it to rotator: only tokens are short-lived here, backoffs are not.

        If a circuit holds it back, send it as a probe. Return False if the record has changed meanwhile: it needs no
        help.
        """
        due_at = now + _PROBE_SECONDS if is_held else now
        doubt = "attribute_not_exists(attempt_id)" if record.attempt_id is None else "attempt_id = :attempt"
        condition = f"generation = :generation AND refresh_at = :before AND {doubt}"
        with suppress(self._dynamodb.exceptions.ConditionalCheckFailedException):
            self._dynamodb.update_item(
                TableName=self._table,
                Key=build_key(record.name),
                UpdateExpression="SET refresh_at = :now, due_at = :due",
                ConditionExpression=condition,
                ExpressionAttributeValues={
                    ":now": {"N": str(now)},
                    ":due": {"N": str(due_at)},
                    ":before": {"N": str(record.refresh_at)},
                    ":generation": {"N": str(record.generation)},
                    **({} if record.attempt_id is None else {":attempt": {"S": record.attempt_id}}),
                },
            )
            self._send(_create_probe(record, due_at) if is_held else {"connection": record.name})
            return True
        return False

    def allow_replay(self, record: Connection, now: int, *, is_held: bool = False) -> bool:
        """Move the times of an attempt in doubt back, so that its one replay outside the grace may be sent now.

        No worker or message may hold its response; see
        :data:`evergrant.record.lost_response.MIN_REPLAY_DELAY_SECONDS`. Return False if a worker has the lease, or the
        attempt has ended.
        """
        due_at = now + _PROBE_SECONDS if is_held else now
        with suppress(self._dynamodb.exceptions.ConditionalCheckFailedException):
            self._dynamodb.update_item(
                TableName=self._table,
                Key=build_key(record.name),
                UpdateExpression="SET attempt_at = :then, in_doubt_since = :then, refresh_at = :now, due_at = :due "
                "REMOVE lease_owner, lease_until",
                ConditionExpression="attempt_id = :attempt AND generation = :generation AND "
                "(attribute_not_exists(lease_until) OR lease_until < :now)",
                ExpressionAttributeValues={
                    ":then": {"N": str((record.attempt_at or now) - MIN_REPLAY_DELAY_SECONDS - 1)},
                    ":now": {"N": str(now)},
                    ":due": {"N": str(due_at)},
                    ":attempt": {"S": str(record.attempt_id)},
                    ":generation": {"N": str(record.generation)},
                },
            )
            self._send(_create_probe(record, due_at) if is_held else {"connection": record.name})
            return True
        return False

    def enqueue(self, name: str) -> None:
        """Send a connection to rotator by the queue, due or not."""
        self._send({"connection": name})

    def _send(self, message: Mapping[str, Any]) -> None:
        url = self._testbed.stack.outputs["RotationQueueUrl"]
        self._sqs.send_message(QueueUrl=url, MessageBody=json.dumps(message))

    def invoke(self, function: str, request: Mapping[str, object]) -> Invocation:
        """Invoke a function and wait for its response."""
        payload = json.dumps(request).encode()
        answer = self._lambda.invoke(FunctionName=self._testbed.get_function_arn(function), Payload=payload)
        said = json.loads(answer["Payload"].read())
        died = "FunctionError" in answer and "Worker process died" in json.dumps(said)
        return Invocation(said or {}, died)

    def is_accepted(self, name: str, document: Mapping[str, Any]) -> bool:
        """Whether the protected API accepts the token of a document."""
        if "headers" not in document:
            return False
        url = str(self._testbed.find_party(name).server.urls()["api_url"])
        return httpx.get(url, headers=document["headers"], trust_env=False, timeout=30).status_code == 200


def _create_probe(record: Connection, due_at: int) -> Mapping[str, Any]:
    return create_probe(record.name, create_endpoint_key(record.endpoint or ""), due_at)
