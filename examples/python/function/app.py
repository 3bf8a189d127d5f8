"""Counts the contacts of a Keap account, with the access token that Evergrant keeps valid."""

from __future__ import annotations

import os
from typing import Any

import httpx

from evergrant_client.httpx import EvergrantAuth

# Made once for each execution environment: connections to the API are kept, and so is the token until it expires.
http = httpx.Client(base_url=os.environ["API_URL"], auth=EvergrantAuth(os.environ["CONNECTION"]), timeout=10.0)


def handler(event: dict[str, Any], context: object) -> dict[str, int]:
    """Return the number of contacts.

    Raises
    ------
    evergrant_client.TemporarilyUnavailable
        No valid token can be had now. Lambda retries an asynchronous invocation, and SQS redelivers a message.
    evergrant_client.ConnectionUnusable
        A person has to act first; the error says what happened and what to do.
    httpx.HTTPStatusError
        The API refused the call, after a rejected token was replaced and the call repeated once.
    """
    response = http.get("/crm/rest/v1/contacts", params={"limit": 1})
    response.raise_for_status()
    return {"contacts": response.json()["count"]}
