"""IAM as a role meets it: each call to DynamoDB is checked against the template's policies, as AWS checks it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from botocore.exceptions import ClientError

from local.condition_keys import list_dynamodb_keys
from tests.adapters.cli_desk import AUTHORIZATIONS
from tests.adapters.hooks import on
from tests.template.stack import as_list, properties, words

#: The tables of these tests, as the template names them.
TABLES = {"records": "RecordsTable", AUTHORIZATIONS: "AuthorizationsTable"}


@dataclass
class Rights:
    """What a role may do with the tables. ``used`` are the Sids that allowed a call."""

    role: str
    used: set[str] = field(default_factory=set)

    def statements(self) -> Iterator[Mapping[str, Any]]:
        for policy in properties(f"{self.role}Role")["Policies"]:
            for statement in policy["PolicyDocument"]["Statement"]:
                if any(action.startswith("dynamodb:") for action in as_list(statement["Action"])):
                    yield statement

    def check(self, operation: str, request: Mapping[str, Any]) -> None:
        tables = request["RequestItems"] if operation == "BatchGetItem" else [request["TableName"]]
        for table in tables:
            resource = f"{TABLES[table]}.Arn"
            if "IndexName" in request:
                resource = f"${{{resource}}}/index/{request['IndexName']}"
            keys = list_dynamodb_keys(operation, request, table)
            allowing = [
                it["Sid"]
                for it in self.statements()
                if f"dynamodb:{operation}" in as_list(it["Action"])
                and resource in [words(one) for one in as_list(it["Resource"])]
                and all(_holds(operator, wanted, keys) for operator, wanted in it.get("Condition", {}).items())
            ]
            if not allowing:
                message = f"{self.role}: {operation} of {keys}"
                raise ClientError({"Error": {"Code": "AccessDeniedException", "Message": message}}, operation)
            self.used.update(allowing)


@contextmanager
def acting_as(role: str) -> Iterator[Rights]:
    """Refuse each call to DynamoDB that the role's policies do not allow."""
    rights = Rights(role)

    def check(params: dict[str, Any], model: Any, **_: Any) -> None:
        rights.check(model.name, params)

    with on("dynamodb", "provide-client-params.dynamodb", check):
        yield rights


def _holds(operator: str, wanted: Mapping[str, Any], keys: Mapping[str, Any]) -> bool:
    """Whether a condition block holds (IAM user guide, "Condition operators", "Multivalued context keys")."""
    qualifier, _, comparison = operator.rpartition(":")
    comparisons: dict[str, Callable[[str, str], bool]] = {"StringEquals": str.__eq__, "StringLike": fnmatchcase}
    compare = comparisons[comparison]
    for name, patterns in wanted.items():
        values = as_list(keys.get(name, []))
        matched = [any(compare(value, pattern) for pattern in as_list(patterns)) for value in values]
        if not (all(matched) if qualifier == "ForAllValues" else bool(matched) and all(matched)):
            return False
    return True
