"""What went wrong, as an operator and a script see it: a stable code, what happened, what to do."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

from evergrant.errors import EvergrantError


@dataclass(frozen=True, slots=True)
class Problem:
    """``retry_after`` is in seconds."""

    code: str
    message: str
    hint: str = ""
    retry_after: int | None = None

    def as_dict(self) -> dict[str, Any]:
        shown = {"code": self.code, "message": self.message, "hint": self.hint, "retry_after": self.retry_after}
        return {name: value for name, value in shown.items() if value not in ("", None)}

    @classmethod
    def from_error(cls, error: dict[str, Any]) -> Problem:
        """The ``error`` of an answer of getter or rotator."""
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
    """Ends the command with exit status 2: what was asked contradicts itself, or something is missing."""

    def __init__(self, message: str) -> None:
        super().__init__(Problem("wrong_usage", message))


def explain(error: Exception) -> Problem | None:
    """The problem behind an exception, None for one that nobody foresaw: that is a defect, and shows its traceback."""
    if isinstance(error, CommandFailed):
        return error.problem
    if isinstance(error, EvergrantError):
        return Problem(error.code, error.message, error.hint, getattr(error, "retry_after", None))
    if "botocore" not in sys.modules:
        return None  # what was never loaded has not raised this, and is not loaded for a mistyped option
    from evergrant.ports import PortUnavailable

    if isinstance(error, PortUnavailable):
        known = _explain_aws(error.__cause__) if error.__cause__ else None
        return known or Problem("aws_error", f"AWS did not do what was asked: {error}.")
    return _explain_aws(error)


_NO_ACCESS = (
    "AccessDenied",
    "AccessDeniedException",
    "UnauthorizedOperation",
    "AuthorizationError",
    "KMSAccessDeniedException",
)
_NO_LONGER_VALID = ("ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired")
_NOT_KNOWN = (
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
    code, said = str(answer.get("Code", "")), str(answer.get("Message", ""))
    if code in _NO_ACCESS:
        return Problem("aws_access_denied", f"Your AWS identity may not do this. {said}".strip())
    if code in _NO_LONGER_VALID:
        return Problem("aws_signed_out", "Your AWS credentials have expired.", "Sign in again, then repeat this.")
    if code in _NOT_KNOWN:
        return Problem(
            "aws_credentials_refused",
            "AWS does not accept these credentials.",
            "Check AWS_ACCESS_KEY_ID and its fellows, or choose with --profile.",
        )
    return Problem("aws_error", f"AWS refused {error.operation_name} ({code}). {said}".strip())
