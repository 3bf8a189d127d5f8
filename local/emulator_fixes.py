"""Corrections of what the emulator does unlike AWS, applied after the deployment and not in the template.

The HTTP API's routes have a module of their own, `local.routes`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from local.aws import LocalAws


def fix_event_sources(aws: LocalAws) -> None:
    """Convert scaling settings to numbers: the emulator keeps the text of a parameter, and fails at every poll."""
    functions = aws.client("lambda")
    for mapping in functions.list_event_source_mappings()["EventSourceMappings"]:
        if scaling := mapping.get("ScalingConfig"):
            numbers = {name: int(value) for name, value in scaling.items()}
            functions.update_event_source_mapping(UUID=mapping["UUID"], ScalingConfig=numbers)


def fix_batch_permissions(aws: LocalAws, stack: str) -> None:
    """Allow SendMessageBatch in each policy that allows SendMessage.

    On AWS ``sqs:SendMessage`` covers SendMessageBatch, which has no permission of its own (Amazon SQS developer
    guide, "Amazon SQS batch actions"); the emulator requires one.
    """
    iam, formation = aws.client("iam"), aws.client("cloudformation")
    for resource in formation.describe_stack_resources(StackName=stack)["StackResources"]:
        if resource["ResourceType"] != "AWS::IAM::Role":
            continue
        role = resource["PhysicalResourceId"]
        for name in iam.list_role_policies(RoleName=role)["PolicyNames"]:
            document = iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]
            sending = [statement for statement in document["Statement"] if "sqs:SendMessage" in statement["Action"]]
            if sending:
                batches = [statement | {"Action": "sqs:SendMessageBatch"} for statement in sending]
                document["Statement"] += [{**batch, "Sid": f"Batch{number}"} for number, batch in enumerate(batches)]
                iam.put_role_policy(RoleName=role, PolicyName=name, PolicyDocument=json.dumps(document))


def fix_unread_settings(aws: LocalAws, stack: str) -> None:
    """Set what the emulator does not read from a template: recursion of functions, point-in-time recovery of tables."""
    formation, functions, tables = (aws.client(service) for service in ("cloudformation", "lambda", "dynamodb"))
    template = formation.get_template(StackName=stack, TemplateStage="Processed")["TemplateBody"]
    resources: Mapping[str, Any] = (json.loads(template) if isinstance(template, str) else template)["Resources"]
    for resource in formation.describe_stack_resources(StackName=stack)["StackResources"]:
        name = resource["PhysicalResourceId"]
        properties = resources.get(resource["LogicalResourceId"], {}).get("Properties", {})
        if loop := properties.get("RecursiveLoop"):
            functions.put_function_recursion_config(FunctionName=name, RecursiveLoop=loop)
        if recovery := properties.get("PointInTimeRecoverySpecification"):
            tables.update_continuous_backups(TableName=name, PointInTimeRecoverySpecification=recovery)
