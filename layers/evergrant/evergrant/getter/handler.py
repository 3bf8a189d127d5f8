"""Answer getter's requests, by direct invocation and by the HTTP API. Imports as little as possible."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from ..errors import InvalidRequest
from ..names import MAX_REQUEST_SECONDS, split_connection
from .token_reader import TokenReader

#: HTTP status and problem title of each error code. Every other code is a 500.
_PROBLEMS = {
    "invalid_request": (400, "The request cannot be read."),
    "invalid_name": (400, "The request names no connection."),
    "unknown_connection": (404, "There is no such connection."),
    "authorization_required": (409, "The account's owner must authorize the connection again."),
    "client_refused": (409, "The provider refuses the connection's client."),
    "paused": (409, "The connection is paused."),
    "disconnected": (410, "The connection was disconnected."),
    "temporarily_unavailable": (503, "No valid token is available now."),
}
_FINGERPRINT = re.compile(r"[0-9a-f]{16}")
_SECONDS = re.compile(r"[0-9]{1,9}")


def handle_event(reader: TokenReader, event: object) -> dict[str, Any]:
    """Answer a direct request with a document or ``{"error": {...}}``, an HTTP one with a response (RFC 9457)."""
    by_http = isinstance(event, dict) and "requestContext" in event
    try:
        document = reader.read(**(_read_http_request(event) if by_http else _read_request(event)))
    except InvalidRequest as error:
        document = {"error": error.as_dict()}
    return _build_response(document) if by_http else document


def _read_request(event: object) -> dict[str, Any]:
    if not isinstance(event, dict):
        raise InvalidRequest("The request is not an object.", 'Write {"connection": "provider/account"}.')
    connection, min_ttl = event.get("connection"), event.get("min_ttl", 0)
    rejected = event.get("rejected")
    _refuse_unknown(event, "field", ("connection", "min_ttl", "rejected"))
    split_connection(connection)
    if isinstance(min_ttl, bool) or not isinstance(min_ttl, int) or not 0 <= min_ttl <= MAX_REQUEST_SECONDS:
        raise InvalidRequest(
            f"min_ttl must be a whole number of seconds, at most {MAX_REQUEST_SECONDS}.", "Write min_ttl as 60."
        )
    if rejected is not None and not (isinstance(rejected, str) and _FINGERPRINT.fullmatch(rejected)):
        # The value is not repeated: it may be the token itself.
        raise InvalidRequest(
            "rejected must be the fingerprint of the refused token.",
            "That is the first 16 hexadecimal digits, in lower case, of the SHA-256 of the token; never the token.",
        )
    return {"connection": connection, "min_ttl": min_ttl, "rejected": rejected}


def _read_http_request(event: Any) -> dict[str, Any]:
    path, query = (event.get(name) or {} for name in ("pathParameters", "queryStringParameters"))
    if not isinstance(path, dict) or not isinstance(query, dict):
        raise InvalidRequest("The request has no path and query that can be read.")
    _refuse_unknown(query, "query parameter", ("min_ttl", "rejected"))
    min_ttl = query.get("min_ttl", "0")
    return _read_request(
        {
            "connection": f"{path.get('provider', '')}/{path.get('account', '')}",
            "min_ttl": int(min_ttl) if isinstance(min_ttl, str) and _SECONDS.fullmatch(min_ttl) else None,
            "rejected": query.get("rejected"),
        }
    )


def _refuse_unknown(given: Mapping[str, Any], kind: str, known: tuple[str, ...]) -> None:
    """Refuse unknown names: with a misspelt min_ttl the caller would get a token that expires too soon."""
    if not given.keys() <= set(known):
        raise InvalidRequest(f"The request has a {kind} that getter does not know.", f"It knows {', '.join(known)}.")


def _build_response(document: Mapping[str, Any]) -> dict[str, Any]:
    error = document.get("error")
    headers = {"content-type": "application/json", "cache-control": "no-store"}
    if not error:
        return {"statusCode": 200, "headers": headers, "body": json.dumps(document)}
    status, title = _PROBLEMS.get(error["code"], (500, "The token is not available."))
    headers["content-type"] = "application/problem+json"
    if "retry_after" in error:
        headers["retry-after"] = str(error["retry_after"])
    # RFC 9457 section 3.1: the title is that of the type, the detail that of this occurrence.
    problem = {
        "type": f"urn:evergrant:error:{error['code']}",
        "title": title,
        "status": status,
        "detail": error["message"],
        **{name: error[name] for name in ("code", "hint", "retry_after") if name in error},
    }
    return {"statusCode": status, "headers": headers, "body": json.dumps(problem)}
