"""The routes of the deployed HTTP API, created from its template.

SAM turns a function's ``HttpApi`` events into an OpenAPI document in the API's ``Body``. AWS creates routes from it;
the emulator ignores it. This module reads that document back from CloudFormation and creates the same routes by API
Gateway's own calls, so that the template stays ordinary SAM. It supports Lambda routes without an authorizer or with
IAM, and raises an error for anything else.

With IAM enforcement, the emulator checks an ``AWS_IAM`` route as AWS does: 403 without a signature, 403 without
``execute-api:Invoke``. Without enforcement it allows every call.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from local.aws import LocalAws
from local.tools import LocalRunError


@dataclass(frozen=True)
class Route:
    """One operation of the API."""

    method: str
    path: str
    function: str
    """The logical id of the function behind it."""
    iam: bool


def create_routes(aws: LocalAws, stack: str) -> str:
    """Create every route of the stack's HTTP API that is not there yet, and return the API's id."""
    cloudformation = aws.client("cloudformation")
    template = cloudformation.get_template(StackName=stack, TemplateStage="Processed")["TemplateBody"]
    resources: Mapping[str, Any] = (json.loads(template) if isinstance(template, str) else template)["Resources"]
    physical = {
        resource["LogicalResourceId"]: resource["PhysicalResourceId"]
        for resource in cloudformation.describe_stack_resources(StackName=stack)["StackResources"]
    }
    logical_api = next(name for name, it in resources.items() if it["Type"] == "AWS::ApiGatewayV2::Api")
    api_id = str(physical[logical_api])
    gateway, functions = aws.client("apigatewayv2"), aws.client("lambda")
    present = {route["RouteKey"] for route in gateway.get_routes(ApiId=api_id)["Items"]}
    integrations: dict[str, str] = {}
    for route in parse_routes(resources[logical_api]["Properties"]["Body"]):
        key = f"{route.method} {route.path}"
        if key in present:
            continue
        if route.function not in integrations:
            arn = functions.get_function(FunctionName=physical[route.function])["Configuration"]["FunctionArn"]
            integrations[route.function] = gateway.create_integration(
                ApiId=api_id, IntegrationType="AWS_PROXY", IntegrationUri=arn, PayloadFormatVersion="2.0"
            )["IntegrationId"]
        gateway.create_route(
            ApiId=api_id,
            RouteKey=key,
            Target=f"integrations/{integrations[route.function]}",
            AuthorizationType="AWS_IAM" if route.iam else "NONE",
        )
    return api_id


def parse_routes(body: Mapping[str, Any]) -> Iterator[Route]:
    """Parse the routes of an OpenAPI document that SAM has written.

    Raises
    ------
    LocalRunError
        It declares something that this module does not support.
    """
    for path, operations in body["paths"].items():
        for method, operation in operations.items():
            security = {name for entry in operation.get("security", []) for name in entry}
            uri = json.dumps(operation["x-amazon-apigateway-integration"]["uri"])
            function = re.search(r"/functions/\$\{(\w+)\.Arn\}/invocations", uri)
            if not security <= {"AWS_IAM"} or function is None or not path.startswith("/"):
                raise LocalRunError(f"local/routes.py cannot make {method} {path}; add support for it: {operation}")
            yield Route(
                "ANY" if method == "x-amazon-apigateway-any-method" else method.upper(),
                path,
                function[1],
                bool(security),
            )
