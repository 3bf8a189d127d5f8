"""Protects evergrant_client against the deployed stack, where IAM lets its consumer do no more than one thing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest

from evergrant_client import AccessDenied, Evergrant, UnknownConnection
from local.aws import REGION
from local.browser import Page
from local.world import World
from tests.stack.deployed import read_document


@pytest.fixture
def one_path(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[Evergrant]:
    """The client of a consumer that may call the paths of two connections, one of which does not exist."""
    iam, name = world.aws.client("iam"), "calls-two-paths"
    iam.create_user(UserName=name)
    api = f"arn:aws:execute-api:{REGION}:*:{world.stack.outputs['ApiId']}/*/GET/tokens"
    statement = {
        "Effect": "Allow",
        "Action": "execute-api:Invoke",
        "Resource": [f"{api}/keap/main", f"{api}/keap/absent"],
    }
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    iam.put_user_policy(UserName=name, PolicyName="read", PolicyDocument=document)
    key = iam.create_access_key(UserName=name)["AccessKey"]
    session: Any = boto3.Session(key["AccessKeyId"], key["SecretAccessKey"], region_name=REGION)
    monkeypatch.setenv("AWS_ENDPOINT_URL", world.aws.endpoint)
    monkeypatch.setenv("EVERGRANT_ALLOW_LOOPBACK", "true")
    yield Evergrant(getter=world.stack.api_url, read_secrets=False, session=session)
    iam.delete_access_key(UserName=name, AccessKeyId=key["AccessKeyId"])
    iam.delete_user_policy(UserName=name, PolicyName="read")
    iam.delete_user(UserName=name)


def test_consumer_of_one_path_is_served_by_it_and_by_no_other(
    world: World, keap: Page, wealthyhood: None, one_path: Evergrant
) -> None:
    assert one_path.token("keap/main") == read_document(world, "keap/main")["access_token"]
    with pytest.raises(AccessDenied, match="GET/tokens/wealthyhood/main"):
        one_path.token("wealthyhood/main")
    with pytest.raises(UnknownConnection):
        one_path.token("keap/absent")
