"""Explain failures to operators and scripts: a stable code, what happened, what to do."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

from evergrant.errors import EvergrantError


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a command failed, and what to do. ``retry_after`` is in seconds."""

    code: str
    message: str
    hint: str = ""
    retry_after: int | None = None

    def as_dict(self) -> dict[str, Any]:
        shown = {"code": self.code, "message": self.message, "hint": self.hint, "retry_after": self.retry_after}
        return {name: value for name, value in shown.items() if value not in ("", None)}

    @classmethod
    def from_error(cls, error: dict[str, Any]) -> Problem:
        """Read the ``error`` of an answer of getter or rotator."""
        return cls(
            str(error.get("code", "error")),
            str(error.get("message", "")),
            str(error.get("hint", "")),
            error.get("retry_after"),
        )


class CommandFailed(Exception):
    """Ends the command with its problem and exit status 1."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


class WrongUsage(CommandFailed):
    """Ends the command with exit status 2: its arguments contradict each other, or one is missing."""

    def __init__(self, message: str) -> None:
        super().__init__(Problem("wrong_usage", message))


def explain(error: Exception) -> Problem | None:
    """Return the problem behind an exception; None for an unexpected one, which is a defect and shows its traceback."""
    if isinstance(error, CommandFailed):
        return error.problem
    if isinstance(error, EvergrantError):
        return Problem(error.code, error.message, error.hint, getattr(error, "retry_after", None))
    if "botocore" not in sys.modules:
        return None  # botocore is slow to import; if it is not loaded, it did not raise this
    from evergrant.ports import PortUnavailable

    if isinstance(error, PortUnavailable):
        known = _explain_aws(error.__cause__) if error.__cause__ else None
        return known or Problem("aws_error", f"AWS did not carry out the request: {error}.")
    return _explain_aws(error)


_ACCESS_DENIED = (
    "AccessDenied",
    "AccessDeniedException",
    "UnauthorizedOperation",
    "AuthorizationError",
    "KMSAccessDeniedException",
)
_EXPIRED = ("ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired")
_UNKNOWN_CREDENTIALS = (
    "InvalidClientTokenId",
    "UnrecognizedClientException",
    "SignatureDoesNotMatch",
    "InvalidSignatureException",
    "AuthFailure",
)


def _explain_aws(error: BaseException) -> Problem | None:
    from botocore import exceptions as aws

    match error:
        case aws.NoCredentialsError() | aws.PartialCredentialsError() | aws.CredentialRetrievalError():
            return Problem(
                "aws_no_credentials",
                "No AWS credentials were found.",
                "Sign in as you do for the AWS CLI (`aws sso login`, `aws configure`), or choose with --profile.",
            )
        case aws.SSOError() | aws.TokenRetrievalError():
            return Problem(
                "aws_signed_out", "The AWS sign-in has ended.", "Sign in again: `aws sso login`, with your --profile."
            )
        case aws.NoRegionError():
            return Problem(
                "aws_no_region",
                "No AWS Region is chosen.",
                "Give --region, set AWS_REGION, or put region into the AWS configuration.",
            )
        case aws.ProfileNotFound():
            return Problem("aws_no_profile", f"{error}.", "List them with `aws configure list-profiles`.")
        case aws.EndpointConnectionError() | aws.ConnectionError() | aws.HTTPClientError():
            return Problem(
                "aws_unreachable", f"AWS does not answer: {error}", "Check the network, --region and AWS_ENDPOINT_URL."
            )
        case aws.ClientError():
            return _explain_refusal(error)
        case aws.BotoCoreError():
            return Problem("aws_error", f"{error}")
    return None


def _explain_refusal(error: Any) -> Problem:
    answer = error.response.get("Error", {})
    code, text = str(answer.get("Code", "")), str(answer.get("Message", ""))
    if code in _ACCESS_DENIED:
        return Problem("aws_access_denied", f"Your AWS identity may not do this. {text}".strip())
    if code in _EXPIRED:
        return Problem(
            "aws_signed_out", "Your AWS credentials have expired.", "Sign in again, then repeat the command."
        )
    if code in _UNKNOWN_CREDENTIALS:
        return Problem(
            "aws_credentials_refused",
            "AWS does not accept these credentials.",
            "Check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or choose with --profile.",
        )
    return Problem("aws_error", f"AWS refused {error.operation_name} ({code}). {text}".strip())
