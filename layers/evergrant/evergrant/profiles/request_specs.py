"""What a provider profile says of each request and each way to a grant: the tables that are phases. Data only.

Their fields' descriptions and examples are a source of the JSON Schema and of docs/profiles.md, as the rest of
:mod:`evergrant.profiles.model` is.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct


def says(description: str, example: Any, **limits: Any) -> Meta:
    """A field's description and example, which are its documentation, and its limits."""
    return Meta(description=description, examples=[example], **limits)


#: The phases that are requests to the provider, by their tables.
REQUESTS = ("exchange", "refresh", "client_credentials", "login", "jwt_bearer", "revoke")
Text = Annotated[str, Meta(min_length=1, max_length=2000)]
#: At most ten years.
Seconds = Annotated[int, Meta(ge=0, le=315_360_000)]


class Authorize(Struct, frozen=True, forbid_unknown_fields=True):
    """The authorization request a browser is sent with (RFC 6749 section 4.1.1, RFC 7636)."""

    url: Annotated[Text, says("The authorization endpoint.", "https://{host}/oauth/authorize")]
    params: Annotated[
        dict[str, str],
        says("Parameters over the usual ones; an empty text deletes one.", {"access_type": "offline"}),
    ] = {}
    scopes: Annotated[
        tuple[str, ...], says("What is asked for where the operator gives no scopes.", ["offline_access"])
    ] = ()
    scope_separator: Annotated[str, says("What stands between scopes.", ",")] = " "
    pkce: Annotated[bool, says("Whether to send a code challenge; off for servers that refuse one.", False)] = True
    issuer: Annotated[
        str | None, says("What `iss` must say in the answer, if it is there (RFC 9207).", "https://login.example.com")
    ] = None
    refresh_token_remedy: Annotated[
        Text | None,
        says(
            "What whoever connects can do where the answer brings no refresh token. Their page says it.",
            "Remove the application's access in your account's settings, then open the link again.",
        ),
    ] = None
    issuer_always: Annotated[
        bool,
        says(
            "Whether `iss` comes with every code; an answer without it is then refused. The server's metadata says so "
            "as `authorization_response_iss_parameter_supported`.",
            True,
        ),
    ] = False


class Callback(Struct, frozen=True, forbid_unknown_fields=True):
    """The parameters with which the provider sends the browser back (RFC 6749 section 4.1.2)."""

    code: Annotated[str, says("Which one holds the code.", "auth_code")] = "code"
    error: Annotated[str, says("Which one holds the error's code.", "error_code")] = "error"
    capture: Annotated[
        dict[str, str], says("Values for consumers: their name, and the parameter's.", {"realm_id": "realmId"})
    ] = {}


class TokenRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """One phase's request to the provider."""

    url: Annotated[Text, says("The endpoint.", "https://{host}/oauth/token")]
    method: Annotated[Literal["POST", "GET"], says("The HTTP method.", "POST")] = "POST"
    format: Annotated[
        Literal["form", "json", "query"], says("How the parameters travel: form body, JSON body or query.", "json")
    ] = "form"
    client_auth: Annotated[
        Literal["post", "basic", "basic_raw", "none", "private_key_jwt"],
        says(
            "How the client proves itself: `post` in the parameters; `basic` by HTTP Basic, form-encoded as RFC 6749 "
            "section 2.3.1 says; `basic_raw` by HTTP Basic without that encoding; `none` by client_id alone; "
            "`private_key_jwt` by a signed assertion (RFC 7523).",
            "basic",
        ),
    ] = "post"
    headers: Annotated[dict[str, str], says("Extra headers.", {"Accept": "application/json; version=1.0.0"})] = {}
    params: Annotated[
        dict[str, str],
        says("Parameters over the phase's usual ones; an empty text deletes one.", {"audience": "{audience}"}),
    ] = {}


class Login(TokenRequest, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A log-in that is no OAuth grant: credentials for tokens."""

    client_auth: Annotated[
        Literal["post", "basic", "basic_raw", "none", "private_key_jwt"],
        says("As in other phases, but `none` sends nothing of the client: usually a log-in has none.", "none"),
    ] = "none"
    credentials: Annotated[
        tuple[tuple[str, ...], ...],
        says(
            "The sets of credentials it takes, one of which a client's entry must hold in full. Each is a parameter of "
            "the same name, and can be named in `params` and `headers`.",
            [["access_key_id", "secret_access_key"], ["username", "password"]],
            min_length=1,
        ),
    ]


class JwtBearer(TokenRequest, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A signed assertion for tokens (RFC 7523 section 2.1)."""

    claims: Annotated[
        dict[str, str],
        says("The assertion's claims; `iat`, `exp` and `jti` are added.", {"iss": "{client_id}", "aud": "{url}"}),
    ]
    client_auth: Annotated[
        Literal["post", "basic", "basic_raw", "none", "private_key_jwt"],
        says("As in other phases, but `none` sends nothing: the assertion itself proves the client.", "none"),
    ] = "none"
    algorithm: Annotated[Literal["RS256", "ES256"], says("How it is signed.", "RS256")] = "RS256"
    lifetime: Annotated[Seconds, says("For how long it is valid, in seconds.", 300)] = 300


class Static(Struct, frozen=True, forbid_unknown_fields=True):
    """A key or a personal access token that a person makes at the provider and pastes into `evergrant connect`.

    It is kept and served like every other token, but nothing renews it and nothing is ever sent to the provider. When
    it lapses, or the provider's API refuses it, the connection says `authorization_required`: another is to be pasted.
    """

    describe: Annotated[Text, says("Where a person gets one.", "Settings > Developer > Personal access tokens.")]
    lifetime: Annotated[
        Annotated[int, Meta(ge=1, le=315_360_000)] | None,
        says(
            "For how long the provider documents one to live, in seconds, counted from when it is pasted; "
            "`--expires-at` says it better. Where neither does, it is taken to live for ever, and is never due.",
            31536000,
        ),
    ] = None
    headers: Annotated[
        dict[str, str],
        says("Consumers' headers, where they are others than `consumer.headers`.", {"X-Api-Key": "{access_token}"}),
    ] = {}


class Revoke(TokenRequest, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A token's revocation (RFC 7009).

    `evergrant disconnect` asks for it. With `scope = "token"` the grant that connecting again replaces is revoked too,
    once the new one is saved. The answer is empty and proves nothing: that it was asked for is all that can be said.
    """

    scope: Annotated[
        Literal["token", "grant"],
        says(
            "What ends: the token and what was issued with it, or all that this application was ever granted by this "
            "account. Only what is documented is `token`.",
            "token",
        ),
    ] = "grant"
    token: Annotated[
        Literal["refresh_token", "access_token"],
        says(
            "Which token is sent, with its kind as `token_type_hint` (section 2.1); the access token anyway where "
            "there is no refresh token.",
            "access_token",
        ),
    ] = "refresh_token"  # noqa: S105
