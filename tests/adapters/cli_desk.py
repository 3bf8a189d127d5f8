"""An operator's desk: the command in this process, over moto's tables, with rotator played by the test."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from botocore.client import BaseClient
from botocore.exceptions import ClientError
from typer.testing import CliRunner

from evergrant.adapters.aws.records import DynamoRecords
from evergrant.adapters.aws.sdk import client
from evergrant.adapters.clock import SystemClock
from evergrant.record.connection import Connection
from evergrant.record.status import Status
from evergrant.times import format_rfc3339
from evergrant_cli import deployment
from evergrant_cli.main import app
from tests.adapters.overwriting import overwrite
from tests.adapters.samples import NOW

ROTATOR = "arn:aws:lambda:eu-west-1:123456789012:function:evergrant-rotator"
API = "https://a1b2.execute-api.eu-west-1.amazonaws.com"
ACCESS_TOKEN = "the-very-access-token"
CLIENT_SECRET = "the-very-client-secret"

AUTHORIZATIONS = "authorizations"
Rotator = Callable[[Mapping[str, Any]], dict[str, Any]]


def create_authorizations() -> None:
    """Make the table of authorizations, which has the hold too, unless it is there."""
    tables = client("dynamodb")
    if AUTHORIZATIONS not in tables.list_tables()["TableNames"]:
        tables.create_table(
            TableName=AUTHORIZATIONS,
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
        )


class Desk:
    """Call it with the command's arguments.

    ``asked`` is what rotator was sent; ``rotator`` answers. Time stands still at NOW, but for ``sleep``, which moves it
    (by ``hurry`` seconds more) and calls ``meanwhile``.
    """

    def __init__(self, patch: pytest.MonkeyPatch, records: DynamoRecords, queue_url: str) -> None:
        self.records = records
        create_authorizations()
        self.asked: list[dict[str, Any]] = []
        self.rotator: Rotator = self.rotates
        self.now: float = NOW
        self.hurry: float = 0
        self.meanwhile: Callable[[], object] = lambda: None
        self.outputs = {
            "ApiUrl": API,
            "RecordsTableName": records.table,
            "AuthorizationsTableName": AUTHORIZATIONS,
            "RotationQueueUrl": queue_url,
            "RotatorFunctionArn": ROTATOR,
            "SecretPrefix": "evergrant",
            "RedirectUri": f"{API}/callback/{{provider}}",
            "VaultKeyArn": "arn:aws:kms:eu-west-1:123456789012:key/1",
        }
        self.parameters: dict[str, str] = {}
        genuine = BaseClient._make_api_call  # type: ignore[attr-defined]  # botocore-stubs hide it

        def call(itself: Any, operation: str, params: Any) -> Any:
            if operation == "DescribeStacks":
                return self._describe(params["StackName"])
            return self._invoke(params) if operation == "Invoke" else genuine(itself, operation, params)

        patch.setattr(BaseClient, "_make_api_call", call)
        patch.setattr(SystemClock, "now", staticmethod(lambda: self.now))
        patch.setattr(SystemClock, "sleep", staticmethod(self._sleep))
        # A session of its own for each run would cost each test the making of its clients.
        patch.setattr(deployment, "open_session", lambda region, profile: None)
        for name in ("EVERGRANT_STACK", "EVERGRANT_API_URL", "FORCE_COLOR"):
            patch.delenv(name, raising=False)

    def __call__(self, *arguments: str, given: str | None = None, status: int = 0) -> str:
        """Run the command, demand its exit status, and return its standard output."""
        return self.both(*arguments, given=given, status=status)[0]

    def both(self, *arguments: str, given: str | None = None, status: int = 0) -> tuple[str, str]:
        """Standard output and standard error."""
        result = CliRunner().invoke(app, arguments, input=given)
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == status, result.output
        assert CLIENT_SECRET not in result.output
        return result.stdout, result.stderr

    def json(self, *arguments: str, given: str | None = None, status: int = 0) -> dict[str, Any]:
        """Run the command with --json: one document on standard output."""
        document: dict[str, Any] = json.loads(self(*arguments, "--json", given=given, status=status))
        return document

    def error(self, *arguments: str, given: str | None = None) -> dict[str, Any]:
        """Run a command that fails, with --json, and return its error."""
        document = self.json(*arguments, given=given, status=1)
        assert document.keys() == {"error"}
        error: dict[str, Any] = document["error"]
        return error

    def record(self, name: str = "keap/main") -> Connection:
        found = self.records.get(name)
        assert found is not None
        return found

    def queued(self) -> list[Any]:
        """The messages in the rotation queue."""
        answer = client("sqs").receive_message(QueueUrl=self.outputs["RotationQueueUrl"], MaxNumberOfMessages=10)
        return [json.loads(message["Body"]) for message in answer.get("Messages", [])]

    # --- rotator, as the test wants it --------------------------------------------------------------------------

    def rotates(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """The provider gave a new token set, which lives for an hour."""
        record = self.record(request["connection"])
        changes = {
            "status": Status.ACTIVE,
            "generation": record.generation + 1,
            "published_generation": record.generation + 1,
            "expires_at": NOW + 3600,
            "refresh_at": NOW + 3000,
            "failures": 0,
            "last_error": None,
        }
        return document(overwrite(self.records, record.name, **changes))

    def refuses(self, error: str = "invalid_client", **changes: Any) -> Rotator:
        """The provider refused; the token before is still served if it lives."""

        def rotator(request: Mapping[str, Any]) -> dict[str, Any]:
            record = overwrite(self.records, request["connection"], **{"failures": 1, "last_error": error, **changes})
            if record.expires_at and record.expires_at > NOW:
                return document(record)
            return {"error": {"code": "temporarily_unavailable", "message": "No valid token.", "retry_after": 7}}

        return rotator

    # --- AWS, where moto is not asked ---------------------------------------------------------------------------

    def _describe(self, stack: str) -> dict[str, Any]:
        if stack != "evergrant":
            said = f"Stack with id {stack} does not exist"
            raise ClientError({"Error": {"Code": "ValidationError", "Message": said}}, "DescribeStacks")
        outputs = [{"OutputKey": key, "OutputValue": value} for key, value in self.outputs.items()]
        parameters = [{"ParameterKey": key, "ParameterValue": value} for key, value in self.parameters.items()]
        return {"Stacks": [{"StackName": stack, "Outputs": outputs, "Parameters": parameters}]}

    def _invoke(self, params: Mapping[str, Any]) -> dict[str, Any]:
        assert params["FunctionName"] == ROTATOR
        request = json.loads(params["Payload"])
        self.asked.append(request)
        answer = self.rotator(request)
        failed = {"FunctionError": "Unhandled"} if "errorType" in answer else {}
        return {"StatusCode": 200, "Payload": io.BytesIO(json.dumps(answer).encode()), **failed}

    def _sleep(self, seconds: float) -> None:
        self.now += seconds + self.hurry
        self.meanwhile()


def document(record: Connection) -> dict[str, Any]:
    """What rotator answers of a connection that has a token."""
    assert record.expires_at is not None
    return {
        "connection": record.name,
        "generation": record.generation,
        "access_token": ACCESS_TOKEN,
        "token_type": "Bearer",
        "expires_at": format_rfc3339(record.expires_at),
        "expires_in": record.expires_at - NOW,
        "scope": "full",
        "headers": {"Authorization": f"Bearer {ACCESS_TOKEN}"},
        "required_headers": ["x-user-id"],
        "reject_statuses": [401],
        "captured": {},
    }


def stored_client(name: str) -> dict[str, Any]:
    """A client's entry as it is in Secrets Manager."""
    answer = client("secretsmanager").get_secret_value(SecretId=f"evergrant/clients/{name}")
    entry: dict[str, Any] = json.loads(answer["SecretString"])
    return entry


def store_client(name: str, *hosts: str, **fields: Any) -> None:
    """A client that may be sent to these hosts, and whose secret never shows; an earlier release has stored it."""
    entry = {"client_id": "id-1", "client_secrets": [CLIENT_SECRET], "hosts": hosts, **fields}
    client("secretsmanager").create_secret(Name=f"evergrant/clients/{name}", SecretString=json.dumps(entry))
