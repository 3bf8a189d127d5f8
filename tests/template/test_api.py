"""Protects the HTTP API: its routes and who may call them, its throttle, and a log without paths or queries."""

from __future__ import annotations

import json
import re

from tests.template.stack import as_list, of_type, properties, read_template, translate_template, words

OPEN, IAM = "open", "IAM"


def routes() -> dict[str, tuple[str, str]]:
    """Route key to (function, who may call it)."""
    found = {}
    for path, operations in properties("Api")["Body"]["paths"].items():
        for method, operation in operations.items():
            uri = words(operation["x-amazon-apigateway-integration"]["uri"])
            function = re.search(r"\$\{(\w+)Function\.Arn\}", uri)
            assert function is not None
            security = operation.get("security", [])
            assert security in ([], [{"AWS_IAM": []}])
            method = "ANY" if method == "x-amazon-apigateway-any-method" else method.upper()
            found[f"{method} {path}"] = (function[1], IAM if security else OPEN)
    return found


def test_the_api_has_these_routes_and_no_others() -> None:
    assert routes() == {
        "ANY /connect/{ticket}": ("Callback", OPEN),
        "ANY /callback": ("Callback", OPEN),
        "ANY /callback/{provider}": ("Callback", OPEN),
        "GET /tokens/{provider}/{account}": ("Getter", IAM),
    }


def test_every_route_is_throttled() -> None:
    (stage,) = of_type("AWS::ApiGatewayV2::Stage").values()
    settings = stage["Properties"]["DefaultRouteSettings"]
    assert words(settings["ThrottlingRateLimit"]) == "ApiRateLimit"
    assert words(settings["ThrottlingBurstLimit"]) == "ApiBurstLimit"
    assert "RouteSettings" not in stage["Properties"]


def test_the_access_log_names_the_route_and_never_path_query_or_caller() -> None:
    (stage,) = of_type("AWS::ApiGatewayV2::Stage").values()
    settings = stage["Properties"]["AccessLogSettings"]
    assert words(settings["DestinationArn"]) == "ApiLogs.Arn"
    line = json.loads(settings["Format"])
    assert set(line.values()) == {
        "$context.requestTimeEpoch",
        "$context.requestId",
        "$context.routeKey",
        "$context.status",
        "$context.responseLatency",
        "$context.integrationStatus",
        "$context.error.message",
        "$context.integrationErrorMessage",
        "$context.authorizer.error",
    }


def test_awss_own_address_is_closed_beside_a_domain() -> None:
    """Else callers could go past what stands before that domain (API Gateway guide, "Disable the default endpoint")."""
    (server,) = properties("Api")["Body"]["servers"]
    configuration = server["x-amazon-apigateway-endpoint-configuration"]
    assert configuration == {"disableExecuteApiEndpoint": {"Fn::If": ["HasDomain", True, False]}}


def test_a_warning_does_not_roll_the_stack_back() -> None:
    """SAM's paths name parameters without a schema, which may be one (serverless-application-model#2297)."""
    assert "FailOnWarnings" not in properties("Api")


def test_functions_behind_the_api_give_up_before_it_does() -> None:
    for function in ("Callback", "Getter"):
        assert properties(f"{function}Function")["Timeout"] < 30


def test_the_own_domain_is_made_on_request_and_needs_a_certificate() -> None:
    """The stack makes its own domain only when asked for it, and then demands a certificate."""
    for name in ("ApiDomain", "ApiDomainMapping"):
        assert translate_template()[name]["Condition"] == "HasDomain"
    assert translate_template()["ApiDomainRecord"]["Condition"] == "HasDnsRecord"
    assert "HasDomain" in json.dumps(read_template()["Conditions"]["HasDnsRecord"])
    (assertion,) = read_template()["Rules"]["DomainNeedsCertificate"]["Assertions"]
    assert "CertificateArn" in json.dumps(assertion["Assert"])
    assert "redirect URI" in read_template()["Parameters"]["DomainName"]["Description"]


def test_the_own_domain_speaks_current_tls_only() -> None:
    (configuration,) = as_list(properties("ApiDomain")["DomainNameConfigurations"])
    assert configuration["SecurityPolicy"] == "TLS_1_2"


def test_no_function_depends_on_the_api_whose_events_it_serves() -> None:
    for function in of_type("AWS::Lambda::Function").values():
        environment = json.dumps(function["Properties"]["Environment"])
        assert '"Api"' not in environment
        assert "${Api}" not in environment
