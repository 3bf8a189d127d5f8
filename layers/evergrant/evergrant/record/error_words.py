"""The error codes of a record in plain words, for alerts and for the operator's command. Pure.

Each sentence reads after "could not be refreshed:". The code follows it, with the HTTP status and the media type of the
response, or with the reason why there was none.
"""

from __future__ import annotations

from ..oauth.error_codes import REGISTERED_ERRORS
from .connection import EXPIRED_ON_ARRIVAL, FAILS_ALONE, STALE, UNPUBLISHED
from .token_document import TOO_LARGE

_NOT_SENT = "the request never reached the provider"
_LOST = "the provider's response was lost"
_FAILED = "the provider failed"
_OTHER = "the provider refused, in words of its own"
_PAGE = "a page of HTML came instead of the provider's response, as from a proxy or a firewall"

_SENTENCES = {
    # of Evergrant
    "lost_response": _LOST,
    "not_sent": _NOT_SENT,
    "unreadable_response": "the provider responded with success, but its profile finds no token in the response",
    "not_used": "the provider used nothing of the request",
    "rate_limited": "the provider asks for fewer requests",
    "transient": "the provider could not respond for the moment",
    "malformed": "the provider finds the request malformed",
    "client_rejected": "the provider does not accept the client's credentials",
    "grant_rejected": "the provider no longer accepts the grant",
    "client_unauthorized": "the provider says that the client may not use this grant",
    "not_reached": "something in front of the provider responded, such as a proxy or a firewall",
    "unclear": _FAILED,
    "rejected_unknown": "the provider refused, and gave no reason",
    FAILS_ALONE: "the provider fails for this account alone, while other connections of its endpoint work",
    "service_unavailable": "a service of AWS that is needed did not answer",
    "no_refresh_token": "there is no refresh token to refresh with",
    "key_expired": "the pasted key has expired",
    "key_refused": "the provider's API refuses the pasted key",
    "unknown_client": "the client's credentials are not stored",
    "unknown_profile": "the profile it was connected with is gone",
    "invalid_client_entry": "the stored entry of the client cannot be used: a field is missing, or holds a line break",
    "invalid_variable": "a variable of the profile is missing, or does not match its pattern",
    "invalid_profile": "its profile cannot be used",
    "profile_tampered": "its stored profile is not what its content hash says, and so nothing is sent by it",
    "seal_broken": "the sealed token set does not open",
    "record_tampered": "its record does not say what its tokens were issued for, and so they are sent nowhere",
    EXPIRED_ON_ARRIVAL: "its access tokens have expired when they come, as the provider states it",
    STALE: "its record is older than the token that was published from it, as after a restore of the table",
    UNPUBLISHED: "Secrets Manager does not take its new token, and the secret still holds an older one",
    # of the registered codes: those of which more can be said than by their kind
    "invalid_scope": "the provider does not accept the scope",
    "unsupported_grant_type": "the provider does not know this kind of grant",
    "access_denied": "the provider denies the access",
    "server_error": _FAILED,
    "temporarily_unavailable": "the provider is overloaded or under maintenance",
}
#: What kept a request back (:data:`evergrant.errors.NotSentReason`).
_NOT_SENT_REASONS = {
    "request": "the client's entry holds what no request can carry",
    "host": "the provider's host is not among the hosts that the client may be sent to",
    "dns": "the name of the provider's host could not be resolved",
    "address": "the name of the provider's host leads to an address that no request may go to",
    "connect": "no connection to the provider could be made",
    "tls": "no TLS session with the provider could be made",
    "timeout": "no connection to the provider was made in time",
}
#: How a response was lost (:data:`evergrant.errors.LostReason`).
_LOST_REASONS = {
    "timeout": "the provider did not respond in time",
    "reset": "the connection was reset before the provider's response came",
    "truncated": "the provider's response broke off",
    "too_large": "the provider's response was larger than what is read",
    "protocol": "what the provider sent is not HTTP",
}
_UNPUBLISHED_REASONS = {
    TOO_LARGE: "its token is too large for Secrets Manager, which takes 65,536 bytes: only getter serves it",
}
_REASONS = {"not_sent": _NOT_SENT_REASONS, "lost_response": _LOST_REASONS, UNPUBLISHED: _UNPUBLISHED_REASONS}
_HTML = frozenset({"text/html", "application/xhtml+xml"})
#: Codes that say nothing more than that a server failed; with a page of HTML, even which server is unknown.
_OF_A_FAILURE = frozenset({"unclear", "transient", "server_error", "temporarily_unavailable"})
#: Codes of Evergrant's own that no response brought.
_WITHOUT_RESPONSE = frozenset(
    (
        *("service_unavailable", "no_refresh_token", "key_expired", "key_refused", "unknown_client"),
        *("unknown_profile", "invalid_client_entry", "invalid_variable", "invalid_profile", "seal_broken"),
        *(UNPUBLISHED, EXPIRED_ON_ARRIVAL, STALE),
    )
)


def describe_code(
    code: str | None,
    http_status: int | None = None,
    detail: str | None = None,
    *,
    is_refusal: bool = True,
    is_token_in_doubt: bool = False,
) -> str:
    """Describe an error code in words, with the code itself and what else is known after them.

    Parameters
    ----------
    detail
        The media type of the response, or the reason why there is none.
    is_refusal
        Whether a response with a status of 500 or above refuses all the same, as a profile can say.
    is_token_in_doubt
        Whether it is unknown what became of a refresh token.
    """
    if code is None:
        return "no reason is recorded"
    said = _REASONS.get(code, {}).get(detail or "") or _find_sentence(code, http_status, detail, is_refusal=is_refusal)
    doubt = "; whether it used the refresh token is unknown" if is_token_in_doubt else ""
    return f"{said}{doubt} ({', '.join(_list_facts(code, http_status, detail))})"


def describe_missing_response(reason: str | None) -> str:
    """Describe why no response came, by the reason of NotSent or LostResponse."""
    return {**_LOST_REASONS, **_NOT_SENT_REASONS, "timeout": _LOST_REASONS["timeout"]}.get(
        reason or "", "the provider could not be asked"
    )


def _find_sentence(code: str, http_status: int | None, detail: str | None, *, is_refusal: bool) -> str:
    is_own = code in _WITHOUT_RESPONSE or code == FAILS_ALONE
    is_failure = code in _OF_A_FAILURE or ((http_status or 0) >= 500 and not is_refusal and not is_own)
    is_success = http_status is not None and http_status < 300
    if detail in _HTML and (code == "not_reached" or is_failure):
        is_page = code == "not_reached" or is_success
        return _PAGE if is_page else "the provider, or a server in front of it, failed with a page of HTML"
    if code == "unclear" and is_success:
        return "the provider responded with success, and without any token"
    if is_failure and code not in _OF_A_FAILURE:
        return _FAILED
    kind = REGISTERED_ERRORS.get(code.lower())
    return _SENTENCES.get(code) or _SENTENCES.get(kind or "", _OTHER)


def _list_facts(code: str, http_status: int | None, detail: str | None) -> list[str]:
    facts = [code]
    if code in _WITHOUT_RESPONSE:
        return facts
    if http_status and code not in _REASONS:
        facts.append(f"HTTP {http_status}")
    is_reason = any(detail in reasons for reasons in _REASONS.values())
    is_media_type = detail is not None and "/" in detail and detail != "application/json" and code not in _REASONS
    if detail and (is_reason or is_media_type):
        facts.append(detail)
    return facts
