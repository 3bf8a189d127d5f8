"""The tables of a provider profile that are phases: one for each request and each kind of grant. Data only.

The fields' descriptions and examples are a source of the JSON Schema and of docs/profiles.md, as those of
:mod:`evergrant.profiles.model` are.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct


def document(description: str, example: Any, **limits: Any) -> Meta:
    """Document a field by a description and an example, and set its limits."""
    return Meta(description=description, examples=[example], **limits)


#: The phases that are requests of Evergrant to the provider.
REQUESTS = ("exchange", "refresh", "client_credentials", "login", "jwt_bearer", "revoke")
Text = Annotated[str, Meta(min_length=1, max_length=2000)]
#: At most ten years.
Seconds = Annotated[int, Meta(ge=0, le=315_360_000)]


class Authorize(Struct, frozen=True, forbid_unknown_fields=True):
    """The authorization request, with which the browser goes to the provider (RFC 6749 section 4.1.1, RFC 7636)."""

    url: Annotated[Text, document("The authorization endpoint.", "https://{host}/oauth/authorize")]
    params: Annotated[
        dict[str, str],
        document(
            "Parameters beside the usual ones, or in their place; an empty text removes one.",
            {"access_type": "offline"},
        ),
    ] = {}
    scopes: Annotated[
        tuple[str, ...], document("The scopes to ask for if the operator gives none.", ["offline_access"])
    ] = ()
    scope_separator: Annotated[str, document("The separator between scopes.", ",")] = " "
    pkce: Annotated[
        bool, document("Whether to send a PKCE code challenge; false for servers that refuse one.", False)
    ] = True
    issuer: Annotated[
        str | None,
        document(
            "The value that `iss` must have in the authorization response, if present (RFC 9207).",
            "https://login.example.com",
        ),
    ] = None
    refresh_token_remedy: Annotated[
        Text | None,
        document(
            "What the account's owner can do if the provider sends no refresh token. The connect page shows it.",
            "Remove the application's access in your account's settings, then open the link again.",
        ),
    ] = None
    issuer_always: Annotated[
        bool,
        document(
            "Whether `iss` comes with every code; a response without it is then refused. The server's metadata state "
            "it as `authorization_response_iss_parameter_supported`.",
            True,
        ),
    ] = False


class Callback(Struct, frozen=True, forbid_unknown_fields=True):
    """The parameters of the authorization response (RFC 6749 section 4.1.2)."""

    code: Annotated[str, document("The parameter that holds the code.", "auth_code")] = "code"
    error: Annotated[str, document("The parameter that holds the error code.", "error_code")] = "error"
    capture: Annotated[
        dict[str, str], document("Values for consumers: the name of each, and its parameter.", {"realm_id": "realmId"})
    ] = {}
    patterns: Annotated[
        dict[str, Text],
        document(
            "Regular expressions that captured values must match in full, by their names. Other values are left out.",
            {"realm_id": "[0-9]+"},
        ),
    ] = {}
    declined: Annotated[
        tuple[Text, ...],
        document(
            "The error codes with which the person declined, beside `access_denied` and `consent_required`.",
            ["user_cancelled_login"],
        ),
    ] = ()


class Scopes(Struct, frozen=True, forbid_unknown_fields=True):
    """How the provider names the scopes that it granted."""

    implied: Annotated[
        dict[str, tuple[Text, ...]],
        document(
            "What a granted scope includes: scopes that the provider does not name beside it, or names otherwise than "
            "they were asked for. Each `*` stands for one same text in the scope and in what it includes.",
            {"write_*": ["read_*"], "user": ["read:user", "user:email"]},
        ),
    ] = {}


class TokenRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """One phase's request to the provider."""

    url: Annotated[Text, document("The endpoint.", "https://{host}/oauth/token")]
    method: Annotated[Literal["POST", "GET"], document("The HTTP method.", "POST")] = "POST"
    format: Annotated[
        Literal["form", "json", "query"],
        document("How the parameters are sent: in a form body, a JSON body or the query.", "json"),
    ] = "form"
    client_auth: Annotated[
        Literal["post", "basic", "basic_raw", "none", "private_key_jwt"],
        document(
            "How the client authenticates. `post`: by parameters. `basic`: by HTTP Basic, form-encoded as RFC 6749 "
            "section 2.3.1 says. `basic_raw`: by HTTP Basic without that encoding. `none`: by client_id alone. "
            "`private_key_jwt`: by a signed assertion (RFC 7523).",
            "basic",
        ),
    ] = "post"
    headers: Annotated[dict[str, str], document("Extra headers.", {"Accept": "application/json; version=1.0.0"})] = {}
    params: Annotated[
        dict[str, str],
        document(
            "Parameters beside the phase's usual ones, or in their place; an empty text removes one.",
            {"audience": "{audience}"},
        ),
    ] = {}


class Login(TokenRequest, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A log-in that is no OAuth grant: it exchanges credentials for tokens."""

    client_auth: Annotated[
        Literal["post", "basic", "basic_raw", "none", "private_key_jwt"],
        document("As in other phases, but `none` sends nothing of the client, as most log-ins need.", "none"),
    ] = "none"
    credentials: Annotated[
        tuple[tuple[str, ...], ...],
        document(
            "The sets of credentials that it accepts. A client's entry must hold one set in full. Each credential is "
            "sent as a parameter of the same name, and `params` and `headers` can use it.",
            [["access_key_id", "secret_access_key"], ["username", "password"]],
            min_length=1,
        ),
    ]


class JwtBearer(TokenRequest, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The exchange of a signed assertion for tokens (RFC 7523 section 2.1)."""

    claims: Annotated[
        dict[str, str],
        document("The assertion's claims; `iat`, `exp` and `jti` are added.", {"iss": "{client_id}", "aud": "{url}"}),
    ]
    client_auth: Annotated[
        Literal["post", "basic", "basic_raw", "none", "private_key_jwt"],
        document("As in other phases, but `none` sends nothing: the assertion authenticates the client.", "none"),
    ] = "none"
    algorithm: Annotated[Literal["RS256", "ES256"], document("The signature algorithm.", "RS256")] = "RS256"
    lifetime: Annotated[Seconds, document("For how long the assertion is valid, in seconds.", 300)] = 300


class Static(Struct, frozen=True, forbid_unknown_fields=True):
    """A key or a personal access token that a person creates at the provider and pastes into `evergrant connect`.

    Evergrant keeps and serves it like any other token, but never renews it and sends nothing to the provider. When it
    expires, or the provider's API rejects it, the connection becomes `authorization_required`, and a person must paste
    another.
    """

    describe: Annotated[Text, document("Where a person creates one.", "Settings > Developer > Personal access tokens.")]
    lifetime: Annotated[
        Annotated[int, Meta(ge=1, le=315_360_000)] | None,
        document(
            "The lifetime that the provider documents, in seconds from when it is pasted; `--expires-at` is more "
            "exact. Without either, the token is taken never to expire.",
            31536000,
        ),
    ] = None
    headers: Annotated[
        dict[str, str],
        document("Consumers' headers, if they differ from `consumer.headers`.", {"X-Api-Key": "{access_token}"}),
    ] = {}


class Revoke(TokenRequest, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The revocation of a token (RFC 7009).

    `evergrant disconnect` sends it. With `scope = "token"`, connecting again also revokes the grant that was replaced,
    once the new one is saved. A success is an empty response, which does not prove that the grant has ended.
    """

    scope: Annotated[
        Literal["token", "grant"],
        document(
            "What a revocation ends. `token`: the token and those issued with it; only if the provider documents "
            "that. `grant`: everything that the account has granted to this client.",
            "token",
        ),
    ] = "grant"
    token: Annotated[
        Literal["refresh_token", "access_token"],
        document(
            "Which token to send, with its kind as `token_type_hint` (section 2.1). Without a refresh token, the "
            "access token is sent.",
            "access_token",
        ),
    ] = "refresh_token"  # noqa: S105
