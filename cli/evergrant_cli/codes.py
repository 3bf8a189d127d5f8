"""The error codes in plain words: those of Evergrant and of RFC 6749; a provider may add its own."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from .provider_failures import describe_failure

#: Each reads after "could not be refreshed:".
_SENTENCES = {
    # of Evergrant
    "lost_response": "the provider's response was lost, or it failed (timeout, reset or 5xx); "
    "whether it used the refresh token is unknown",
    "not_sent": "the request never reached the provider",
    "unreadable_response": "the provider responded with success, but its profile finds no token in the response",
    "not_used": "the provider used nothing of the request",
    "rate_limited": "the provider asks for fewer requests",
    "transient": "the provider could not respond for the moment",
    "malformed": "the provider finds the request malformed",
    "client_rejected": "the provider does not accept the client's credentials",
    "grant_rejected": "the provider no longer accepts the grant",
    "client_unauthorized": "the provider does not allow the client to use this grant",
    "not_reached": "something in front of the provider responded, such as a proxy or a firewall",
    "unclear": "the provider failed, and whether it used the refresh token is unknown",
    "rejected_unknown": "the provider refused, and did not say whether for the grant or the client",
    "expired_on_arrival": "its access tokens had expired when they came, several times in a row; "
    "they are used for the lifetime that its profile assumes",
    "service_unavailable": "a service of AWS that is needed did not answer",
    "no_refresh_token": "there is no refresh token to refresh with",
    "key_expired": "the pasted key has expired",
    "key_refused": "the provider's API refuses the pasted key",
    "unknown_client": "the client's credentials are not stored",
    "unknown_profile": "the profile it was connected with is gone",
    "invalid_client_entry": "the stored entry of the client cannot be used: a field is missing, or holds a line break",
    "invalid_variable": "a variable of the profile is missing, or does not match its pattern",
    "invalid_profile": "its profile cannot be used",
    "seal_broken": "the sealed token set does not open",
    "unpublished": "Secrets Manager does not take its new token, and the secret still holds an older one",
    # of RFC 6749, section 5.2 and 4.1.2.1
    "invalid_grant": "the provider no longer accepts the grant",
    "invalid_client": "the provider does not accept the client's credentials",
    "unauthorized_client": "the provider does not allow the client to use this grant",
    "invalid_request": "the provider finds the request malformed",
    "invalid_scope": "the provider does not accept the scope",
    "unsupported_grant_type": "the provider does not know this kind of grant",
    "server_error": "the provider failed",
    "temporarily_unavailable": "the provider is overloaded or under maintenance",
}


#: Of a step at the connect pages, for the operator who sent the link.
_LINK_PROBLEMS = {
    "access_denied": "the link was opened, and access was denied at the provider",
    "not_finished": "the link was opened, but the person did not sign in, or did not choose, at the provider",
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
    if code == "provider_refused" and failure:
        return f"the link was opened, but {describe_failure(failure)}"
    return _LINK_PROBLEMS.get(code, f"the link was opened, but the account was not connected ({code})").format(
        client=client
    )


def describe_code(code: str | None) -> str:
    """Describe an error code in words, with the code itself after them."""
    if code is None:
        return "no reason is recorded"
    return f"{_SENTENCES.get(code, 'the provider refused, in words of its own')} ({code})"
