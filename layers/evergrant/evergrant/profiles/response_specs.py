"""The tables of a provider profile that are about responses of the token endpoint. Data only.

The fields' descriptions and examples are a source of the JSON Schema and of docs/profiles.md, as those of
:mod:`evergrant.profiles.model` are.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from .request_specs import Seconds, Text, document

FailureKind = Literal[
    "transient", "rate_limited", "grant_rejected", "client_rejected", "rejected_unknown", "not_used", "malformed"
]
Path = Annotated[str, Meta(min_length=1, max_length=200)]
Status = Annotated[int, Meta(ge=100, le=599)]


class ExpiryRule(Struct, frozen=True, forbid_unknown_fields=True):
    """One way to learn when a token expires: exactly one of `path`, `jwt` and `default`.

    Where a provider's documents disagree, or accounts differ, a `default` may name a variable. Then the variable's own
    default is the safe value, and a connection may give another.
    """

    path: Annotated[Path | None, document("A field of the response (dotted path).", "data.expires_at")] = None
    format: Annotated[
        Literal["seconds", "milliseconds", "days", "epoch", "epoch_milliseconds", "iso8601"],
        document(
            "What the field or the default holds: a duration in seconds, milliseconds or days, or a moment as Unix "
            "time in seconds or milliseconds, or as ISO 8601. Do not trust the field's name: look at a real response.",
            "epoch",
        ),
    ] = "seconds"
    jwt: Annotated[Path | None, document("A field that holds a JWT, whose `exp` is used.", "access_token")] = None
    default: Annotated[
        Seconds | Text | None,
        document(
            "The lifetime that the provider documents, in seconds unless `format` says otherwise; or a variable of "
            "digits, in braces.",
            "{refresh_token_days}",
        ),
    ] = None

    zero: Annotated[
        Literal["expired", "never"],
        document(
            "What a value of zero or below means: the token has expired now, or it never does.",
            "never",
        ),
    ] = "expired"

    @property
    def variable(self) -> str | None:
        """The variable whose value is the default, if one is."""
        return self.default.strip("{}") if isinstance(self.default, str) else None


class Success(Struct, frozen=True, forbid_unknown_fields=True):
    """The condition that a response with HTTP 200 must meet to be a success."""

    path: Annotated[Path, document("A field of the response (dotted path).", "ok")]
    equals: Annotated[str | int | bool, document("Its value in a success.", True)]


class Response(Struct, frozen=True, forbid_unknown_fields=True):
    """Where the response holds each value: dotted paths, of which the first that is present counts."""

    access_token: Annotated[
        tuple[Path, ...], document("The access token.", ["accessTtoken", "accessToken", "access_token"])
    ] = ("access_token",)
    refresh_token: Annotated[tuple[Path, ...], document("The refresh token.", ["refresh_token"])] = ("refresh_token",)
    token_type: Annotated[tuple[Path, ...], document("The token's type.", ["tokenType"])] = ("token_type",)
    scope: Annotated[tuple[Path, ...], document("The granted scope, as a text or a list.", ["scope"])] = ("scope",)
    expires: Annotated[
        tuple[ExpiryRule, ...],
        document("How to learn when the access token expires; the first rule that applies.", [{"path": "expires_in"}]),
    ] = (ExpiryRule(path="expires_in"),)
    refresh_expires: Annotated[
        tuple[ExpiryRule, ...],
        document("The same for the refresh token.", [{"path": "x_refresh_token_expires_in"}, {"default": 8640000}]),
    ] = ()
    bearer_types: Annotated[
        tuple[Text, ...],
        document(
            "Token types that mean Bearer at this provider, beside `Bearer`, `BearerToken` and `user`. Where "
            "`consumer.headers` say Bearer, a token of another type is kept and never sent.",
            ["bot"],
        ),
    ] = ()
    capture: Annotated[
        dict[str, Path],
        document("Values for consumers: the name of each, and its dotted path.", {"api": "instance_url"}),
    ] = {}
    patterns: Annotated[
        dict[str, Text],
        document(
            "Regular expressions that captured values must match in full, by their names. Other values are left out.",
            {"api": "https://[a-z0-9.-]+"},
        ),
    ] = {}
    success_when: Annotated[
        Success | None,
        document(
            "The condition of a success, for servers that send errors with HTTP 200.", {"path": "ok", "equals": True}
        ),
    ] = None
    error: Annotated[tuple[Path, ...], document("The error code.", ["error", "error.code"])] = ("error",)
    error_description: Annotated[
        tuple[Path, ...], document("The error's description. Error rules can match it; it is never stored.", ["msg"])
    ] = ("error_description",)


class ErrorRule(Struct, frozen=True, forbid_unknown_fields=True, rename={"kind": "as"}):
    """An error response, and what it means. Every condition that is given must hold."""

    kind: Annotated[
        FailureKind,
        document(
            "What it means. `transient`: try again. `rate_limited`: try again later. `grant_rejected`: the account's "
            "owner must authorize again. `client_rejected`: the client's credentials are refused. `rejected_unknown`: "
            "the grant or the client is refused, and the response does not say which. `not_used`: the provider "
            "certainly did not use the refresh token. `malformed`: the request is wrong.",
            "grant_rejected",
        ),
    ]
    status: Annotated[Status | None, document("The HTTP status.", 400)] = None
    code: Annotated[str | None, document("The error code, in full and in any case.", "invalid_request")] = None
    description: Annotated[str | None, document("The error's description, in full.", "Invalid Refresh Token")] = None
    description_contains: Annotated[
        Text | None,
        document(
            "A part of the error's description, in any case, for texts that also hold an id or a time.",
            "AADSTS7000222:",
        ),
    ] = None
    empty: Annotated[bool, document("Whether the response's body must be empty.", True)] = False
