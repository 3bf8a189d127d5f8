"""`Evergrant`, the object of the package."""

from __future__ import annotations

import os
import re
import time
import weakref
from collections.abc import Callable, Mapping
from contextlib import suppress

from ._aws import Aws, Boto3Session, Session
from ._errors import MissingHeaders, NotConfigured
from ._fetch import Fetcher
from ._tokens import AccessToken

DEFAULT_PREFIX = "evergrant"
DEFAULT_MIN_TTL = 60.0

_PREFIX = re.compile(r"[A-Za-z0-9_.@-]+(/[A-Za-z0-9_.@-]+)*")


class Evergrant:
    """Access tokens of the connections of one Evergrant stack.

    Usually made once in a process, and safe to share between threads. Each connection has one fetch
    under way at a time, and the threads that wait for it share its outcome. After a fork the child starts
    with an empty cache and clients of its own.

    Parameters
    ----------
    prefix : str, optional
        First part of the secrets' names (stack output ``SecretPrefix``). Default: the environment
        variable ``EVERGRANT_PREFIX``, else ``evergrant``.
    getter : str, optional
        Name or ARN of getter's function (stack output ``GetterFunctionArn``), or the address of its API
        (``ApiUrl``), for a role that may only call one connection's path. Default: the environment variable
        ``EVERGRANT_GETTER``. Without it only connections that have a secret can be read, and nothing can
        be renewed ahead of time.
    read_secrets : bool, optional
        Whether to read ``tokens/`` secrets; no, for a role that may only ask getter. Default: the environment
        variable ``EVERGRANT_READ_SECRETS`` (``true`` or ``false``), else yes.
    session : botocore or boto3 session, optional
        Where AWS clients come from. Default: a new botocore session at the first fetch.
    clock : callable, optional
        Returns the time in epoch seconds. Default: `time.time`.

    Raises
    ------
    NotConfigured
        The prefix cannot be the beginning of a secret's name, getter's URL is not an https URL, or
        neither secrets nor getter are left to read from.

    Examples
    --------
    >>> evergrant = Evergrant(getter="evergrant-getter")
    >>> evergrant.token("keap/main")  # doctest: +SKIP
    """

    def __init__(
        self,
        *,
        prefix: str | None = None,
        getter: str | None = None,
        read_secrets: bool | None = None,
        session: Session | Boto3Session | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._prefix = prefix or os.environ.get("EVERGRANT_PREFIX") or DEFAULT_PREFIX
        if not _PREFIX.fullmatch(self._prefix):
            raise NotConfigured("The prefix cannot be the beginning of a secret's name.")
        self._read_secrets = _may_read_secrets() if read_secrets is None else read_secrets
        self._getter = getter or os.environ.get("EVERGRANT_GETTER") or None
        self._session = session
        self._clock = clock
        self._reset()
        _instances.add(self)

    def _reset(self) -> None:
        """Forget everything: at the start, and in the child after a fork.

        A fork may copy locks that another thread holds, and TLS connections that the parent goes on
        using. The parent's tokens may be old when it forks.
        """
        self._aws = Aws(self._session, self._clock)
        self._forget()

    def _forget(self) -> None:
        """Forget tokens and failures, and close connections. The clients of AWS stay."""
        self._aws.close()
        prefix = self._prefix if self._read_secrets else None
        self._fetcher = Fetcher(prefix, self._getter, self._aws, self._clock)
        self._entries = self._fetcher.entries

    def token(self, connection: str, *, min_ttl: float = DEFAULT_MIN_TTL, rejected: str | None = None) -> str:
        """Return an access token that is valid for `min_ttl` seconds more.

        Parameters
        ----------
        connection : str
            ``provider/account``, e.g. ``keap/main``.
        min_ttl : float
            Seconds, 0 or more. If the provider's tokens do not live so long, the freshest one is returned.
            While none that is fresher is available, the cached one is returned as long as it is valid.
        rejected : str, optional
            The token that the provider has just rejected: another one is returned, read again or
            renewed. The auth classes do this themselves.

        Returns
        -------
        str
            The token. It is a secret: do not log it.

        Raises
        ------
        UnknownConnection, AuthorizationRequired, ClientRefused, Paused, Disconnected
            Trying again does not help: see `ConnectionUnusable`.
        TemporarilyUnavailable
            No valid token is available now, or only the rejected one.
        AccessDenied, NotConfigured, UnexpectedAnswer
            This function's role, settings or version is wrong.
        InvalidRequest
            The arguments are wrong.
        """
        if rejected is not None:
            return self._fetcher.fetch_other(connection, min_ttl, rejected).value
        entry = self._entries.get(connection)
        # The warm path, inlined: a dictionary, a clock and two comparisons.
        if entry is not None and entry.not_before <= self._clock() < entry.usable_until - min_ttl and min_ttl >= 0:
            return entry.token.value
        return self._fetcher.fetch(connection, min_ttl).value

    def access_token(self, connection: str, *, min_ttl: float = DEFAULT_MIN_TTL) -> AccessToken:
        """Return the token with everything that is published with it: expiry, headers, captured values.

        Parameters and errors are those of `token`.
        """
        return self._fetcher.find_cached(connection, min_ttl) or self._fetcher.fetch(connection, min_ttl)

    def headers(
        self, connection: str, per_call: Mapping[str, str] | None = None, *, min_ttl: float = DEFAULT_MIN_TTL
    ) -> dict[str, str]:
        """Return the headers to send with a call.

        Parameters
        ----------
        connection : str
            ``provider/account``.
        per_call : Mapping[str, str], optional
            Headers of this call alone, e.g. ``{"x-user-id": "u-17"}``. Headers that the connection's
            profile sets replace them.
        min_ttl : float
            Seconds, as for `token`.

        Returns
        -------
        dict
            A new one on each call. It holds the token: do not log it.

        Raises
        ------
        MissingHeaders
            `per_call` lacks a header that the provider requires on every call.
        EvergrantError
            As for `token`.
        """
        token = self.access_token(connection, min_ttl=min_ttl)
        given = per_call or {}
        missing = token.find_missing_headers(given)
        if missing:
            raise MissingHeaders(connection, missing)
        ours = {name.lower() for name in token.headers}
        return {**{name: value for name, value in given.items() if name.lower() not in ours}, **token.headers}


def _may_read_secrets() -> bool:
    value = os.environ.get("EVERGRANT_READ_SECRETS") or "true"
    if value not in ("true", "false"):
        raise NotConfigured("EVERGRANT_READ_SECRETS is neither true nor false.", hint="Set it to one of them.")
    return value == "true"


_instances: weakref.WeakSet[Evergrant] = weakref.WeakSet()


def _after_fork() -> None:
    _run_for_all(Evergrant._reset)


def _around_snapshot() -> None:
    _run_for_all(Evergrant._forget)


def _run_for_all(forget: Callable[[Evergrant], None]) -> None:
    """Make every instance forget, also where one is no longer configured, as after a change of the environment."""
    for instance in list(_instances):
        instance._entries.clear()
        with suppress(NotConfigured):
            forget(instance)


if hasattr(os, "register_at_fork"):  # not on Windows, where nothing forks
    os.register_at_fork(after_in_child=_after_fork)

try:
    # Lambda's Python runtimes have it. With SnapStart (AWS Lambda developer guide, "Lambda SnapStart runtime hooks for
    # Python") one process is copied into many, days later. The copy must hold neither tokens nor connections. It holds
    # the clients, since making them is most of a cold start. After a restore, what other hooks fetched is dropped too.
    from snapshot_restore_py import register_after_restore, register_before_snapshot
except ImportError:
    pass
else:
    register_before_snapshot(_around_snapshot)
    register_after_restore(_around_snapshot)
