"""Protects the local run from serving other routes than the template declares: all of them, or an error."""

from __future__ import annotations

from typing import Any

import pytest

from local.routes import Route, parse_routes
from local.tools import LocalRunError

URI = "arn:${AWS::Partition}:apigateway:${AWS::Region}:lambda:path/2015-03-31/functions/${%s.Arn}/invocations"


def operation(function: str, security: list[dict[str, list[str]]] | None = None) -> dict[str, Any]:
    described: dict[str, Any] = {"x-amazon-apigateway-integration": {"uri": {"Fn::Sub": URI % function}}}
    return described if security is None else described | {"security": security}


def test_every_operation_becomes_a_route_to_its_function() -> None:
    body = {
        "paths": {
            "/connect/{ticket}": {"get": operation("Callback"), "post": operation("Callback")},
            "/tokens/{provider}/{account}": {"get": operation("Getter", [{"AWS_IAM": []}])},
            "/any": {"x-amazon-apigateway-any-method": operation("Getter")},
        }
    }

    assert list(parse_routes(body)) == [
        Route("GET", "/connect/{ticket}", "Callback", iam=False),
        Route("POST", "/connect/{ticket}", "Callback", iam=False),
        Route("GET", "/tokens/{provider}/{account}", "Getter", iam=True),
        Route("ANY", "/any", "Getter", iam=False),
    ]


def test_an_authorizer_it_does_not_know_is_an_error_and_not_an_open_route() -> None:
    body = {"paths": {"/tokens": {"get": operation("Getter", [{"SomeJwt": []}])}}}

    with pytest.raises(LocalRunError, match="cannot make get /tokens"):
        list(parse_routes(body))


def test_an_integration_that_is_no_function_is_an_error() -> None:
    body = {"paths": {"/tokens": {"get": {"x-amazon-apigateway-integration": {"uri": "https://example.com"}}}}}

    with pytest.raises(LocalRunError, match="cannot make get /tokens"):
        list(parse_routes(body))
