"""The error codes in plain words: of a connection's record, and of the connect pages."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from evergrant.record.connection import Connection
from evergrant.record.error_words import describe_code as describe_code
from evergrant.record.status import Status

from .provider_failures import describe_failure

#: Codes after which the provider may have used the refresh token.
_IN_DOUBT = frozenset({"lost_response", "unclear", "server_error", "temporarily_unavailable"})
#: Of a step at the connect pages, for the operator who sent the link.
_LINK_PROBLEMS = {
    "access_denied": "the link was opened, and access was denied at the provider",
    "not_finished": "the link was opened, but the person did not sign in, or did not choose, at the provider",
    "too_many_attempts": "the link, or this connection today, was tried too often; make a new link when you know why",
    "wrong_provider": "the link was opened, but the answer came from another provider than the one asked",
    "wrong_account": "the link was opened with another account than the one connected before",
    "no_refresh_token": "the link was opened, but the provider gave no refresh token; its profile may say why",
    "link_used": "the browser came back from the provider twice",
    "provider_refused": "the link was opened, but the provider refused the authorization",
    "link_invalid": "the connection was removed or disconnected meanwhile",
    "unknown_client": "the link was opened, but the credentials of client {client} are not stored",
    "invalid_client_entry": "the link was opened, but the stored entry of client {client} cannot be used for this",
    "invalid_variable": "the link was opened, but a variable of the profile is missing or does not match its pattern",
    "unknown_profile": "the link was opened, but the provider's profile is gone",
}


def describe_link_problem(code: str, client: str, failure: Mapping[str, Any] = MappingProxyType({})) -> str:
    """Describe why an attempt to use a link failed, and how, where it did at the provider."""
    if code in ("provider_refused", "wrong_provider") and failure:
        return f"the link was opened, but {describe_failure(failure)}"
    return _LINK_PROBLEMS.get(code, f"the link was opened, but the account was not connected ({code})").format(
        client=client
    )


def describe_expiry_doubt(connection: Connection) -> str:
    """Say why the lifetime that the provider states is not believed; empty where it is."""
    if connection.expiry_doubt == "not_credible":
        return "the lifetime that its provider states is not credible, so a likelier one is assumed"
    if connection.expiry_doubt == "expired":
        return "its access token had expired when it came, as its provider states it"
    return ""


def describe_last_error(connection: Connection) -> str:
    """Describe the last error of a connection. What became of a refresh token is said only where that is unknown."""
    code = connection.last_error
    is_refusal = connection.status is Status.CLIENT_REFUSED or connection.rejected_code == code
    is_in_doubt = connection.in_doubt_since is not None or connection.unclear_at is not None
    return describe_code(
        code,
        connection.last_status,
        connection.last_detail,
        is_refusal=is_refusal,
        is_token_in_doubt=is_in_doubt
        and (code in _IN_DOUBT or (not is_refusal and (connection.last_status or 0) >= 500)),
    )
