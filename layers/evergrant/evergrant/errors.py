"""The errors that Evergrant raises, each with a stable code, what happened and what to do.

::

    EvergrantError
    ├── InvalidRequest            invalid_request          the request cannot be read
    │   ├── InvalidName           invalid_name             the name of a connection, provider, account or client
    │   ├── InvalidProfile        invalid_profile          a provider profile, with the key at fault
    │   ├── InvalidClient         invalid_client_entry     the entry of a client (a secret under clients/)
    │   ├── InvalidVariable       invalid_variable         a profile variable missing or not matching its pattern
    │   └── InvalidIssuer         invalid_issuer           the issuer of an authorization server
    ├── ConnectionProblem
    │   ├── UnknownConnection     unknown_connection
    │   ├── AuthorizationRequired authorization_required
    │   ├── ClientRefused         client_refused
    │   ├── ResponsePending       response_pending         the refresh token may have been used: nothing is sent yet
    │   ├── Paused                paused
    │   └── Disconnected          disconnected
    ├── UnknownProfile            unknown_profile
    ├── UnknownClient             unknown_client
    ├── TemporarilyUnavailable    temporarily_unavailable  try again after ``retry_after`` seconds
    ├── LinkError                                          shown to a person on the connect page
    │   ├── LinkInvalid           link_invalid
    │   ├── LinkExpired           link_expired
    │   ├── LinkUsed              link_used
    │   ├── WrongBrowser          wrong_browser
    │   ├── NoCookie              no_cookie                the browser did not send the cookie back
    │   ├── CrossSite             cross_site
    │   ├── BadRequest            bad_request              a parameter comes twice, is too long or holds controls
    │   ├── WrongMethod           wrong_method
    │   ├── WrongContentType      wrong_content_type
    │   ├── Denied                access_denied
    │   ├── NotFinished           not_finished             the person did not sign in, or choose an account
    │   ├── WrongAccount          wrong_account            connecting again with another account than before
    │   ├── NoRefreshToken        no_refresh_token         a grant that would end with its first token
    │   └── ProviderRefused       provider_refused
    ├── MetadataError                                      the metadata of a server (RFC 8414)
    │   ├── NoMetadata            no_metadata              none at any of the well-known addresses
    │   ├── InvalidMetadata       invalid_metadata         not metadata, or no profile can be built from it
    │   └── IssuerMismatch        issuer_mismatch          the metadata of another issuer (RFC 8414 section 3.3)
    ├── UnreadableResponse        unreadable_response      a 2xx of the provider that is no token set
    ├── ProviderUnreachable       provider_unreachable
    │   ├── NotSent               not_sent                 the request cannot have reached the provider
    │   └── LostResponse          lost_response            it may have, and the response is lost
    ├── SealBroken                seal_broken              a sealed token set does not open
    ├── RecordBroken              record_broken            a connection's record cannot be read
    └── Conflict                  conflict                 a conditional write found another state

No message ever holds a provider's own text, a token, a code or a secret.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from .authorization_failure import AuthorizationFailure


class EvergrantError(Exception):
    """The base class: ``code`` is stable, ``message`` says what happened, ``hint`` what to do.

    Parameters
    ----------
    message
        What is wrong, and where.
    hint
        What to do; the class's own hint when left out.
    """

    code: ClassVar[str] = "error"
    hint_default: ClassVar[str] = ""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = self.hint_default if hint is None else hint
        #: The provider's title and the account's name, where they are known, for the connect page.
        self.about: tuple[str, str] | None = None
        #: The connection that was being authorized, for the log.
        self.authorizing: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the error as callers in any language receive it."""
        described: dict[str, Any] = {"code": self.code, "message": self.message}
        if self.hint:
            described["hint"] = self.hint
        return described


class InvalidRequest(EvergrantError):
    code = "invalid_request"


class InvalidName(InvalidRequest):
    code = "invalid_name"


class InvalidProfile(InvalidRequest):
    code = "invalid_profile"


class InvalidClient(InvalidRequest):
    code = "invalid_client_entry"


class InvalidVariable(InvalidRequest):
    code = "invalid_variable"


class InvalidIssuer(InvalidRequest):
    code = "invalid_issuer"
    hint_default = (
        "Write it as the provider documents it: https://login.example.com, possibly with a path, never a query."
    )


class ConnectionProblem(EvergrantError):
    """A connection cannot serve a token, for a reason that an operator can act on."""

    def __init__(self, connection: str, message: str, hint: str | None = None) -> None:
        super().__init__(message, hint if hint is not None else self.hint_default.format(connection=connection))
        self.connection = connection


class UnknownConnection(ConnectionProblem):
    code = "unknown_connection"
    hint_default = (
        "List the connections with `evergrant status`, or create this one with `evergrant connect {connection}`."
    )

    def __init__(self, connection: str) -> None:
        super().__init__(connection, f"There is no connection {connection}.")


class AuthorizationRequired(ConnectionProblem):
    code = "authorization_required"
    hint_default = "The account's owner must authorize it again: `evergrant connect {connection}`."

    def __init__(self, connection: str) -> None:
        super().__init__(connection, f"The grant of {connection} is missing or no longer accepted by its provider.")


class ClientRefused(ConnectionProblem):
    code = "client_refused"

    def __init__(self, connection: str, client: str) -> None:
        super().__init__(
            connection,
            f"The provider of {connection} refuses the credentials of client {client}.",
            f"No account's owner needs to authorize again. Correct the client's credentials: `evergrant client set "
            f"{client}`.",
        )


class ResponsePending(ConnectionProblem):
    """The provider may have used the refresh token, so it must not be sent again yet.

    ``retry_after`` is in seconds.
    """

    code = "response_pending"

    def __init__(self, connection: str, retry_after: int) -> None:
        minutes = -(-retry_after // 60)
        super().__init__(
            connection,
            f"The provider may have used the refresh token of {connection} already. Sending it again now could end the "
            "grant, so nothing was sent.",
            f"`evergrant status {connection}` says why; a response that is late may still be saved. Or try again in "
            f"{minutes} minutes.",
        )
        self.retry_after = retry_after

    def as_dict(self) -> dict[str, Any]:
        return {**super().as_dict(), "retry_after": self.retry_after}


class Paused(ConnectionProblem):
    code = "paused"
    hint_default = "Resume it with `evergrant resume {connection}`."

    def __init__(self, connection: str) -> None:
        super().__init__(connection, f"{connection} is paused.")


class Disconnected(ConnectionProblem):
    code = "disconnected"
    hint_default = "Connect it again with `evergrant connect {connection}`."

    def __init__(self, connection: str) -> None:
        super().__init__(connection, f"{connection} was disconnected.")


class UnknownProfile(EvergrantError):
    code = "unknown_profile"
    hint_default = "List the providers with `evergrant provider list`, or add one with `evergrant provider add FILE`."


class UnknownClient(EvergrantError):
    code = "unknown_client"

    def __init__(self, client: str) -> None:
        super().__init__(
            f"There is no client {client}.", f"Store its credentials with `evergrant client set {client}`."
        )


class TemporarilyUnavailable(EvergrantError):
    """The cause is expected to pass; ``retry_after`` is in seconds."""

    code = "temporarily_unavailable"

    def __init__(self, message: str, retry_after: int) -> None:
        super().__init__(message, f"Try again in {retry_after} seconds.")
        self.retry_after = retry_after

    def as_dict(self) -> dict[str, Any]:
        return {**super().as_dict(), "retry_after": self.retry_after}


class LinkError(EvergrantError):
    """A step of the connect flow was refused; ``status`` is the HTTP status of its page.

    ``failure`` says how the provider ended the authorization, where it did.
    """

    status: ClassVar[int] = 400

    def __init__(self, message: str, hint: str | None = None, *, failure: AuthorizationFailure | None = None) -> None:
        super().__init__(message, hint)
        self.failure = failure


class LinkInvalid(LinkError):
    code = "link_invalid"
    status = 404


class LinkExpired(LinkError):
    code = "link_expired"
    status = 410


class LinkUsed(LinkError):
    code = "link_used"
    status = 410


class WrongBrowser(LinkError):
    code = "wrong_browser"
    status = 403


class NoCookie(LinkError):
    code = "no_cookie"
    status = 403


class CrossSite(LinkError):
    code = "cross_site"
    status = 403


class BadRequest(LinkError):
    code = "bad_request"
    status = 400


class WrongMethod(LinkError):
    code = "wrong_method"
    status = 405


class WrongContentType(LinkError):
    code = "wrong_content_type"
    status = 415


class Denied(LinkError):
    code = "access_denied"
    status = 403


class NotFinished(LinkError):
    """The provider wanted something of the person that did not happen, such as a sign-in."""

    code = "not_finished"
    status = 403


class WrongAccount(LinkError):
    code = "wrong_account"
    status = 403
    hint_default = (
        "Sign in at the provider with the account that was connected before; or, to connect another one in its place, "
        "make the link with `evergrant connect --another-account`."
    )


class NoRefreshToken(LinkError):
    """``remedy`` is the profile's own text for the account's owner; None if the profile has none."""

    code = "no_refresh_token"
    status = 502

    def __init__(self, message: str, hint: str | None = None, *, remedy: str | None = None) -> None:
        super().__init__(message, hint)
        self.remedy = remedy


class ProviderRefused(LinkError):
    code = "provider_refused"
    status = 502


class MetadataError(EvergrantError):
    """No profile can be built from a server's metadata."""


class NoMetadata(MetadataError):
    code = "no_metadata"
    hint_default = (
        "Check the issuer in the provider's documentation. Many providers publish no metadata: then write a profile "
        "by hand (docs/profiles.md), try it with `evergrant provider check FILE`, add it with `evergrant provider add "
        "FILE`."
    )


class InvalidMetadata(MetadataError):
    code = "invalid_metadata"
    hint_default = "Check the issuer in the provider's documentation."


class IssuerMismatch(MetadataError):
    code = "issuer_mismatch"
    hint_default = "Ask the provider for its issuer, which is compared character by character."


class UnreadableResponse(EvergrantError):
    code = "unreadable_response"
    hint_default = (
        "A response to a refresh is kept, sealed, and no further refresh is attempted: correct the provider's profile, "
        "then run `evergrant reparse`. A response to a new authorization is not kept: correct the profile and connect "
        "again."
    )


class ProviderUnreachable(EvergrantError):
    code = "provider_unreachable"


#: How far a request came that was not sent: its own form, the host, the name, the address, the connection, TLS, time.
NotSentReason = Literal["request", "host", "dns", "address", "connect", "tls", "timeout"]
#: How a response was lost: none in time, the connection reset, closed too early, too large, or not HTTP.
LostReason = Literal["timeout", "reset", "truncated", "too_large", "protocol"]


class NotSent(ProviderUnreachable):
    """The provider cannot have acted on the request; ``reason`` says what kept it back."""

    code = "not_sent"

    def __init__(self, message: str, hint: str | None = None, *, reason: NotSentReason = "connect") -> None:
        super().__init__(message, hint)
        self.reason: NotSentReason = reason


class LostResponse(ProviderUnreachable):
    """The request was sent, at least in part, and no complete response came: the provider may have acted on it.

    ``reason`` says how the response was lost.
    """

    code = "lost_response"

    def __init__(self, message: str, hint: str | None = None, *, reason: LostReason = "reset") -> None:
        super().__init__(message, hint)
        self.reason: LostReason = reason


class SealBroken(EvergrantError):
    code = "seal_broken"


class RecordBroken(EvergrantError):
    code = "record_broken"
    hint_default = "Deploy the release that wrote it, or restore the table to a time before the change."

    def __init__(self, connection: str, reason: str = "a field is missing or has a wrong type") -> None:
        super().__init__(f"The record of {connection} cannot be read: {reason}.")


class Conflict(EvergrantError):
    """A conditional write was refused; ``current`` is the item as it is now, None if there is none."""

    code = "conflict"

    def __init__(self, what: str, current: Any = None) -> None:
        super().__init__(f"{what} changed meanwhile.")
        self.current = current
