"""How an authorization failed at the provider, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from evergrant.record.error_words import describe_missing_response

#: What is wrong with an answer that arrived, at the steps that have no status.
_WRONG_ANSWERS = {
    "no_code": "the provider's answer holds no authorization code",
    "other_account": "the token is not for the account that came back by the browser",
    "other_issuer": "the answer came from another server than the one asked",
    "other_redirect_uri": "the answer came to another redirect URI than this provider's",
}


def describe_failure(failure: Mapping[str, Any]) -> str:
    """Describe a failed step, from the fields of :class:`~evergrant.authorization_failure.AuthorizationFailure`.

    A timeout, a reset, a 5xx, a page of HTML and a refusal have words of their own.
    """
    step, reason, status = failure.get("step"), failure.get("reason"), failure.get("status")
    if step == "id_token":
        return f"the provider's ID token is not valid for it ({reason})"
    if step == "account":
        return f"{_WRONG_ANSWERS.get(reason or '', 'the provider does not say whose token it is')} (HTTP {status})"
    if step == "authorization":
        return _WRONG_ANSWERS.get(reason or "") or f"the provider refused the authorization ({failure.get('error')})"
    if status is None:
        return describe_missing_response(reason)
    detail = ", ".join(str(part) for part in (f"HTTP {status}", failure.get("error")) if part)
    if status >= 500:
        return f"the provider failed at the code's exchange ({detail})"
    if failure.get("content_type") in ("text/html", "application/xhtml+xml"):
        return f"a page of HTML came instead of tokens, from the provider or from something before it ({detail})"
    if reason == "unreadable" or (status < 300 and not failure.get("error")):
        return f"the provider's answer holds no token set where the profile looks for it ({detail})"
    return f"the provider refused the code's exchange ({detail})"
