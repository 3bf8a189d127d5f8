"""Everything that `evergrant_client` raises.

::

    EvergrantError
    ├── InvalidRequest            invalid_request           the call itself is wrong (also a ValueError)
    ├── MissingHeaders            missing_headers           the provider wants headers on each call that this call lacks
    ├── NotConfigured             not_configured            EVERGRANT_GETTER or another setting is missing or wrong
    ├── AccessDenied              access_denied             this function's role may not read the token
    ├── UnexpectedAnswer          unexpected_answer         an answer that this client cannot read
    ├── TemporarilyUnavailable    temporarily_unavailable   try again, after `retry_after` seconds if it is given
    └── ConnectionUnusable                                  trying again does not help: a person has to act
        ├── UnknownConnection     unknown_connection
        ├── AuthorizationRequired authorization_required
        ├── ClientRefused         client_refused
        ├── Paused                paused
        └── Disconnected          disconnected

Codes are stable and, where getter has one, getter's own. No error holds a token, nor a chained
exception that does.
"""

from __future__ import annotations

from typing import Any, ClassVar


class EvergrantError(Exception):
    """Base of all errors of this package.

    Attributes
    ----------
    code : str
        Stable code, to branch or to alarm on.
    connection : str or None
        ``provider/account`` that was asked for, where there is one.
    message : str
        What happened.
    hint : str
        What to do about it.
    """

    code: ClassVar[str] = "evergrant_error"
    default_hint: ClassVar[str] = ""

    def __init__(self, message: str, *, connection: str | None = None, hint: str | None = None) -> None:
        self.message = message
        self.connection = connection
        self.hint = self.default_hint if hint is None else hint
        super().__init__(message)

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".rstrip() + f" [{self.code}]"

    def __reduce__(self) -> tuple[Any, ...]:
        # Exceptions travel between processes (multiprocessing, futures) and are raised once per
        # waiting thread; the default reduction would call __init__ without its keywords.
        return _rebuild, (type(self), dict(self.__dict__))

    def copy(self) -> EvergrantError:
        """Return a copy to raise in another thread or later.

        It has no traceback and no cause: they belong to one raise, and would keep its frames alive.
        """
        return _rebuild(type(self), dict(self.__dict__))


def _rebuild(kind: type[EvergrantError], state: dict[str, Any]) -> EvergrantError:
    error = kind.__new__(kind, state["message"])
    error.__dict__.update(state)
    return error


class InvalidRequest(EvergrantError, ValueError):
    """The connection's name or `min_ttl` is not valid."""

    code = "invalid_request"
    default_hint = "Connections are written provider/account, e.g. keap/main; min_ttl is in seconds, 0 or more."


class MissingHeaders(EvergrantError):
    """The provider requires headers on each call that only the caller knows, and they are absent.

    Attributes
    ----------
    names : tuple of str
        The missing headers, e.g. ``("x-user-id",)``.
    """

    code = "missing_headers"

    def __init__(self, connection: str, names: tuple[str, ...]) -> None:
        self.names = names
        listed = ", ".join(names)
        super().__init__(
            f"{connection} requires {listed} on every call, and this call does not have it.",
            connection=connection,
            hint=f"Pass {listed} with a value among the headers of the call.",
        )


class NotConfigured(EvergrantError):
    """Getter is needed and its name is missing or wrong, or another setting is."""

    code = "not_configured"
    default_hint = (
        "Set EVERGRANT_GETTER to the stack output GetterFunctionArn, or to ApiUrl for a consumer that may only call "
        "its connection's path, and EVERGRANT_PREFIX to the output SecretPrefix."
    )


class AccessDenied(EvergrantError):
    """AWS does not let this caller read the secret or invoke getter."""

    code = "access_denied"
    default_hint = "Attach the managed policy of the stack output ConsumerPolicyArn to this function's role."


class UnexpectedAnswer(EvergrantError):
    """A secret or an answer of getter is not in the form that this client knows."""

    code = "unexpected_answer"
    default_hint = "Check that EVERGRANT_PREFIX and EVERGRANT_GETTER name the same stack, and update this client."


class TemporarilyUnavailable(EvergrantError):
    """No valid token is available now.

    Attributes
    ----------
    retry_after : float or None
        Seconds to wait before the next try, where it is known.
    """

    code = "temporarily_unavailable"
    default_hint = "Try again later."

    def __init__(
        self,
        message: str,
        *,
        connection: str | None = None,
        hint: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        self.retry_after = retry_after
        super().__init__(message, connection=connection, hint=hint)


class ConnectionUnusable(EvergrantError):
    """The connection gives no tokens until a person acts."""


class UnknownConnection(ConnectionUnusable):
    """Evergrant has no connection of this name."""

    code = "unknown_connection"
    default_hint = "Check the spelling, or run `evergrant connect` for it."


class AuthorizationRequired(ConnectionUnusable):
    """The account's owner has to authorize again, or has not done it yet."""

    code = "authorization_required"
    default_hint = "Run `evergrant connect` for it and open the link."


class ClientRefused(ConnectionUnusable):
    """The provider rejects the client's credentials. The account's owner need not authorize again."""

    code = "client_refused"
    default_hint = "The operator must correct the client's secret in Secrets Manager."


class Paused(ConnectionUnusable):
    """An operator paused the connection."""

    code = "paused"
    default_hint = "An operator can run `evergrant resume` for it."


class Disconnected(ConnectionUnusable):
    """An operator disconnected the connection."""

    code = "disconnected"
    default_hint = "Run `evergrant connect` for it to authorize it anew."


BY_CODE: dict[str, type[EvergrantError]] = {
    kind.code: kind
    for kind in (
        InvalidRequest,
        TemporarilyUnavailable,
        UnknownConnection,
        AuthorizationRequired,
        ClientRefused,
        Paused,
        Disconnected,
    )
}
"""The codes that getter's answers carry."""
