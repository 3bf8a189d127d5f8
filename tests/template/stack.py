"""The template as its tests look at it: as written, and as SAM hands it to CloudFormation."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator
from samtranslator.yaml_helper import yaml_parse

ROOT = Path(__file__).resolve().parents[2]
#: Another template in its place, which lacks something (see :mod:`tests.mutants`).
TEMPLATE = Path(os.environ.get("EVERGRANT_TEMPLATE") or ROOT / "template.yaml")
FUNCTIONS = ("Scheduler", "Rotator", "Callback", "Getter")

Resource = dict[str, Any]


@cache
def read_template() -> dict[str, Any]:
    """``template.yaml``, its short intrinsics (``!Ref``) in their long form."""
    parsed: dict[str, Any] = yaml_parse(TEMPLATE.read_text())
    return parsed


@cache
def translate_template() -> dict[str, Resource]:
    """The resources that CloudFormation makes of it, by logical id."""
    template = copy.deepcopy(read_template())
    for resource in template["Resources"].values():
        for uri in ("CodeUri", "ContentUri"):
            if uri in resource["Properties"]:
                resource["Properties"][uri] = "s3://bucket/key"
    template["Globals"]["Function"]["CodeUri"] = "s3://bucket/key"
    defaults = {name: parameter.get("Default") for name, parameter in template["Parameters"].items()}
    session = mock.Mock(region_name="eu-west-1")
    result = Translator({}, Parser(), boto_session=session).translate(template, parameter_values=defaults)
    resources: dict[str, Resource] = json.loads(json.dumps(result["Resources"]))
    return resources


def of_type(kind: str) -> dict[str, Resource]:
    """The translated resources of one CloudFormation type."""
    return {name: resource for name, resource in translate_template().items() if resource["Type"] == kind}


def properties(name: str) -> Resource:
    """Of one translated resource."""
    found: Resource = translate_template()[name]["Properties"]
    return found


def words(value: Any) -> str:
    """An intrinsic in few words: ``RecordsTable.Arn``, ``RotatorRole``, or the text of a ``Fn::Sub``."""
    match value:
        case str():
            return value
        case {"Ref": name}:
            return str(name)
        case {"Fn::GetAtt": [name, attribute]}:
            return f"{name}.{attribute}"
        case {"Fn::Sub": str(text)}:
            return text
    return json.dumps(value, sort_keys=True)


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def grants(statements: list[Resource]) -> Iterator[tuple[str, str]]:
    """Every (action, resource) that allowing statements allow."""
    for statement in statements:
        assert statement["Effect"] == "Allow", "the roles are written without Deny, so that reading them is enough"
        assert not {"NotAction", "NotResource"} & statement.keys()
        for action in as_list(statement["Action"]):
            for resource in as_list(statement["Resource"]):
                yield action, words(resource)


def collect_grants(role: str) -> set[tuple[str, str]]:
    """All that a role may do, from its own policies and those attached to it."""
    own = properties(role)
    assert "ManagedPolicyArns" not in own, "AWS's managed policies allow more than a function needs"
    documents = [policy["PolicyDocument"] for policy in own.get("Policies", [])]
    documents += [
        policy["Properties"]["PolicyDocument"]
        for policy in of_type("AWS::IAM::Policy").values()
        if {"Ref": role} in policy["Properties"]["Roles"] and "Condition" not in policy
    ]
    return {grant for document in documents for grant in grants(document["Statement"])}
