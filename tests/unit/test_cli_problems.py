"""Protects what an operator reads when AWS is in the way: a stable code and what to do, however deep the cause is."""

from __future__ import annotations

import pytest
from botocore import exceptions as aws

from evergrant.errors import EvergrantError, TemporarilyUnavailable, UnknownConnection
from evergrant.ports import PortUnavailable
from evergrant_cli.problems import CommandFailed, Problem, explain


def refusal(code: str) -> aws.ClientError:
    return aws.ClientError({"Error": {"Code": code, "Message": "As AWS says."}}, "Scan")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (aws.NoCredentialsError(), "aws_no_credentials"),
        (aws.NoRegionError(), "aws_no_region"),
        (aws.ProfileNotFound(profile="p"), "aws_no_profile"),
        (aws.UnauthorizedSSOTokenError(), "aws_signed_out"),
        (aws.SSOTokenLoadError(error_msg="x"), "aws_signed_out"),
        (aws.TokenRetrievalError(provider="sso", error_msg="x"), "aws_signed_out"),
        (aws.EndpointConnectionError(endpoint_url="https://x"), "aws_unreachable"),
        (aws.ReadTimeoutError(endpoint_url="https://x"), "aws_unreachable"),
        (aws.InvalidConfigError(error_msg="x"), "aws_error"),
        (refusal("AccessDeniedException"), "aws_access_denied"),
        (refusal("ExpiredToken"), "aws_signed_out"),
        (refusal("UnrecognizedClientException"), "aws_credentials_refused"),
        (refusal("ThrottlingException"), "aws_error"),
    ],
)
def test_a_failure_of_aws_has_one_code_wrapped_or_not(error: Exception, code: str) -> None:
    wrapped = PortUnavailable("reading the record")
    wrapped.__cause__ = error
    for given in (error, wrapped):
        problem = explain(given)
        assert problem is not None
        assert problem.code == code
        assert problem.message


def test_a_wrapper_without_a_known_cause_still_says_what_was_tried() -> None:
    problem = explain(PortUnavailable("reading the record: odd"))
    assert problem is not None
    assert "reading the record" in problem.message


def test_the_products_own_errors_keep_code_hint_and_waiting_time() -> None:
    unavailable = explain(TemporarilyUnavailable("Not now.", 30))
    assert unavailable is not None
    assert unavailable.as_dict() == TemporarilyUnavailable("Not now.", 30).as_dict()
    unknown: EvergrantError = UnknownConnection("keap/main")
    problem = explain(unknown)
    assert problem is not None
    assert problem.as_dict() == unknown.as_dict()


def test_a_failed_command_is_its_problem() -> None:
    problem = Problem("code", "message")
    assert explain(CommandFailed(problem)) is problem


def test_a_defect_has_no_explanation() -> None:
    assert explain(KeyError("x")) is None
