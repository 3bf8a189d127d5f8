"""The emulator, started with what it lacks of IAM: the condition keys of :mod:`local.condition_keys`.

It runs with the emulator's own interpreter and packages. A plain connection to it counts as TLS, which it does not
have, unless the request says ``X-Forwarded-Proto: http``.
"""

from __future__ import annotations

import importlib
import json
import sys
from contextvars import ContextVar
from pathlib import Path
from typing import Any

# The directory of this file would hide packages of the emulator.
sys.path[0] = str(Path(__file__).resolve().parent.parent)
from local.condition_keys import list_dynamodb_keys, list_kms_keys  # noqa: E402

#: Where the body of a request is on its way to the check. No condition key has this name.
_BODY = "body"


def add_condition_keys() -> None:
    """Have each request to DynamoDB and KMS checked with its condition keys.

    Raises
    ------
    AttributeError
        This version of the emulator has no such functions: see its code.
    """
    actions: Any = importlib.import_module("ministack.core.iam_actions")
    evaluator: Any = importlib.import_module("ministack.core.iam_evaluator")
    find_tags, enforce = actions.request_tag_context, evaluator.enforce

    def find_context(service: str, action: str, body: bytes, parameters: Any) -> dict[str, Any]:
        found: dict[str, Any] = find_tags(service, action, body, parameters)
        return {**found, _BODY: body} if service in {"dynamodb", "kms"} else found

    def check(
        key_id: str,
        action: str,
        service: str,
        region: str,
        resource_arn: str = "*",
        service_context: dict[str, Any] | None = None,
    ) -> Any:
        context = dict(service_context or {})
        if (body := context.pop(_BODY, None)) is not None:
            context |= _list_keys(action, json.loads(body or b"{}"), resource_arn)
        return enforce(key_id, action, service, region, resource_arn=resource_arn, service_context=context)

    actions.request_tag_context, evaluator.enforce = find_context, check


def take_plain_connections_for_tls() -> None:
    """Let ``aws:SecureTransport`` be true of a request that does not say that it came by plain HTTP."""
    app: Any = importlib.import_module("ministack.app")
    evaluator: Any = importlib.import_module("ministack.core.iam_evaluator")
    is_plain: ContextVar[bool] = ContextVar("is_plain", default=False)
    respond, pin = app.app, app.pin_request_origin

    async def respond_over_tls(scope: Any, receive: Any, send: Any) -> None:
        is_plain.set((b"x-forwarded-proto", b"http") in [tuple(header) for header in scope.get("headers", ())])
        await respond(scope, receive, send)

    app.app = respond_over_tls
    app.pin_request_origin = lambda address, _: pin(address, not is_plain.get())
    # What the emulator does by itself, outside of any request.
    evaluator._request_origin = ContextVar("request_origin", default=("127.0.0.1", True))


def _list_keys(action: str, request: dict[str, Any], resource_arn: str) -> dict[str, Any]:
    service, _, operation = action.partition(":")
    if service == "kms":
        return list_kms_keys(request)
    table = resource_arn.rpartition(":table/")[2].partition("/")[0]
    return list_dynamodb_keys(operation, request, table)


if __name__ == "__main__":
    add_condition_keys()
    take_plain_connections_for_tls()
    importlib.import_module("ministack.app").main()
