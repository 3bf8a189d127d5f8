"""The deployed stack, found by its name: its outputs, and adapters for the resources that they name."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from evergrant.adapters.aws.authorizations import StoredAuthorizations
from evergrant.adapters.aws.circuits import DynamoCircuits
from evergrant.adapters.aws.profiles import StoredProfiles
from evergrant.adapters.aws.records import DynamoRecords
from evergrant.adapters.aws.rotation_queue import SqsQueue
from evergrant.adapters.aws.sdk import client, read_error_code
from evergrant.adapters.aws.seal import KmsSeal
from evergrant.adapters.aws.secrets_manager import SecretsVault
from evergrant.adapters.clock import SystemClock
from evergrant.errors import InvalidClient, UnknownClient
from evergrant.oauth.client import Client
from evergrant.oauth.redirect_uris import OWN_PATH, SHARED_PATH
from evergrant.ports import Clock, PortUnavailable
from evergrant.secret_names import client_secret_name
from evergrant.settings import Settings

from .problems import CommandFailed, Problem

#: Rotator's own timeout: less would give up on an answer that is coming, more would wait in vain.
_READ_TIMEOUT_SECONDS = 60
#: The schedule, as SAM names the event of scheduler, and what of it an update repeats: an update replaces all of it.
_SCHEDULE = "SchedulerFunctionTick"
_SCHEDULE_FIELDS = frozenset(
    (
        *("Name", "GroupName", "ScheduleExpression", "ScheduleExpressionTimezone", "StartDate", "EndDate"),
        *("Description", "FlexibleTimeWindow", "Target", "KmsKeyArn", "ActionAfterCompletion"),
    )
)
#: Settings that the command shares with the functions, and the template's parameters that hold them.
_SETTINGS = {
    "EVERGRANT_DIRECT_READ_MIN_LIFETIME": "DirectReadMinLifetime",
    "EVERGRANT_CONSUMER_CACHE_SECONDS": "ConsumerCacheSeconds",
}


def open_session(region: str | None, profile: str | None) -> None:
    """Choose identity and Region for the whole run, as the AWS CLI does.

    An explicit profile outranks credentials in the environment. AWS_REGION, which boto3 ignores, outranks
    AWS_DEFAULT_REGION.
    """
    boto3.setup_default_session(profile_name=profile, region_name=region or os.environ.get("AWS_REGION") or None)


@dataclass(frozen=True)
class Deployment:
    """One deployed stack. It calls AWS only when a value is needed, and once for each."""

    stack: str
    clock: Clock = field(default_factory=SystemClock)

    @cached_property
    def outputs(self) -> dict[str, str]:
        """The stack's outputs by their key."""
        return {output["OutputKey"]: output["OutputValue"] for output in self._stack.get("Outputs", [])}

    @cached_property
    def settings(self) -> Settings:
        """The settings of the stack's functions, as far as the command shares their decisions."""
        given = {name: value for name, value in self.parameters.items() if value.isascii() and value.isdecimal()}
        environ = {"EVERGRANT_PREFIX": self.get_output("SecretPrefix")}
        for name, parameter in _SETTINGS.items():
            if parameter in given:
                environ[name] = given[parameter]
        return Settings.from_environment(environ)

    @property
    def parameters(self) -> dict[str, str]:
        """The values of the template's parameters."""
        return {entry["ParameterKey"]: entry.get("ParameterValue", "") for entry in self._stack.get("Parameters", [])}

    @property
    def status(self) -> str:
        """The status of the stack, such as ``UPDATE_COMPLETE``."""
        return str(self._stack["StackStatus"])

    @property
    def has_termination_protection(self) -> bool:
        return bool(self._stack.get("EnableTerminationProtection"))

    @property
    def age(self) -> float:
        """Seconds since the stack was created."""
        return self.clock.now() - float(self._stack["CreationTime"].timestamp())

    @cached_property
    def _stack(self) -> dict[str, Any]:
        """The stack as CloudFormation describes it.

        Raises
        ------
        CommandFailed
            There is no such stack here.
        """
        formation = client("cloudformation")
        try:
            stacks = formation.describe_stacks(StackName=self.stack)["Stacks"]
        except ClientError as error:
            if read_error_code(error) != "ValidationError":
                raise
            raise CommandFailed(
                Problem(
                    "stack_not_found",
                    f"There is no stack {self.stack} in {formation.meta.region_name}.",
                    "Deploy it with `sam deploy`, or choose another with --stack, --region or --profile.",
                )
            ) from error
        described: dict[str, Any] = stacks[0]
        return described

    def get_output(self, name: str) -> str:
        """Get one output. Raises CommandFailed if the stack has none of that name."""
        if name not in self.outputs:
            raise CommandFailed(
                Problem(
                    "stack_incomplete",
                    f"The stack {self.stack} has no output {name}.",
                    "It is not an Evergrant stack, or its deployment is not finished.",
                )
            )
        return self.outputs[name]

    @property
    def api_url(self) -> str:
        """The address of the connect pages. EVERGRANT_API_URL overrides it for a stack behind another address."""
        return (os.environ.get("EVERGRANT_API_URL") or self.get_output("ApiUrl")).rstrip("/")

    @property
    def redirect_path(self) -> str:
        """The redirect path of a client that is stored now. The functions of an earlier release have one for all."""
        return OWN_PATH if "RedirectUri" in self.outputs else SHARED_PATH

    @cached_property
    def records(self) -> DynamoRecords:
        return DynamoRecords(self.get_output("RecordsTableName"))

    @cached_property
    def circuits(self) -> DynamoCircuits:
        return DynamoCircuits(self.get_output("RecordsTableName"), self.get_output("AuthorizationsTableName"))

    @cached_property
    def authorizations(self) -> StoredAuthorizations:
        return StoredAuthorizations(self.get_output("AuthorizationsTableName"))

    @cached_property
    def profiles(self) -> StoredProfiles:
        return StoredProfiles(self.get_output("RecordsTableName"))

    @cached_property
    def vault(self) -> SecretsVault:
        return SecretsVault(self.get_output("SecretPrefix"), self.get_output("VaultKeyArn"))

    @cached_property
    def seal(self) -> KmsSeal:
        return KmsSeal(self.get_output("SealKeyArn"))

    @cached_property
    def queue(self) -> SqsQueue:
        return SqsQueue(self.get_output("RotationQueueUrl"))

    def require_client(self, name: str, hosts: Sequence[str]) -> Client | None:
        """Return a client, or raise if it cannot be used; None if this operator may list its entry and not read it.

        Raises
        ------
        UnknownClient, InvalidClient
            It is not stored, its entry cannot be read, or its entry does not allow one of these hosts.
        """
        try:
            entry = self.vault.client(name)
        except PortUnavailable as error:
            if not (isinstance(error.__cause__, ClientError) and "AccessDenied" in read_error_code(error.__cause__)):
                raise
            self._require_secret(name)
            return None
        refused = [host for host in hosts if host not in entry.hosts]
        if refused:
            allowed = " ".join(f"--host {host}" for host in (*entry.hosts, *refused))
            raise InvalidClient(
                f"Client {name} may not be sent to {', '.join(refused)}, which this connection needs.",
                f"If it belongs there, store it again: `evergrant client set {name} {allowed}`.",
            )
        return entry

    def _require_secret(self, name: str) -> None:
        try:
            found = client("secretsmanager").describe_secret(
                SecretId=client_secret_name(self.get_output("SecretPrefix"), name)
            )
        except ClientError as error:
            if read_error_code(error) == "ResourceNotFoundException":
                raise UnknownClient(name) from error
            if "AccessDenied" not in read_error_code(error):
                raise
            return  # an operator without this permission finds out by connecting
        if found.get("DeletedDate"):
            raise UnknownClient(name)

    def switch_schedule(self, *, on: bool) -> str | None:
        """Switch the stack's schedule on or off. Returns AWS's error code where that is not possible."""
        schedules = client("scheduler")
        try:
            name = client("cloudformation").describe_stack_resource(StackName=self.stack, LogicalResourceId=_SCHEDULE)[
                "StackResourceDetail"
            ]["PhysicalResourceId"]
            found = schedules.get_schedule(Name=name)
            given = {key: value for key, value in found.items() if key in _SCHEDULE_FIELDS}
            schedules.update_schedule(**given, State="ENABLED" if on else "DISABLED")
        except ClientError as error:
            return read_error_code(error)
        return None

    def invoke_rotator(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Invoke rotator and return its answer: a token document, or ``{"error": {...}}``."""
        name = self.get_output("RotatorFunctionArn")
        answer = self._functions.invoke(FunctionName=name, Payload=json.dumps(request).encode())
        document: dict[str, Any] = json.loads(answer["Payload"].read() or "{}")
        if answer.get("FunctionError"):
            raise CommandFailed(
                Problem(
                    "function_failed",
                    f"{name.rpartition(':')[2]} failed: {document.get('errorType', 'no reason given')}.",
                    "Its log says why. A rotation that had begun is not lost.",
                )
            )
        return document

    @cached_property
    def _functions(self) -> Any:
        # One attempt: where an answer is lost the function may have worked, and a second would wait for its lease.
        config = Config(connect_timeout=5, read_timeout=_READ_TIMEOUT_SECONDS, retries={"total_max_attempts": 1})
        return boto3.client("lambda", config=config)
