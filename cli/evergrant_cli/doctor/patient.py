"""The deployed stack as the checks look at it: AWS's answers, and a person who may be asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from threading import Lock
from typing import Any

import boto3
from botocore.config import Config

from ..deployment import Deployment

#: The functions, as the outputs of the stack name them.
FUNCTIONS = ("Scheduler", "Rotator", "Callback", "Getter")

#: Two attempts of each call: the whole examination takes a minute at most, also where a service does not answer.
_CONFIG = Config(connect_timeout=3, read_timeout=10, retries={"mode": "standard", "total_max_attempts": 2})
_creation = Lock()

#: Asks a person a question; None where there is no answer.
Ask = Callable[[str], bool | None]


def ask_no_person(question: str) -> bool | None:
    """Stand in for a person where there is none."""
    return None


@cache
def create_client(service: str) -> Any:
    """Return the client of a service, one for all checks."""
    with _creation:
        return boto3.client(service, config=_CONFIG)  # type: ignore[call-overload]


@dataclass(frozen=True)
class Patient:
    """A stack under examination. Each answer of AWS that several checks need is asked for once."""

    deployment: Deployment
    ask: Ask = ask_no_person
    sends_alert: bool = True
    profile: str | None = None

    def get_client(self, service: str) -> Any:
        """Get boto3's client of a service."""
        return create_client(service)

    @property
    def now(self) -> float:
        return self.deployment.clock.now()

    @property
    def region(self) -> str:
        return str(create_client("cloudformation").meta.region_name)

    def get_output(self, name: str) -> str:
        return self.deployment.get_output(name)

    def get_parameter(self, name: str, default: str) -> str:
        return self.deployment.parameters.get(name) or default

    def get_function(self, name: str) -> str:
        """Get the ARN of a function, by one of :data:`FUNCTIONS`."""
        return self.get_output(f"{name}FunctionArn")

    @cached_property
    def resources(self) -> Mapping[str, Mapping[str, str]]:
        """The stack's resources by logical id, as CloudFormation lists them."""
        pages = (
            create_client("cloudformation")
            .get_paginator("list_stack_resources")
            .paginate(StackName=self.deployment.stack)
        )
        return {
            resource["LogicalResourceId"]: resource for page in pages for resource in page["StackResourceSummaries"]
        }

    def get_id(self, logical_id: str) -> str:
        """Get the physical id of a resource. Raises KeyError if the stack has none of that name."""
        return self.resources[logical_id]["PhysicalResourceId"]

    def list_ids(self, kind: str) -> dict[str, str]:
        """Map the logical ids of the resources of a type to their physical ids."""
        return {
            name: resource["PhysicalResourceId"]
            for name, resource in sorted(self.resources.items())
            if resource["ResourceType"] == kind
        }

    def write_command(self, command: str) -> str:
        """Write a command of the AWS CLI for the stack's Region and the identity of this run."""
        identity = f" --profile {self.profile}" if self.profile else ""
        return f"aws {command} --region {self.region}{identity}"
