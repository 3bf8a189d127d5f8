"""AWS in this process, below boto3: every call is serialised, signed and parsed as for AWS.

The response comes from memory after a given time. Calls are counted by operation, and the fakes' own CPU is left out.
"""

from __future__ import annotations

import json
import re
import time
import uuid
from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO
from os import urandom
from threading import Lock
from typing import Any

import boto3
from botocore.awsrequest import AWSResponse

Item = dict[str, Any]


class FakeAws:
    """Replaces the network under boto3's default session.

    Parameters
    ----------
    latency
        Seconds that each call takes.
    """

    def __init__(self, latency: float) -> None:
        self.latency = latency
        self.calls: Counter[str] = Counter()
        #: CPU seconds that the fakes themselves took; and that the SDK's calls took, the fakes inside them included.
        self.own_cpu = self.calls_cpu = 0.0
        self.items: dict[str, Item] = {}
        self.secrets: dict[str, str] = {}
        self._lock = Lock()

    @contextmanager
    def installed(self) -> Iterator[FakeAws]:
        boto3.setup_default_session(
            region_name="eu-west-1", aws_access_key_id="AKIDEXAMPLE", aws_secret_access_key="benchmark"
        )
        session: Any = boto3.DEFAULT_SESSION
        session.events.register("creating-client-class", self._time_calls)
        session.events.register("before-send", self._answer)
        try:
            yield self
        finally:
            session.events.unregister("before-send", self._answer)
            session.events.unregister("creating-client-class", self._time_calls)
            boto3.DEFAULT_SESSION = None

    def measure_cpu(self) -> float:
        """Return the CPU seconds of this process so far, without the fakes' own."""
        return time.process_time() - self.own_cpu

    def measure_cpu_beyond_calls(self) -> float:
        """Return the CPU seconds of this process so far, without those inside the SDK's calls."""
        return time.process_time() - self.calls_cpu

    def _time_calls(self, class_attributes: dict[str, Callable[..., Any]], **_: Any) -> None:
        def timed(call: Callable[..., Any]) -> Callable[..., Any]:
            def made(*args: Any, **parameters: Any) -> Any:
                began = time.thread_time()
                try:
                    return call(*args, **parameters)
                finally:
                    with self._lock:
                        self.calls_cpu += time.thread_time() - began

            return made

        class_attributes |= {name: timed(call) for name, call in class_attributes.items()}

    # --- the network ------------------------------------------------------------------------------------------

    def _answer(self, request: Any, event_name: str, **_: Any) -> AWSResponse:
        began = time.thread_time()
        service, operation = event_name.split(".")[1:]
        parameters = json.loads(request.body)
        with self._lock:
            self.calls[f"{service}:{operation}"] += 1
            handle: Callable[[Item], tuple[int, Item]] = getattr(self, f"_{service.replace('-', '_')}_{operation}")
            status, answer = handle(parameters)
        raw = json.dumps(answer).encode()
        headers: Any = {"content-type": "application/x-amz-json-1.0", "content-length": str(len(raw))}
        with self._lock:
            self.own_cpu += time.thread_time() - began
        time.sleep(self.latency)
        return AWSResponse(request.url, status, headers, _Raw(raw))

    # --- DynamoDB: as much of its expressions as the records need -----------------------------------------------

    def _dynamodb_PutItem(self, asked: Item) -> tuple[int, Item]:  # noqa: N802 - AWS's name
        self.items[asked["Item"]["pk"]["S"]] = asked["Item"]
        return 200, {}

    def _dynamodb_GetItem(self, asked: Item) -> tuple[int, Item]:  # noqa: N802
        item = self.items.get(asked["Key"]["pk"]["S"])
        return 200, {"Item": item} if item else {}

    def _dynamodb_BatchGetItem(self, asked: Item) -> tuple[int, Item]:  # noqa: N802
        wanted = {table: [key["pk"]["S"] for key in keys["Keys"]] for table, keys in asked["RequestItems"].items()}
        found = {table: [self.items[key] for key in keys if key in self.items] for table, keys in wanted.items()}
        return 200, {"Responses": found, "UnprocessedKeys": {}}

    def _dynamodb_UpdateItem(self, asked: Item) -> tuple[int, Item]:  # noqa: N802
        key = asked["Key"]["pk"]["S"]
        item = self.items.get(key, dict(asked["Key"]))
        names, values = asked["ExpressionAttributeNames"], asked.get("ExpressionAttributeValues", {})
        conditions = [part for part in asked.get("ConditionExpression", "").split(" AND ") if part]
        if not all(_is_met(part, item, names, values) for part in conditions):
            return 400, {"__type": "ConditionalCheckFailedException", "message": "", "Item": item}
        changed = json.loads(json.dumps(item))
        sets, _, removes = f" {asked['UpdateExpression']}".removeprefix(" SET ").partition(" REMOVE ")
        for part in sets.split(", ") if sets else []:
            path, _, value = part.partition(" = ")
            _set_value(changed, path, names, values[value])
        for path in removes.split(", ") if removes else []:
            _set_value(changed, path, names, None)
        self.items[key] = changed
        return 200, {"Attributes": changed}

    # --- KMS, Secrets Manager, SQS, EventBridge -----------------------------------------------------------------

    def _kms_GenerateDataKey(self, asked: Item) -> tuple[int, Item]:  # noqa: N802
        key = b64encode(urandom(32)).decode()
        return 200, {"CiphertextBlob": key, "Plaintext": key, "KeyId": asked["KeyId"]}

    def _kms_Decrypt(self, asked: Item) -> tuple[int, Item]:  # noqa: N802
        return 200, {"Plaintext": asked["CiphertextBlob"], "KeyId": asked["KeyId"]}

    def _secrets_manager_GetSecretValue(self, asked: Item) -> tuple[int, Item]:  # noqa: N802
        secret = self.secrets[asked["SecretId"]]
        return 200, {"Name": asked["SecretId"], "SecretString": secret, "VersionId": str(uuid.UUID(int=1))}

    def _secrets_manager_DescribeSecret(self, asked: Item) -> tuple[int, Item]:  # noqa: N802
        return 200, {"Name": asked["SecretId"], "VersionIdsToStages": {str(uuid.UUID(int=1)): ["AWSCURRENT"]}}

    def _secrets_manager_PutSecretValue(self, asked: Item) -> tuple[int, Item]:  # noqa: N802
        self.secrets[asked["SecretId"]] = asked["SecretString"]
        return 200, {"Name": asked["SecretId"], "VersionId": asked.get("ClientRequestToken", "")}

    def _sqs_SendMessage(self, asked: Item) -> tuple[int, Item]:  # noqa: N802
        return 200, {"MessageId": str(uuid.uuid4())}

    def _eventbridge_PutEvents(self, asked: Item) -> tuple[int, Item]:  # noqa: N802
        entries = [{"EventId": str(uuid.uuid4())} for _ in asked["Entries"]]
        return 200, {"FailedEntryCount": 0, "Entries": entries}


class _Raw(BytesIO):
    def stream(self, **_: Any) -> Iterator[bytes]:
        yield self.read()


def _is_met(condition: str, item: Item, names: Mapping[str, str], values: Mapping[str, Any]) -> bool:
    if condition.startswith("("):
        return any(_is_met(part, item, names, values) for part in condition.strip("()").split(" OR "))
    function = re.fullmatch(r"\(?attribute_(not_)?exists\((.*?)\)\)?", condition)
    if function:
        return (_get_value(item, function[2], names) is None) == bool(function[1])
    left, operator, right = condition.split(" ")
    held, wanted = _get_value(item, left, names), values[right]
    if operator == "=":
        return bool(held == wanted)
    assert operator == "<=", condition
    return held is not None and int(held["N"]) <= int(wanted["N"])


def _get_value(item: Item, path: str, names: Mapping[str, str]) -> Any:
    value: Any = {"M": item}
    for part in path.split("."):
        value = value["M"].get(names[part]) if value else None
    return value


def _set_value(item: Item, path: str, names: Mapping[str, str], value: Any) -> None:
    *inside, last = (names[part] for part in path.split("."))
    for name in inside:
        item = item[name]["M"]
    if value is None:
        item.pop(last, None)
    else:
        item[last] = value
