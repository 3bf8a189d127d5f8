"""Protects the alerts about administration: each change that gets past the seal key's policy is a readable message.

The events have the form of AWS's examples: AWS KMS developer guide, "PutKeyPolicy" and "ScheduleKeyDeletion" under
"Logging with CloudTrail"; Lambda developer guide, "Logging AWS Lambda API calls using AWS CloudTrail"; IAM user guide,
"Logging IAM and AWS STS API calls with AWS CloudTrail".
"""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from local.strict_rules import list_broken
from tests.template.event_patterns import matches, transform
from tests.template.stack import ROOT, properties, read_template, translate_template

ACCOUNT = "111122223333"
RULES = ("KeyChangedRule", "FunctionChangedRule", "RoleChangedRule")
SEAL_KEY = f"arn:aws:kms:us-west-2:{ACCOUNT}:key/1234abcd-12ab-34cd-56ef-1234567890ab"
VAULT_KEY = f"arn:aws:kms:us-west-2:{ACCOUNT}:key/0987dcba-09fe-87dc-65ba-ab0987654321"
FUNCTIONS = ("SchedulerFunction", "RotatorFunction", "CallbackFunction", "GetterFunction")
ROLES = ("SchedulerRole", "RotatorRole", "CallbackRole", "GetterRole", "TickRole")


def physical(name: str) -> str:
    """The name that CloudFormation gives a resource, at its longest: 64 characters."""
    return f"evergrant-{name}-" + "A" * (53 - len(name))


def resolve(value: Any) -> Any:
    """What CloudFormation makes of the intrinsics in a rule."""
    match value:
        case {"Ref": name}:
            return physical(name)
        case {"Fn::GetAtt": ["SealKey", "Arn"]}:
            return SEAL_KEY
        case {"Fn::GetAtt": ["VaultKey", "Arn"]}:
            return VAULT_KEY
        case {"Fn::Sub": str(text)}:
            known = {name: physical(name) for name in FUNCTIONS} | {"AWS::StackName": "evergrant"}
            return re.sub(r"\$\{([\w:]+)\}", lambda found: known[found[1]], text)
        case dict():
            return {name: resolve(item) for name, item in value.items()}
        case list():
            return [resolve(item) for item in value]
    return value


def event(source: str, call: str, **detail: Any) -> dict[str, Any]:
    """A management event, as CloudTrail hands it to EventBridge."""
    return {
        "version": "0",
        "source": f"aws.{source}",
        "detail-type": "AWS API Call via CloudTrail",
        "account": ACCOUNT,
        "resources": [],
        "detail": {
            "eventVersion": "1.08",
            "userIdentity": {"type": "IAMUser", "arn": f"arn:aws:iam::{ACCOUNT}:user/Alice", "userName": "Alice"},
            "eventTime": "2026-09-01T20:06:16Z",
            "eventSource": f"{source}.amazonaws.com",
            "eventName": call,
            "sourceIPAddress": "192.0.2.0",
            "eventID": "c217db1f-903f-4a2f-8f88-9580182d6313",
            "readOnly": False,
            "managementEvent": True,
            **detail,
        },
    }


def of_key(call: str, arn: str = SEAL_KEY, **detail: Any) -> dict[str, Any]:
    resources = [{"accountId": ACCOUNT, "type": "AWS::KMS::Key", "ARN": arn}]
    return event("kms", call, requestParameters={"keyId": arn.rpartition("/")[2]}, resources=resources, **detail)


def of_function(call: str, name: str, **detail: Any) -> dict[str, Any]:
    return event("lambda", call, requestParameters={"functionName": name, "dryRun": False}, **detail)


def of_role(call: str, name: str, **detail: Any) -> dict[str, Any]:
    return event("iam", call, requestParameters={"roleName": name, "policyName": "x"}, **detail)


ROTATOR = physical("RotatorFunction")
REPORTED = {
    **{call: of_key(call) for call in ("PutKeyPolicy", "CreateGrant", "DisableKey", "ScheduleKeyDeletion")},
    "the vault key": of_key("PutKeyPolicy", VAULT_KEY),
    "new code": of_function("UpdateFunctionCode20150331v2", ROTATOR),
    "new code, by ARN": of_function(
        "UpdateFunctionCode20150331v2", f"arn:aws:lambda:us-west-2:{ACCOUNT}:function:{ROTATOR}"
    ),
    "another layer": of_function("UpdateFunctionConfiguration20150331v2", ROTATOR),
    "another caller": of_function("AddPermission20150331v2", ROTATOR),
    "another queue": of_function("CreateEventSourceMapping20150331", ROTATOR),
    "an address": of_function("CreateFunctionUrlConfig20211031", ROTATOR),
    **{f"code of {name}": of_function("UpdateFunctionCode20150331v2", physical(name)) for name in FUNCTIONS},
    **{f"policy of {name}": of_role("PutRolePolicy", physical(name)) for name in ROLES},
    "a managed policy": of_role("AttachRolePolicy", physical("RotatorRole")),
    "another principal": of_role("UpdateAssumeRolePolicy", physical("RotatorRole")),
    "no boundary": of_role("DeleteRolePermissionsBoundary", physical("RotatorRole")),
    "another boundary": of_role("PutRolePermissionsBoundary", physical("RotatorRole")),
}
IGNORED = {
    "another key": of_key("PutKeyPolicy", f"arn:aws:kms:us-west-2:{ACCOUNT}:key/another"),
    "the use of a key": of_key("Decrypt"),
    "what KMS refused": of_key("PutKeyPolicy", errorCode="AccessDenied"),
    "what Lambda refused": of_function("UpdateFunctionCode20150331v2", ROTATOR, errorCode="AccessDenied"),
    "what IAM refused": of_role("PutRolePolicy", physical("RotatorRole"), errorCode="AccessDenied"),
    "another function": of_function("UpdateFunctionCode20150331v2", f"other-{ROTATOR}"),
    "another role": of_role("PutRolePolicy", "another"),
    "a tag": of_function("TagResource20170331v2", ROTATOR),
    "an event of another source": {**of_key("PutKeyPolicy"), "source": "evergrant"},
    "no call": {**of_key("PutKeyPolicy"), "detail-type": "AWS Service Event via CloudTrail"},
}


def find_rules(what: dict[str, Any]) -> list[str]:
    return [rule for rule in RULES if matches(resolve(properties(rule)["EventPattern"]), what)]


@pytest.mark.parametrize("what", REPORTED)
def test_a_change_is_one_message_that_says_who_did_what(what: str) -> None:
    happened = REPORTED[what]
    [rule] = find_rules(happened)
    [target] = properties(rule)["Targets"]
    text = transform(resolve(target["InputTransformer"]), happened)
    detail = happened["detail"]
    changed = detail["requestParameters"].get("functionName") or detail["requestParameters"].get("roleName")
    for part in (detail["eventName"], changed or detail["resources"][0]["ARN"], "user/Alice", "192.0.2.0", "evergrant"):
        assert part in text
    assert json.loads(text).startswith("Evergrant: "), "one text in quotation marks"
    assert "\n" not in text
    assert len(text) < 1000


@pytest.mark.parametrize("what", IGNORED)
def test_what_changes_nothing_of_the_stack_is_no_message(what: str) -> None:
    assert find_rules(IGNORED[what]) == []


def test_a_message_names_a_section_of_the_manual() -> None:
    title = "When a key, a function or a role was changed"
    assert f"\n## {title}\n" in (ROOT / "docs" / "operating.md").read_text("utf-8")
    for rule in RULES:
        [target] = properties(rule)["Targets"]
        assert title in target["InputTransformer"]["InputTemplate"]["Fn::Sub"]


@pytest.mark.parametrize("rule", RULES)
def test_each_value_of_a_message_is_read_from_the_event(rule: str) -> None:
    [target] = properties(rule)["Targets"]
    used = set(re.findall(r"<(\w+)>", target["InputTransformer"]["InputTemplate"]["Fn::Sub"]))
    assert used == target["InputTransformer"]["InputPathsMap"].keys()


@pytest.mark.parametrize("rule", RULES)
def test_a_pattern_is_no_longer_than_eventbridge_takes(rule: str) -> None:
    """2,048 characters (EventBridge user guide, "Amazon EventBridge quotas"), with names of 64 characters."""
    assert len(json.dumps(resolve(properties(rule)["EventPattern"]))) < 2048


def test_the_rules_are_there_only_where_they_are_asked_for() -> None:
    parameter = read_template()["Parameters"]["AlertOnAdministration"]
    assert parameter["Default"] == "false"
    assert read_template()["Conditions"]["AlertsOnAdministration"] == {
        "Fn::Equals": [{"Ref": "AlertOnAdministration"}, "true"]
    }
    conditional = {
        name
        for name, it in translate_template().items()
        if it["Type"] == "AWS::Events::Rule" and it.get("Condition") == "AlertsOnAdministration"
    }
    assert conditional == set(RULES)


@pytest.mark.parametrize("rule", RULES)
def test_an_alert_goes_to_the_topic_from_the_bus_of_cloudtrail(rule: str) -> None:
    """CloudTrail's events are on the account's default bus."""
    assert "EventBusName" not in properties(rule)
    [target] = properties(rule)["Targets"]
    assert target["Arn"] == {"Ref": "AlertTopic"}
    assert not list_broken(translate_template()), "the topic's policy lets EventBridge publish"
