"""A function that keeps its token alive by itself: reads its refresh token, refreshes with Authlib, writes back."""

import json
import os
from typing import Any

import boto3
from authlib.integrations.httpx_client import OAuth2Client

_secrets = boto3.client("secretsmanager")
_token: Any = None


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    global _token
    if _token is None or _token.is_expired():
        name = os.environ["REFRESH_SECRET"]
        held = json.loads(_secrets.get_secret_value(SecretId=name)["SecretString"])
        with OAuth2Client("client", "secret", token_endpoint_auth_method="client_secret_post") as oauth:
            _token = oauth.refresh_token(os.environ["TOKEN_ENDPOINT"], refresh_token=held["refresh_token"])
        _secrets.put_secret_value(SecretId=name, SecretString=json.dumps(dict(_token)))
    return {"length": len(_token["access_token"])}
