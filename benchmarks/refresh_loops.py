"""The alternatives to a rotator: loops that read a refresh token from a secret, refresh, and write it back."""

from __future__ import annotations

import json
import warnings
from typing import Any

import httpx


def refresh_by_hand(host: str, secrets: Any, number: int) -> None:
    """Read the secret, refresh, and write it back: the usual loop."""
    name = f"tokens/a{number}"
    held = json.loads(secrets.get_secret_value(SecretId=name)["SecretString"])
    form = {"grant_type": "refresh_token", "refresh_token": held["refresh_token"]}
    answer = httpx.post(f"http://{host}/token", data={**form, "client_id": "client", "client_secret": "secret"})
    answer.raise_for_status()
    secrets.put_secret_value(SecretId=name, SecretString=json.dumps(answer.json()))


def refresh_with_authlib(host: str, secrets: Any, number: int) -> None:
    """The same with Authlib's client."""
    with warnings.catch_warnings():
        import authlib.deprecate  # noqa: F401 - its import enables its warnings again

        warnings.simplefilter("ignore")
        from authlib.integrations.httpx_client import OAuth2Client
    name = f"tokens/a{number}"
    held = json.loads(secrets.get_secret_value(SecretId=name)["SecretString"])
    with OAuth2Client("client", "secret", token_endpoint_auth_method="client_secret_post") as oauth:
        token = oauth.refresh_token(f"http://{host}/token", refresh_token=held["refresh_token"])
    secrets.put_secret_value(SecretId=name, SecretString=json.dumps(dict(token)))
