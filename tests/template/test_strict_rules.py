"""Protects the strictness of the local AWS: each rule of AWS that it lacks finds the mistake that it is for."""

from __future__ import annotations

import copy
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest

from local.strict_rules import RULES, enforce_rules, list_broken, list_under_other_keys
from local.tools import LocalRunError
from tests.template.stack import translate_template

Plant = Callable[[dict[str, Any]], object]


def forbid_recursion(resources: dict[str, Any]) -> object:
    return resources["RotatorFunction"]["Properties"].pop("RecursiveLoop")


def forbid_recursion_under_a_wildcard(resources: dict[str, Any]) -> None:
    forbid_recursion(resources)
    for statement in list_statements(resources):
        if "sqs:SendMessage" in statement["Action"]:
            statement["Action"] = "SQS:Send*"


def list_statements(resources: dict[str, Any]) -> list[dict[str, Any]]:
    roles = [it["Properties"] for it in resources.values() if it["Type"] == "AWS::IAM::Role"]
    inline = [policy for role in roles for policy in role.get("Policies", [])]
    apart = [it["Properties"] for it in resources.values() if it["Type"] == "AWS::IAM::Policy"]
    return [statement for policy in inline + apart for statement in policy["PolicyDocument"]["Statement"]]


def deny_the_dead_letters(resources: dict[str, Any]) -> object:
    statement = resources["AlertDeadLetterPolicy"]["Properties"]["PolicyDocument"]["Statement"][0]
    return statement.update(Effect="Deny")


def add_a_condition(resources: dict[str, Any]) -> object:
    statement = resources["AlertTopicPolicy"]["Properties"]["PolicyDocument"]["Statement"][0]
    return statement.update(Condition={"StringEquals": {"aws:SourceAccount": "1"}})


def close_the_dead_letters(resources: dict[str, Any]) -> object:
    return resources.pop("AlertDeadLetterPolicy")


def raise_the_level(resources: dict[str, Any]) -> object:
    return resources["RotatorFunction"]["Properties"]["LoggingConfig"].update(ApplicationLogLevel="WARN")


PLANTED: dict[Plant, str] = {
    forbid_recursion: "Lambda stops what RotatorFunction sends to RotationQueue",
    add_a_condition: "EventBridge may not publish what AlertRule sends to AlertTopic",
    close_the_dead_letters: "EventBridge keeps nothing that AlertRule cannot deliver to AlertTopic",
    raise_the_level: "Lambda drops the metrics of RotatorFunction",
}
#: The same mistakes in another form.
OTHER_FORMS: dict[Plant, str] = {
    forbid_recursion_under_a_wildcard: PLANTED[forbid_recursion],
    deny_the_dead_letters: PLANTED[close_the_dead_letters],
}
FOUND = PLANTED | OTHER_FORMS


def test_the_template_breaks_no_rule() -> None:
    assert list_broken(translate_template()) == []


@pytest.mark.parametrize("plant", FOUND, ids=lambda plant: plant.__name__)
def test_a_rule_finds_the_mistake_that_it_is_for(plant: Plant) -> None:
    resources = copy.deepcopy(translate_template())
    plant(resources)
    assert any(text.startswith(FOUND[plant]) for text in list_broken(resources))
    assert len(PLANTED) == len(RULES)


class _Formation:
    """CloudFormation with two stacks, whose schedules have one name."""

    def __init__(self, schedule: str) -> None:
        self._ids = {"evergrant": "evergrant-tick", "second": schedule}

    def get_template(self, **_: Any) -> dict[str, Any]:
        return {"TemplateBody": {"Resources": translate_template()}}

    def describe_stacks(self) -> dict[str, Any]:
        return {"Stacks": [{"StackName": name} for name in self._ids]}

    def describe_stack_resources(self, StackName: str) -> dict[str, Any]:  # noqa: N803 - AWS's name
        found = {"ResourceType": "AWS::Scheduler::Schedule", "LogicalResourceId": "Tick"}
        return {"StackResources": [{**found, "PhysicalResourceId": self._ids[StackName]}]}


@pytest.mark.parametrize(("schedule", "is_taken"), [("evergrant-tick", False), ("second-tick", True)])
def test_a_name_that_another_stack_has_is_refused(schedule: str, is_taken: bool) -> None:
    aws: Any = SimpleNamespace(client=lambda service: _Formation(schedule))
    if is_taken:
        enforce_rules(aws, "second")
        return
    with pytest.raises(LocalRunError, match="Tick has the name evergrant-tick, as in the stack evergrant"):
        enforce_rules(aws, "second")


class _Secrets:
    """Secrets Manager with one secret of each stack, and one under another key."""

    _keys: ClassVar = {
        "evergrant/clients/keap": "ours",
        "evergrant/tokens/keap/main": "another",
        "second/clients/keap": "its",
    }

    def get_paginator(self, _: str) -> _Secrets:
        return self

    def paginate(self, **_: Any) -> list[dict[str, Any]]:
        return [{"SecretList": [{"Name": name} for name in self._keys]}]

    def describe_secret(self, SecretId: str) -> dict[str, Any]:  # noqa: N803 - AWS's name
        return {"KmsKeyId": self._keys[SecretId]}


def test_a_secret_under_another_key_is_found() -> None:
    """The emulator never asks KMS. On AWS the stack's roles may use the stack's key alone."""
    aws: Any = SimpleNamespace(client=lambda service: _Secrets())
    assert list_under_other_keys(aws, "evergrant", "ours") == ["evergrant/tokens/keap/main"]
