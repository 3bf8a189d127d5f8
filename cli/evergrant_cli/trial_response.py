"""Describe the response to a trial request: how the profile reads it, without its secrets."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .masking import mask_token
from .problems import Problem
from .profile_preview import compute_refresh_at

if TYPE_CHECKING:
    from evergrant.http_messages import HttpResponse
    from evergrant.oauth.error_response import Refusal
    from evergrant.oauth.token_set import TokenSet
    from evergrant.profiles.model import Profile
    from evergrant.secret import Secret

#: Field names are the provider's text too, and may be a token. A name close to one of these is safe to show.
_KNOWN_FIELD_NAMES = (
    *("accesstoken", "refreshtoken", "idtoken", "token", "tokentype", "expiresin", "expiresat", "expires", "expiry"),
    *("expiration", "refreshtokenexpiresin", "refreshexpiresin", "scope", "scopes", "error", "errorcode", "errors"),
    *("errordescription", "message", "data", "result", "response", "status", "success", "session"),
)


def interpret_response(
    profile: Profile,
    response: HttpResponse,
    sent_at: int,
    values: Mapping[str, str | None],
    variables: Mapping[str, str],
) -> dict[str, Any]:
    """Read a response by the profile. Returns ``response`` and, unless tokens were granted, ``error``."""
    from evergrant.errors import UnreadableResponse
    from evergrant.oauth.error_response import Refusal
    from evergrant.oauth.token_response import parse_token_response
    from evergrant.oauth.token_set import TokenSet
    from evergrant.secret import Secret

    refresh_token = values.get("refresh_token")
    sent_token = Secret(refresh_token) if refresh_token else None
    before = TokenSet(Secret(""), sent_at, sent_at + 1, "before", sent_token) if sent_token else None
    try:
        result = parse_token_response(profile, response, sent_at, before, variables)
    except UnreadableResponse as error:
        fields, others = _find_field_names(response)
        problem = Problem(
            error.code,
            error.message,
            "Correct response.access_token, response.expires or response.bearer_types in the profile.",
        )
        return {
            "response": {"status": response.status, "fields": fields, "other_fields": others},
            "error": problem.as_dict(),
        }
    if isinstance(result, Refusal):
        refused: dict[str, Any] = {
            "status": result.status,
            "kind": result.kind,
            "code": result.code,
            "rule": result.rule,
            "retry_after": result.retry_after,
            "in_doubt": result.in_doubt,
        }
        return {"response": refused, "error": _explain_refusal(result).as_dict()}
    return {"response": {"status": response.status, **_describe_tokens(profile, result, sent_token)}}


def _describe_tokens(profile: Profile, tokens: TokenSet, sent_token: Secret | None) -> dict[str, Any]:
    """Describe a token set without its secrets; of the provider's texts, only what the profile names too."""
    from evergrant.times import format_rfc3339

    known = set(profile.authorize.scopes) if profile.authorize else set()
    scopes = tokens.scope.split(profile.authorize.scope_separator if profile.authorize else " ") if tokens.scope else []
    bearer = tokens.token_type.lower() == "bearer"
    return {
        "access_token": mask_token(tokens.access_token),
        "token_type": "Bearer" if bearer else "another",
        "expires_at": format_rfc3339(tokens.expires_at),
        "lifetime": tokens.lifetime,
        "expiry_rule": tokens.expiry_rule,
        "expiry_doubt": tokens.expiry_doubt,
        "refresh_token": mask_token(tokens.refresh_token),
        "refresh_token_is_new": None if tokens.refresh_token is None else tokens.refresh_token != sent_token,
        "refresh_expires_at": format_rfc3339(tokens.refresh_expires_at) if tokens.refresh_expires_at else None,
        "scopes": [scope for scope in scopes if scope in known],
        "other_scopes": sum(scope not in known for scope in scopes),
        "captured": {name: f"{len(value)} characters" for name, value in tokens.captured.items()},
        "refreshed_at": format_rfc3339(compute_refresh_at(profile, tokens.issued_at, tokens.expires_at)),
    }


def _explain_refusal(refusal: Refusal) -> Problem:
    from .codes import describe_code

    hints = {
        "client_rejected": "Check the client's id, secret and client_auth in the profile; some servers take only one.",
        "grant_rejected": "The request was understood: the token or code that was sent is not valid, or not any more.",
        "rejected_unknown": "No rule matches this response. Where the provider documents it, add one to [[errors]].",
        "malformed": "Compare the request with the provider's documentation: format, params, headers.",
    }
    return Problem(
        refusal.kind, f"Refused: {describe_code(refusal.kind)}.", hints.get(refusal.kind, ""), refusal.retry_after
    )


def _find_field_names(response: HttpResponse) -> tuple[list[str], int]:
    """Find the field names of an unreadable success that are safe to show, and count the others."""
    try:
        document = json.loads(response.body)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        return [], 0
    known = sorted(filter(_is_known_field, document))
    return known, len(document) - len(known)


def _is_known_field(name: str) -> bool:
    return bool(difflib.get_close_matches(re.sub(r"[_-]", "", name.lower()), _KNOWN_FIELD_NAMES, 1, 0.85))
