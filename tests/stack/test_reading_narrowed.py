"""Protects consumers that are trusted with one connection: they read it by its secret and by its path of the API, with
the policy that docs/reading.md shows, and read nothing else."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import httpx
import pytest
import yaml
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from local.aws import REGION
from local.browser import Page
from local.tools import ROOT
from local.world import World
from tests.stack.deployed import read_document

#: Makes a client of a service that acts as the narrowed consumer.
Narrowed = Callable[[str], Any]


class Template(yaml.SafeLoader):
    """CloudFormation's short forms, taken for what they will be: text."""


def policy(values: dict[str, str]) -> dict[str, Any]:
    """The page's policy for one connection, as CloudFormation would make it in this stack."""
    page = (ROOT / "docs" / "reading.md").read_text("utf-8")
    section = page.split("\n## Only one connection\n", 1)[1]
    text = re.findall(r"```yaml\n(.*?)```", section, re.DOTALL)[0]

    def substituted(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> str:
        return re.sub(r"\$\{([\w:]+)\}", lambda name: values[name[1]], str(loader.construct_scalar(node)))

    Template.add_constructor("!Sub", substituted)
    Template.add_constructor("!Ref", lambda _, node: values[node.value])
    document: dict[str, Any] = yaml.load(text, Template)  # noqa: S506 - a SafeLoader
    return document


@pytest.fixture(scope="module")
def credentials(world: World) -> Credentials:
    """A consumer that has the policy of docs/reading.md for keap/main."""
    account = world.aws.client("sts").get_caller_identity()["Account"]
    pseudo = {"Partition": "aws", "Region": REGION, "AccountId": account, "URLSuffix": "amazonaws.com"}
    values = {f"AWS::{name}": value for name, value in pseudo.items()} | dict(world.stack.outputs)
    iam, name = world.aws.client("iam"), "narrowed"
    iam.create_user(UserName=name)
    iam.put_user_policy(UserName=name, PolicyName="one-connection", PolicyDocument=json.dumps(policy(values)))
    key = iam.create_access_key(UserName=name)["AccessKey"]
    return Credentials(key["AccessKeyId"], key["SecretAccessKey"])


@pytest.fixture(scope="module")
def narrowed(world: World, credentials: Credentials) -> Narrowed:
    key = {"aws_access_key_id": credentials.access_key, "aws_secret_access_key": credentials.secret_key}
    return lambda service: world.aws.client(service, **key)


@pytest.fixture
def get(world: World, credentials: Credentials) -> Callable[[str], httpx.Response]:
    """Ask the API by a signed GET."""

    def signed(path: str) -> httpx.Response:
        request = AWSRequest("GET", f"{world.stack.api_url}{path}")
        SigV4Auth(credentials, "execute-api", REGION).add_auth(request)
        return httpx.get(str(request.url), headers=dict(request.headers), timeout=40)

    return signed


def test_it_reads_its_token_by_the_secret_as_plain_readers_and_caches_do(
    world: World, keap: Page, narrowed: Narrowed
) -> None:
    secrets = narrowed("secretsmanager")
    read = json.loads(secrets.get_secret_value(SecretId="evergrant/tokens/keap/main")["SecretString"])
    assert read == read_document(world, "keap/main")
    assert secrets.describe_secret(SecretId="evergrant/tokens/keap/main")["VersionIdsToStages"]
    answer = httpx.get(str(world.providers["keap"].urls()["api_url"]), headers=read["headers"])
    assert answer.status_code == 200


def test_it_reads_its_token_by_its_path_of_the_api(
    world: World, keap: Page, get: Callable[[str], httpx.Response]
) -> None:
    answer = get("/tokens/keap/main?min_ttl=30")
    assert answer.status_code == 200
    assert answer.json()["access_token"] == read_document(world, "keap/main")["access_token"]
    assert answer.headers["cache-control"] == "no-store"


def test_a_parameter_that_getter_does_not_know_is_a_problem_that_says_so(
    keap: Page, get: Callable[[str], httpx.Response]
) -> None:
    answer = get("/tokens/keap/main?minttl=30")
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == "invalid_request"
    assert "min_ttl" in answer.json()["hint"]


@pytest.mark.parametrize("path", ["/tokens/wealthyhood/main", "/tokens/keap/refused", "/tokens/keap/main2"])
def test_it_reads_no_other_token_by_the_api(
    keap: Page, wealthyhood: None, path: str, get: Callable[[str], httpx.Response]
) -> None:
    assert get(path).status_code == 403


Try = Callable[[World, Narrowed], object]


def other_token(world: World, narrowed: Narrowed) -> object:
    return narrowed("secretsmanager").get_secret_value(SecretId="evergrant/tokens/wealthyhood/main")


def token_of_a_similar_name(world: World, narrowed: Narrowed) -> object:
    return narrowed("secretsmanager").get_secret_value(SecretId="evergrant/tokens/keap/refused")


def client_entry(world: World, narrowed: Narrowed) -> object:
    return narrowed("secretsmanager").get_secret_value(SecretId="evergrant/clients/keap")


def write_its_own_token(world: World, narrowed: Narrowed) -> object:
    return narrowed("secretsmanager").put_secret_value(SecretId="evergrant/tokens/keap/main", SecretString="{}")


def record(world: World, narrowed: Narrowed) -> object:
    key = {"pk": {"S": "connection#keap/main"}}
    return narrowed("dynamodb").get_item(TableName=world.stack.outputs["RecordsTableName"], Key=key)


def all_records(world: World, narrowed: Narrowed) -> object:
    return narrowed("dynamodb").scan(TableName=world.stack.outputs["RecordsTableName"])


def getter(world: World, narrowed: Narrowed) -> object:
    payload = b'{"connection": "keap/main"}'
    return narrowed("lambda").invoke(FunctionName=world.stack.outputs["GetterFunctionArn"], Payload=payload)


def rotator(world: World, narrowed: Narrowed) -> object:
    payload = b'{"connection": "keap/main", "force": true}'
    return narrowed("lambda").invoke(FunctionName=world.stack.outputs["RotatorFunctionArn"], Payload=payload)


def vault_key(world: World, narrowed: Narrowed) -> object:
    return narrowed("kms").generate_data_key(KeyId=world.stack.outputs["VaultKeyArn"], KeySpec="AES_256")


ATTEMPTS: list[Try] = [
    *(other_token, token_of_a_similar_name, client_entry, write_its_own_token),
    *(record, all_records, getter, rotator, vault_key),
]


@pytest.mark.parametrize("attempt", ATTEMPTS, ids=[attempt.__name__ for attempt in ATTEMPTS])
def test_it_is_refused_everything_else(
    world: World, keap: Page, wealthyhood: None, narrowed: Narrowed, attempt: Try
) -> None:
    with pytest.raises(ClientError) as refusal:
        attempt(world, narrowed)
    assert refusal.value.response["Error"]["Code"] in {"AccessDenied", "AccessDeniedException"}


@pytest.mark.parametrize("attempt", ATTEMPTS, ids=[attempt.__name__ for attempt in ATTEMPTS])
def test_the_same_attempt_is_possible_for_who_may(world: World, keap: Page, wealthyhood: None, attempt: Try) -> None:
    """So that a refusal above is one by IAM, and not a mistake in how it was tried."""
    if attempt not in (write_its_own_token, rotator):  # which would change what other tests look at
        assert attempt(world, world.aws.client)
