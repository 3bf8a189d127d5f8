"""The codes of what went wrong, in plain words. Ours, RFC 6749's, and whatever else a provider says."""

from __future__ import annotations

#: Each reads after "could not be refreshed:".
_SENTENCES = {
    # of Evergrant
    "lost_response": "the provider's answer was lost or it failed (timeout, reset or 5xx); "
    "whether it used the refresh token is unknown",
    "not_sent": "the request never reached the provider",
    "unreadable_response": "the provider answered with success, but its profile finds no token in the answer",
    "rate_limited": "the provider asks for fewer requests",
    "transient": "the provider could not answer for the moment",
    "malformed": "the provider finds the request malformed",
    "client_rejected": "the provider does not accept the client's credentials",
    "grant_rejected": "the provider no longer accepts the grant",
    "rejected_unknown": "the provider refused, and did not say whether for the grant or the client",
    "service_unavailable": "a service of AWS that is needed did not answer",
    "no_refresh_token": "there is no refresh token to refresh with",
    "key_expired": "the pasted key has lapsed",
    "key_refused": "the provider's API refuses the pasted key",
    "unknown_client": "nobody has stored the client's credentials",
    "unknown_profile": "the profile it was connected with is gone",
    "invalid_client_entry": "the stored entry of the client cannot be used",
    "invalid_variable": "a variable of the profile is missing, or does not match its pattern",
    "invalid_profile": "its profile cannot be used",
    "seal_broken": "the sealed token set does not open",
    "unpublished": "Secrets Manager does not take its new token, and whoever reads the secret gets an older one",
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


#: Of a step at the connect pages, as whoever sent the link reads it.
_STEPS = {
    "access_denied": "somebody opened the link and chose not to allow access",
    "wrong_account": "somebody opened the link, and signed in with another account than the one connected before",
    "no_refresh_token": "somebody opened the link, but the provider gave no refresh token; its profile may say why",
    "link_used": "somebody came back from the provider twice",
    "provider_refused": "somebody opened the link, but the provider refused the authorization",
    "link_invalid": "the connection was removed or disconnected meanwhile",
    "unknown_client": "somebody opened the link, but nobody has stored the credentials of client {client}",
    "invalid_client_entry": "somebody opened the link, but the stored entry of client {client} cannot be used for this",
    "invalid_variable": "somebody opened the link, but a variable of the profile is missing or not as it must be",
    "unknown_profile": "somebody opened the link, but the provider's profile is gone",
}


def describe_link_problem(code: str, client: str) -> str:
    """What became of an attempt to use a link, in words."""
    return _STEPS.get(code, f"somebody opened the link, and it failed ({code})").format(client=client)


def describe_code(code: str | None) -> str:
    """A code in words, with the code itself after them."""
    if code is None:
        return "no reason is recorded"
    return f"{_SENTENCES.get(code, 'the provider refused, in words of its own')} ({code})"
