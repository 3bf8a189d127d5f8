"""An account in good order, as the checks of `evergrant doctor` see it: an answer for each call to AWS.

Each request and answer is held against botocore's description of the service, so that a check cannot rely on a
parameter or a field that AWS does not have.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

import httpx
from botocore.exceptions import ClientError
from botocore.validate import ParamValidator

from tests.adapters.samples import NOW

ARN = "arn:aws:{service}:eu-west-1:123456789012:{name}"
LAYER = ARN.format(service="lambda", name="layer:evergrant-evergrant:3")
VAULT_KEY = ARN.format(service="kms", name="key/11111111-2222-3333-4444-555555555555")
SEAL_KEY = ARN.format(service="kms", name="key/66666666-2222-3333-4444-555555555555")
OLD_KEY = ARN.format(service="kms", name="key/99999999-2222-3333-4444-555555555555")
ROTATOR = ARN.format(service="lambda", name="function:evergrant-rotator")
API = "https://a1b2.execute-api.eu-west-1.amazonaws.com"
QUEUES = "https://sqs.eu-west-1.amazonaws.com/123456789012"
DEAD_LETTERS = ("RotationDeadLetterQueue", "SchedulerDeadLetterQueue", "AlertDeadLetterQueue")
OUTPUTS = {
    "ApiUrl": API,
    "RecordsTableName": "records",
    "AuthorizationsTableName": "authorizations",
    "SecretPrefix": "evergrant",
    "VaultKeyArn": VAULT_KEY,
    "SealKeyArn": SEAL_KEY,
    "AlertTopicArn": ARN.format(service="sns", name="alerts"),
    "EventBusName": "evergrant",
    "RotatorFunctionArn": ROTATOR,
    **{
        f"{name}FunctionArn": ARN.format(service="lambda", name=f"function:evergrant-{name.lower()}")
        for name in ("Scheduler", "Callback", "Getter")
    },
}
RESOURCES = {
    "SchedulerFunctionTick": ("AWS::Scheduler::Schedule", "evergrant-tick"),
    "RotatorFunctionRotation": ("AWS::Lambda::EventSourceMapping", "aaaaaaaa-2222-3333-4444-555555555555"),
    "SchedulerLogs": ("AWS::Logs::LogGroup", "/aws/lambda/evergrant/scheduler"),
    "RotationQueue": ("AWS::SQS::Queue", f"{QUEUES}/RotationQueue"),
    **{name: ("AWS::SQS::Queue", f"{QUEUES}/{name}") for name in DEAD_LETTERS},
    "TicksStopped": ("AWS::CloudWatch::Alarm", "evergrant-TicksStopped"),
    "RotationsFailed": ("AWS::CloudWatch::Alarm", "evergrant-RotationsFailed"),
}
MODULES = ("python/msgspec/_core.cpython-313-aarch64-linux-gnu.so", "python/evergrant/names.py")

#: Answers a call from its parameters, or raises; or is the answer.
Answer = Callable[[Mapping[str, Any]], Any] | Mapping[str, Any]


def at(seconds: float) -> datetime:
    return datetime.fromtimestamp(NOW + seconds, UTC)


def stack(**changes: Any) -> dict[str, Any]:
    described = {
        "StackName": "evergrant",
        "StackStatus": "UPDATE_COMPLETE",
        "CreationTime": at(-86_400),
        "EnableTerminationProtection": True,
        "Outputs": [{"OutputKey": name, "OutputValue": value} for name, value in OUTPUTS.items()],
        "Parameters": [{"ParameterKey": "RotatorConcurrency", "ParameterValue": "5"}],
    }
    return {"Stacks": [described | changes]}


def resources(**changes: tuple[str, str] | None) -> dict[str, Any]:
    return {
        "StackResourceSummaries": [
            {
                "LogicalResourceId": name,
                "ResourceType": found[0],
                "PhysicalResourceId": found[1],
                "LastUpdatedTimestamp": at(0),
                "ResourceStatus": "CREATE_COMPLETE",
            }
            for name, found in (RESOURCES | changes).items()
            if found is not None
        ]
    }


def identity(skew: float = 0, **headers: str) -> dict[str, Any]:
    """An answer whose date is so many seconds ahead of this machine."""
    date = {"date": format_datetime(at(skew), usegmt=True)}
    return {"Account": "123456789012", "ResponseMetadata": {"HTTPHeaders": date | headers}}


def metrics(**sums: Mapping[float, float]) -> Callable[[Mapping[str, Any]], Any]:
    """Answer with a metric's sums, by the seconds that have gone by since; other metrics have no points."""
    return lambda asked: {
        "Datapoints": [
            {"Timestamp": at(-age), "Sum": number, "Unit": "Count"}
            for age, number in sums.get(asked["MetricName"], {}).items()
        ]
    }


def settings(left: int = 900, used: float = 1.0) -> dict[str, Any]:
    """Lambda's limits; ``used`` is the storage for code, in GB."""
    return {
        "AccountLimit": {"UnreservedConcurrentExecutions": left, "TotalCodeSize": 75 * 1024**3},
        "AccountUsage": {"TotalCodeSize": int(used * 1024**3)},
    }


def secrets(**keys: str | None) -> dict[str, Any]:
    """Two secrets, and the keys of those that differ; ``__`` stands for a slash."""
    given: dict[str, str | None] = {"evergrant/clients/keap": VAULT_KEY, "evergrant/tokens/keap/main": VAULT_KEY}
    given |= {name.replace("__", "/"): key for name, key in keys.items()}
    return {"SecretList": [{"Name": name} | ({"KmsKeyId": key} if key else {}) for name, key in given.items()]}


def entry(**fields: Any) -> dict[str, Any]:
    """The stored entry of a client."""
    found = {
        "client_id": "a",
        "client_secrets": ["b"],
        "hosts": ["h"],
        "redirect_path": "/callback/{provider}",
    } | fields
    return {"SecretString": json.dumps(found), "VersionId": "v" * 36}


def key(state: str) -> dict[str, Any]:
    return {"KeyMetadata": {"KeyId": "1", "Arn": VAULT_KEY, "KeyState": state}}


def table(**changes: Any) -> dict[str, Any]:
    return {"Table": {"TableStatus": "ACTIVE", "DeletionProtectionEnabled": True} | changes}


def backups(status: str = "ENABLED") -> dict[str, Any]:
    point = {"PointInTimeRecoveryStatus": status}
    return {
        "ContinuousBackupsDescription": {
            "ContinuousBackupsStatus": "ENABLED",
            "PointInTimeRecoveryDescription": point,
        }
    }


def quotas(**values: float) -> Callable[[Mapping[str, Any]], Any]:
    """Answer with the quotas that are needed of a service, at their defaults or at other values."""
    names = {
        "secretsmanager": ("Combined rate of PutSecretValue and UpdateSecret API requests", 50.0),
        "sns": ("Messages Published per Second", 300.0),
        "lambda": ("Concurrent executions", 1000.0),
    }

    def answer(asked: Mapping[str, Any]) -> Any:
        service = asked["ServiceCode"]
        name, value = names[service]
        found = values.get(service, value)
        return {"Quotas": [{"QuotaName": name, "QuotaCode": "L-1", "Value": found}] if found >= 0 else []}

    return answer


def alarms(**changes: Mapping[str, Any] | None) -> dict[str, Any]:
    states: dict[str, Mapping[str, Any] | None] = {
        "TicksStopped": {"StateValue": "OK"},
        "RotationsFailed": {"StateValue": "INSUFFICIENT_DATA"},
    }
    states |= changes
    return {
        "MetricAlarms": [
            {"AlarmName": f"evergrant-{name}", "ActionsEnabled": True} | dict(state)
            for name, state in states.items()
            if state is not None
        ]
    }


def letters(**counts: int) -> Callable[[Mapping[str, Any]], Any]:
    """Answer with the number of messages in a queue."""

    def answer(asked: Mapping[str, Any]) -> Any:
        name = asked["QueueUrl"].rpartition("/")[2]
        arn = ARN.format(service="sqs", name=name)
        return {"Attributes": {"ApproximateNumberOfMessages": str(counts.get(name, 0)), "QueueArn": arn}}

    return answer


def subscriptions(*arns: str) -> dict[str, Any]:
    hook = "https://events.example/a-key-of-the-receiver"
    return {"Subscriptions": [{"SubscriptionArn": arn, "Protocol": "https", "Endpoint": hook} for arn in arns]}


def refused(code: str, operation: str) -> Callable[[Mapping[str, Any]], Any]:
    def answer(asked: Mapping[str, Any]) -> Any:
        raise ClientError({"Error": {"Code": code, "Message": "User: arn:aws:iam::123456789012:user/x"}}, operation)

    return answer


def in_order() -> dict[str, Answer]:
    """The answers of an account in which all is green; the alert and the redirect URIs wait for a person."""
    return {
        "DescribeStacks": stack(),
        "ListStackResources": resources(),
        "GetCallerIdentity": identity(),
        "GetSchedule": {"State": "ENABLED", "ScheduleExpression": "rate(1 minute)"},
        "GetMetricStatistics": metrics(Invocations={60: 1.0, 120: 1.0}),
        "GetEventSourceMapping": {"State": "Enabled", "LastProcessingResult": "OK"},
        "GetFunctionRecursionConfig": {"RecursiveLoop": "Allow"},
        "GetFunctionConcurrency": {},
        "GetAccountSettings": settings(),
        "GetFunctionConfiguration": {
            "Runtime": "python3.13",
            "Architectures": ["arm64"],
            "Layers": [{"Arn": LAYER}],
        },
        "GetLayerVersion": {"Content": {"Location": "https://layers.example/3?X-Amz-Signature=secret"}},
        "DescribeKey": key("Enabled"),
        "GetKeyRotationStatus": {"KeyRotationEnabled": True},
        "ListSecrets": secrets(),
        "GetSecretValue": entry(),
        "Scan": {"Items": []},
        "DescribeSecret": lambda asked: {"Name": asked["SecretId"]},
        "DescribeTable": table(),
        "DescribeContinuousBackups": backups(),
        "ListServiceQuotas": quotas(),
        "DescribeAlarms": alarms(),
        "GetQueueAttributes": letters(),
        "ListSubscriptionsByTopic": subscriptions(ARN.format(service="sns", name="alerts:1")),
        "PutEvents": {"FailedEntryCount": 0, "Entries": [{"EventId": "1"}]},
    }


@dataclass
class Account:
    """Answers the calls of boto3's clients, and keeps them."""

    answers: dict[str, Answer] = field(default_factory=in_order)
    layer: tuple[str, ...] = MODULES
    layer_status: int = 200
    calls: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)

    def call(self, client: Any, operation: str, params: Mapping[str, Any]) -> Any:
        """Stand in for ``BaseClient._make_api_call``."""
        self.calls.append((operation, params))
        model = client.meta.service_model.operation_model(operation)
        _require_shape(params, model.input_shape)
        answer = self.answers[operation]
        found = answer(params) if callable(answer) else answer
        _require_shape({name: part for name, part in found.items() if name != "ResponseMetadata"}, model.output_shape)
        return found

    @contextmanager
    def stream(self, method: str, url: str, timeout: float) -> Iterator[Any]:
        """Stand in for ``httpx.stream``: the layer's archive."""
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w") as archive:
            for name in self.layer:
                archive.writestr(name, b"")
        yield httpx.Response(self.layer_status, content=file.getvalue())


def _require_shape(document: Mapping[str, Any], shape: Any) -> None:
    """Fail on a field that AWS does not have, or of another type."""
    report = ParamValidator().validate(document, shape)
    assert not report.has_errors(), report.generate_report()
