"""Writes the template with which CloudFormation takes up the tables and keys that a deleted stack has left.

A stack cannot create and import resources at once. So a first change set makes a stack of nothing but what is imported,
under the names of template.yaml, and a deployment of the whole template then updates it. docs/lifecycle.md has the
commands around it. Nothing is called here: `--template` and `--resources` are two files for the AWS CLI.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from samtranslator.yaml_helper import yaml_parse

TEMPLATE = Path(__file__).resolve().parents[1] / "template.yaml"
#: By type, the identifier under which CloudFormation imports a resource (its primary identifier in the schema).
IDENTIFIERS = {
    "AWS::DynamoDB::Table": "TableName",
    "AWS::KMS::Key": "KeyId",
    "AWS::SQS::Queue": "QueueUrl",
}
#: What a table is made of and cannot be given later. The deployment that follows sets the rest, as recovery and expiry:
#: a restored table has none of them, and CloudFormation sets only what differs from the template of the import.
_SHAPE = ("AttributeDefinitions", "BillingMode", "GlobalSecondaryIndexes", "KeySchema")


def find_kept(template: Mapping[str, Any]) -> dict[str, str]:
    """Map the logical id of each resource that outlives its stack to its type."""
    return {
        name: resource["Type"]
        for name, resource in template["Resources"].items()
        if str(resource.get("DeletionPolicy", "")).startswith("Retain")
    }


def build_import(
    template: Mapping[str, Any], existing: Mapping[str, str]
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Build the template of the import, and CloudFormation's list of what to import.

    Parameters
    ----------
    existing
        Maps logical ids to what exists: a table's name, a key's id, a queue's URL.
    """
    kept = find_kept(template)
    resources: dict[str, dict[str, Any]] = {}
    for name in existing:
        given = template["Resources"][name].get("Properties", {})
        properties = {field: given[field] for field in _SHAPE if field in given}
        resources[name] = {"Type": kept[name], "DeletionPolicy": "Retain", "UpdateReplacePolicy": "Retain"}
        if properties:
            resources[name]["Properties"] = properties
    imports = [
        {
            "ResourceType": kept[name],
            "LogicalResourceId": name,
            "ResourceIdentifier": {IDENTIFIERS[kept[name]]: identifier},
        }
        for name, identifier in existing.items()
    ]
    return {"AWSTemplateFormatVersion": "2010-09-09", "Resources": resources}, imports


def main(arguments: Sequence[str] | None = None) -> int:
    template = yaml_parse(TEMPLATE.read_text("utf-8"))
    kept = find_kept(template)
    parser = argparse.ArgumentParser(prog="python -m scripts.take_up", description=__doc__.splitlines()[0])
    parser.add_argument("--template", type=Path, default=Path("take-up-template.json"))
    parser.add_argument("--resources", type=Path, default=Path("take-up-resources.json"))
    for name, kind in kept.items():
        # The queue may be lost: the next deployment makes an empty one. Without a table or a key the grants are lost.
        parser.add_argument(f"--{name}", metavar=IDENTIFIERS[kind], required=kind != "AWS::SQS::Queue")
    options = vars(parser.parse_args(arguments))
    document, imports = build_import(template, {name: options[name] for name in kept if options[name]})
    options["template"].write_text(json.dumps(document, indent=2), "utf-8")
    options["resources"].write_text(json.dumps(imports, indent=2), "utf-8")
    print(f"Wrote {options['template']} and {options['resources']}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
