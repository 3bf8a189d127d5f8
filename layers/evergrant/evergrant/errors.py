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
    │   ├── RecordTampered        record_tampered          its tokens were issued for something else than it says
    │   ├── Paused                paused
    │   └── Disconnected          disconnected
    ├── UnknownProfile            unknown_profile
    ├── ProfileTampered       profile_tampered         a stored profile is not what its content hash says, or leaks
    ├── UnknownClient             unknown_client
    ├── TemporarilyUnavailable    temporarily_unavailable  try again after ``retry_after`` seconds
    ├── LinkError                                          shown to a person: :mod:`evergrant.link_errors`
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


class RecordTampered(ConnectionProblem):
    """A token set was issued for something else than its record says. ``field`` is the record's field that differs."""

    code = "record_tampered"
    hint_default = (
        "Find out who wrote to the record table. Authorize the account again for what the record should say: "
        "`evergrant connect {connection}`."
    )

    def __init__(self, connection: str, field: str, difference: str) -> None:
        super().__init__(
            connection,
            f"The record of {connection} does not say what its tokens were issued for: {difference} ({field}). "
            "They are sent nowhere.",
        )
        self.field = field


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


class ProfileTampered(EvergrantError):
    code = "profile_tampered"
    hint_default = "Find out who wrote to the record table, and restore the item, or connect the account again."


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
