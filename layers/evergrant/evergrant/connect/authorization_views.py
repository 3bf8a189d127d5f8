"""What the pages show of an authorization: the provider's title, the account's name, scopes and changes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace

from ..errors import EvergrantError
from ..oauth.scopes import find_missing_scopes
from ..ports import ConnectPorts, PortUnavailable
from ..record.status import Status
from .links import Authorization
from .scopes import ReconnectChanges, compare_grants


@dataclass(frozen=True, slots=True)
class AuthorizationView:
    """What a page may show. ``scopes`` were asked for; those in ``missing`` were not granted.

    ``unchecked_issuer`` is for the log: the issuer that a response named, where the profile knows none.
    """

    provider: str
    account: str
    scopes: tuple[str, ...]
    missing: tuple[str, ...] = ()
    unchecked_issuer: str | None = None


@dataclass(frozen=True, slots=True)
class LandingView:
    """What the first page shows, and the browser's cookie.

    ``origin`` is that of the provider's consent address. ``changes`` is there where the account was connected before.
    """

    provider: str
    account: str
    scopes: tuple[str, ...]
    changes: ReconnectChanges | None
    origin: str
    cookie: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class AuthorizationViews:
    """Describes authorizations."""

    ports: ConnectPorts

    def describe(self, authorization: Authorization) -> AuthorizationView:
        profile = self.ports.profiles.load_pinned(authorization.profile_hash)
        separator = profile.authorize.scope_separator if profile.authorize else " "
        scopes = tuple(filter(None, (authorization.scope or "").split(separator)))
        return AuthorizationView(profile.title, authorization.connection.partition("/")[2], scopes)

    def describe_result(self, authorization: Authorization) -> AuthorizationView:
        """Return what the last page shows. The grant is saved: a record that cannot be read is no failure."""
        view, record = self.describe(authorization), None
        with suppress(PortUnavailable):
            record = self.ports.records.get(authorization.connection)
        return replace(view, missing=find_missing_scopes(authorization.scope, record.granted_scope)) if record else view

    def describe_changes(self, authorization: Authorization, *, another_account: bool) -> ReconnectChanges | None:
        """Return what connecting again changes; None where there was no grant before."""
        current = self.ports.records.get(authorization.connection)
        if current is None or current.authorization_id is None or current.status is Status.DISCONNECTED:
            return None
        profile = self.ports.profiles.load_pinned(authorization.profile_hash)
        return compare_grants(
            current,
            client=authorization.client,
            scope=authorization.scope,
            profile_hash=authorization.profile_hash,
            same_account=profile.subject is not None and current.subject is not None and not another_account,
        )

    @contextmanager
    def name_in_errors(self, authorization: Authorization) -> Iterator[None]:
        """Let an error that is raised inside name the connection, and its page the provider and the account."""
        try:
            yield
        except EvergrantError as error:
            error.authorizing = authorization.connection
            with suppress(EvergrantError, PortUnavailable):
                view = self.describe(authorization)
                error.about = view.provider, view.account
            raise
