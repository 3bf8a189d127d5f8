"""Where the emulator is laxer than AWS: rules on the stack that it deployed, which AWS would enforce or punish.

Each rule looks at the translated template, and says what AWS would do. A deployment to the local AWS fails where one is
broken, as the stack would on AWS. `docs/aws.md` has each fact with its source.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any

from local.aws import LocalAws
from local.tools import LocalRunError

#: What has its name within another resource.
_WITHIN_ANOTHER = frozenset({"AWS::ApiGatewayV2::Stage", "AWS::IAM::Policy", "AWS::Lambda::Permission"})

Resource = Mapping[str, Any]
Resources = Mapping[str, Resource]
Rule = Callable[[Resources], Iterator[str]]


def enforce_rules(aws: LocalAws, stack: str) -> None:
    """Raise LocalRunError if the deployed stack breaks a rule."""
    template = aws.client("cloudformation").get_template(StackName=stack, TemplateStage="Processed")["TemplateBody"]
    resources = (json.loads(template) if isinstance(template, str) else template)["Resources"]
    broken = [*list_broken(resources), *_list_shared(aws, stack)]
    if broken:
        raise LocalRunError("The local AWS took what AWS does not:\n" + "\n".join(f"- {text}" for text in broken))


def list_under_other_keys(aws: LocalAws, prefix: str, key_arn: str) -> list[str]:
    """List the stack's secrets under another key than its own: on AWS its roles could not read or write them."""
    secrets = aws.client("secretsmanager")
    pages = secrets.get_paginator("list_secrets").paginate(IncludePlannedDeletion=True)
    names = [secret["Name"] for page in pages for secret in page["SecretList"]]
    own = [name for name in names if name.startswith(f"{prefix}/")]
    return [name for name in own if secrets.describe_secret(SecretId=name).get("KmsKeyId") != key_arn]


def _list_shared(aws: LocalAws, stack: str) -> Iterator[str]:
    """List what another stack has under the same name: CloudFormation would refuse to create it."""
    formation = aws.client("cloudformation")
    names = [found["StackName"] for found in formation.describe_stacks()["Stacks"]]
    owners = {
        name: formation.describe_stack_resources(StackName=name)["StackResources"] for name in sorted({*names, stack})
    }
    own = {(it["ResourceType"], it["PhysicalResourceId"]): it["LogicalResourceId"] for it in owners.pop(stack)}
    for other, resources in owners.items():
        for it in resources:
            if it["ResourceType"] not in _WITHIN_ANOTHER and (it["ResourceType"], it["PhysicalResourceId"]) in own:
                yield f"{it['LogicalResourceId']} has the name {it['PhysicalResourceId']}, as in the stack {other}."


def list_broken(resources: Resources) -> list[str]:
    """List what AWS would do to the stack."""
    return [text for rule in RULES for text in rule(resources)]


def stop_recursion(resources: Resources) -> Iterator[str]:
    """Lambda stops a chain of messages between a function and its own queue, unless the function allows it."""
    for mapping in _of_type(resources, "AWS::Lambda::EventSourceMapping").values():
        queue, function = _name(mapping["EventSourceArn"]), _name(mapping["FunctionName"])
        settings = resources[function]["Properties"]
        allows = settings.get("RecursiveLoop") == "Allow"
        if not allows and queue in _list_sent_to(resources, _name(settings["Role"])):
            yield f"Lambda stops what {function} sends to {queue} after about 16 messages."


def drop_events(resources: Resources) -> Iterator[str]:
    """EventBridge delivers to a topic only if its policy allows it without a condition; else the event is gone."""
    policies = _of_type(resources, "AWS::SNS::TopicPolicy").values()
    topics = _of_type(resources, "AWS::SNS::Topic")
    for name, rule in _of_type(resources, "AWS::Events::Rule").items():
        for target in rule["Targets"]:
            topic = _name(target["Arn"])
            if topic in topics and "RoleArn" not in target and not any(_allows_events(it, topic) for it in policies):
                yield f"EventBridge may not publish what {name} sends to {topic}."


def lose_dead_letters(resources: Resources) -> Iterator[str]:
    """EventBridge puts a dead letter only where the queue's policy allows it."""
    policies = _of_type(resources, "AWS::SQS::QueuePolicy").values()
    for name, rule in _of_type(resources, "AWS::Events::Rule").items():
        for target in rule["Targets"]:
            queue = _name(target.get("DeadLetterConfig", {}).get("Arn", ""))
            allowed = [
                statement
                for policy in policies
                if queue in map(_name, policy["Queues"])
                for statement in policy["PolicyDocument"]["Statement"]
                if statement["Effect"] == "Allow" and statement["Principal"].get("Service") == "events.amazonaws.com"
            ]
            if not queue or not allowed:
                yield f"EventBridge keeps nothing that {name} cannot deliver to {_name(target['Arn'])}."


def drop_metrics(resources: Resources) -> Iterator[str]:
    """With JSON logs, Lambda drops lines without a level, which metrics are, where its own level is above INFO."""
    for name, function in _of_type(resources, "AWS::Lambda::Function").items():
        logging = function.get("LoggingConfig", {})
        if logging.get("LogFormat") == "JSON" and logging.get("ApplicationLogLevel", "INFO") != "INFO":
            yield f"Lambda drops the metrics of {name}, or logs each library at DEBUG."


RULES: tuple[Rule, ...] = (stop_recursion, drop_events, lose_dead_letters, drop_metrics)


def _of_type(resources: Resources, kind: str) -> dict[str, Resource]:
    return {name: it["Properties"] for name, it in resources.items() if it["Type"] == kind}


def _name(value: Any) -> str:
    """Return the logical id that a Ref or GetAtt names."""
    if not isinstance(value, Mapping):
        return str(value)
    found = value.get("Ref") or value.get("Fn::GetAtt") or ""
    return str(found[0] if isinstance(found, list) else found).partition(".")[0]


def _list_sent_to(resources: Resources, role: str) -> set[str]:
    """List the resources that a role may send messages to."""
    documents = [policy["PolicyDocument"] for policy in resources[role]["Properties"].get("Policies", [])]
    documents += [
        policy["PolicyDocument"]
        for policy in _of_type(resources, "AWS::IAM::Policy").values()
        if role in map(_name, policy["Roles"])
    ]
    statements = [statement for document in documents for statement in document["Statement"]]
    sending = [it for it in statements if it["Effect"] == "Allow" and any(map(_may_send, _as_list(it["Action"])))]
    return {_name(resource) for it in sending for resource in _as_list(it["Resource"])}


def _may_send(action: str) -> bool:
    """Whether an action of a policy, which may hold wildcards and is compared without case, covers SendMessage."""
    return fnmatchcase("sqs:sendmessage", action.lower())


def _allows_events(policy: Resource, topic: str) -> bool:
    return topic in map(_name, policy["Topics"]) and any(
        statement["Effect"] == "Allow"
        and statement["Principal"].get("Service") == "events.amazonaws.com"
        and "Condition" not in statement
        for statement in policy["PolicyDocument"]["Statement"]
    )


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
