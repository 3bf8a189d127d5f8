"""getter's two ways in, direct invocation and the HTTP API, and one answer for both. Imports as little as can be."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from .errors import InvalidRequest
from .names import split_connection
from .reading import Reader

#: HTTP status of each error code; every other code is a 500.
_STATUS = {
    "invalid_request": 400,
    "invalid_name": 400,
    "unknown_connection": 404,
    "authorization_required": 409,
    "client_refused": 409,
    "paused": 409,
    "disconnected": 410,
    "temporarily_unavailable": 503,
}


def answer(reader: Reader, event: Mapping[str, Any]) -> dict[str, Any]:
    """Answer a direct request with a document or ``{"error": {...}}``, an HTTP one with a response (RFC 9457)."""
    by_http = "requestContext" in event
    try:
        document = reader.read(**(_http_request(event) if by_http else _request(event)))
    except InvalidRequest as error:
        document = {"error": error.as_dict()}
    return _response(document) if by_http else document


def _request(event: Mapping[str, Any]) -> dict[str, Any]:
    connection, min_ttl = event.get("connection"), event.get("min_ttl", 0)
    rejected = event.get("rejected")
    split_connection(connection)
    if isinstance(min_ttl, bool) or not isinstance(min_ttl, int) or min_ttl < 0:
        raise InvalidRequest("min_ttl must be a whole number of seconds.")
    if rejected is not None and not isinstance(rejected, str):
        raise InvalidRequest("rejected must be the fingerprint of the refused token.")
    return {"connection": connection, "min_ttl": min_ttl, "rejected": rejected}


def _http_request(event: Mapping[str, Any]) -> dict[str, Any]:
    path, query = event.get("pathParameters") or {}, event.get("queryStringParameters") or {}
    min_ttl = query.get("min_ttl", "0")
    return _request(
        {
            "connection": f"{path.get('provider', '')}/{path.get('account', '')}",
            "min_ttl": int(min_ttl) if min_ttl.isascii() and min_ttl.isdecimal() and len(min_ttl) < 10 else None,
            "rejected": query.get("rejected"),
        }
    )


def _response(document: Mapping[str, Any]) -> dict[str, Any]:
    error = document.get("error")
    headers = {"content-type": "application/json", "cache-control": "no-store"}
    if not error:
        return {"statusCode": 200, "headers": headers, "body": json.dumps(document)}
    status = _STATUS.get(error["code"], 500)
    headers["content-type"] = "application/problem+json"
    if "retry_after" in error:
        headers["retry-after"] = str(error["retry_after"])
    problem = {
        "type": f"urn:evergrant:error:{error['code']}",
        "title": error["message"],
        "status": status,
        "detail": error.get("hint", ""),
        **{name: error[name] for name in ("code", "retry_after") if name in error},
    }
    return {"statusCode": status, "headers": headers, "body": json.dumps(problem)}
