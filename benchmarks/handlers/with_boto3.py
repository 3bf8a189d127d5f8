"""One secret, read with boto3 and nothing else, at every call."""

import json
import os
from typing import Any

import boto3

_secrets = boto3.client("secretsmanager")


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    secret = json.loads(_secrets.get_secret_value(SecretId=os.environ["TOKEN_SECRET"])["SecretString"])
    return {"length": len(secret["access_token"])}
