"""Connect an account, from the link to the saved grant (RFC 6749 section 4.1, RFC 7636, RFC 9207, RFC 9700).

A browser makes three requests:

1. **Landing**: the page that says what the link is for. It sets the cookie and changes nothing.
2. **Start authorization**: the ticket is bound to the browser's cookie, and the browser goes to the provider with a
   state that is used once.
3. **Handle callback**: the browser comes back with the provider's answer. After every check the code is exchanged and
   the grant is saved.

Tickets and states are stored hashed (:mod:`evergrant.connect.links`). The code verifier is derived from the cookie and
the state (:mod:`evergrant.connect.pkce_binding`): neither a stolen table nor a stolen link is enough to finish another
person's authorization.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlsplit

from ..errors import Conflict, InvalidClient
from ..link_errors import Denied, LinkError, LinkExpired, LinkInvalid, LinkUsed, NoCookie, NotFinished
from ..oauth.authorization_request import build_authorization_url
from ..oauth.authorization_response import is_denial_without_state
from ..oauth.client import Client
from ..oauth.token_request import build_token_requests
from ..ports import ConnectPorts, PortUnavailable
from ..profiles.model import Profile
from ..record.connection import Connection
from ..settings import Settings
from .attempt_limits import AttemptLimits
from .authorization_views import AuthorizationView, AuthorizationViews, LandingView
from .callback import CallbackExchange
from .links import RETENTION_SECONDS, STATE_LIFETIME_SECONDS, Authorization, hash_secret, state_key, ticket_key
from .mix_up import find_unchecked_issuer, require_mix_up_defence
from .pkce_binding import PkceBinding
from .state_cookie import bind_ticket, create_cookie, require_state_cookie
from .tickets import Tickets


@dataclass(frozen=True, slots=True)
class AuthorizationStart:
    """Where the browser goes, the cookie that it has to keep, and the provider's title."""

    url: str = field(repr=False)
    cookie: str = field(repr=False)
    provider: str


class AuthorizationFlow:
    """The three steps of a browser."""

    def __init__(self, ports: ConnectPorts, settings: Settings) -> None:
        self._ports = ports
        self._settings = settings
        self._tickets = Tickets(ports.authorizations, ports.clock)
        self._limits = AttemptLimits(ports.authorizations, ports.clock)
        self._views = AuthorizationViews(ports)

    def describe_landing(self, ticket: str, cookie: str | None) -> LandingView:
        """Return what the link is for. Changes nothing: link previews and scanners open links too.

        The browser gets its cookie with the page, not with the answer to its button: a person who presses twice sends
        the same cookie twice. A cookie that the browser has already, from another tab, is kept.

        Raises
        ------
        LinkInvalid, LinkExpired, LinkUsed
        """
        stored = self._tickets.find(ticket_key(ticket))
        authorization = _read_authorization(stored)
        with self._views.name_in_errors(authorization):
            self._tickets.require_open(stored)
        view, loopback = self._views.describe(authorization), self._settings.allow_loopback
        url = urlsplit(
            build_authorization_url(self._profile(authorization), authorization.variables, {}, loopback=loopback)
        )
        return LandingView(
            view.provider,
            view.account,
            view.scopes,
            self._views.describe_changes(authorization, another_account=bool(stored.get("another_account"))),
            origin=f"{url.scheme}://{url.netloc}",
            cookie=cookie or create_cookie(),
        )

    # --- start authorization ----------------------------------------------------------------------------------

    def start_authorization(self, ticket: str, cookie: str | None) -> AuthorizationStart:
        """Bind the ticket to this browser, by its cookie, and return the provider's consent address.

        Raises
        ------
        LinkInvalid, LinkExpired, LinkUsed, WrongBrowser, NoCookie, TooManyAttempts
        UnknownClient, InvalidClient
            The client cannot be used. It is better to say so before the account's owner consents.
        """
        key = ticket_key(ticket)
        stored = self._tickets.find(key)
        authorization = _read_authorization(stored)
        with self._views.name_in_errors(authorization):
            self._tickets.require_open(stored)
            if not cookie:
                raise NoCookie("The browser did not keep the page's cookie.")
            bind_ticket(self._ports.authorizations, key, stored, cookie)
            with self._tickets.record_problem(key):
                client = self._find_usable_client(authorization)
                self._limits.count(key, authorization.connection, "starts")
            return self._issue_state(key, authorization, client, cookie)

    def _find_usable_client(self, authorization: Authorization) -> Client:
        """Return the authorization's client, if its entry allows the host where the code is to be exchanged.

        A defence against a mix-up is in place.
        """
        client = self._ports.vault.client(authorization.client)
        require_mix_up_defence(self._profile(authorization), authorization, client)
        newest, *_ = build_token_requests(
            self._profile(authorization),
            "exchange",
            authorization.variables,
            client,
            {},
            now=self._now,
            loopback=self._settings.allow_loopback,
        )
        host = urlsplit(newest.url).netloc.lower()
        if host not in client.hosts:
            raise InvalidClient(
                f"The entry of client {client.name} does not allow {host}, where the code is to be exchanged.",
                f"Add it to the client's hosts: `evergrant client set {client.name}`.",
            )
        return client

    def _issue_state(
        self, ticket: str, authorization: Authorization, client: Client, cookie: str
    ) -> AuthorizationStart:
        """Store a new state, and build the address with which the browser goes to the provider."""
        state, expires_at = secrets.token_urlsafe(32), self._now + STATE_LIFETIME_SECONDS
        self._ports.authorizations.put(
            state_key(state),
            {"ticket": ticket, "cookie_hash": hash_secret(cookie), "expires_at": expires_at},
            expires_at + RETENTION_SECONDS,
        )
        binding, profile = PkceBinding(cookie, state), self._profile(authorization)
        url = build_authorization_url(
            profile,
            authorization.variables,
            {
                "client_id": client.client_id,
                "redirect_uri": authorization.redirect_uri,
                "scope": authorization.scope,
                "state": state,
                "code_challenge": binding.code_challenge,
                "nonce": binding.nonce,
            },
            loopback=self._settings.allow_loopback,
        )
        return AuthorizationStart(url, cookie, profile.title)

    # --- handle callback --------------------------------------------------------------------------------------

    def handle_callback(
        self, params: Mapping[str, str], cookie: str | None, arrived_for: str | None = None
    ) -> AuthorizationView:
        """Check the provider's answer, exchange the code, and save the grant.

        Nothing is sent to the provider before every check has passed. A reload shows how the first request ended.

        Parameters
        ----------
        arrived_for
            The provider whose own redirect URI was called; None for the one that all share.

        Raises
        ------
        LinkInvalid, LinkExpired, LinkUsed, WrongBrowser, TooManyAttempts
        Denied, NotFinished, WrongProvider, WrongAccount, NoRefreshToken, ProviderRefused
        """
        if cookie and is_denial_without_state(params):
            # Which authorization it ends is unknown, so it ends none: the link still works.
            raise Denied("Access was not allowed, at a provider that did not send the state back.")
        state = params.get("state", "")
        key = state_key(state)
        pending = self._ports.authorizations.get(key) if state else None
        if pending is None:
            raise LinkInvalid("This answer belongs to no authorization that was begun here.")
        binding = PkceBinding(require_state_cookie(pending, cookie), state)
        ticket = self._ports.authorizations.get(pending["ticket"])
        if ticket is None:
            raise LinkInvalid("The link of this authorization is gone.")
        authorization = _read_authorization(ticket)
        with self._views.name_in_errors(authorization):
            outcome = pending.get("outcome") or self._claim_state(key, pending)
            if outcome:
                return self._repeat_outcome(outcome, authorization)
            connection = self._obtain_grant(params, key, pending, ticket, binding, arrived_for)
            # Ask for publication. If the message is lost, the record is due within a minute anyway.
            with suppress(PortUnavailable):
                self._ports.queue.send({"connection": connection.name})
            view = self._views.describe_result(authorization)
            return replace(view, unchecked_issuer=find_unchecked_issuer(self._profile(authorization), params))

    def _claim_state(self, key: str, pending: Mapping[str, Any]) -> str | None:
        """Use up the state. Returns the outcome of the request that did so before; None where this is the first."""
        if pending["expires_at"] <= self._now:
            raise LinkExpired("Too much time went by at the provider.")
        try:
            self._ports.authorizations.change(key, {"outcome": "begun"}, only_if={"outcome": None})
        except Conflict as conflict:
            return str((conflict.current or {}).get("outcome", "begun"))
        return None

    def _obtain_grant(
        self,
        params: Mapping[str, str],
        key: str,
        pending: Mapping[str, Any],
        ticket: Mapping[str, Any],
        binding: PkceBinding,
        arrived_for: str | None,
    ) -> Connection:
        """Exchange the code and save the grant, with the ticket claimed; store the outcome with the state."""
        authorization, outcome = _read_authorization(ticket), "failed"
        try:
            with (
                self._tickets.record_problem(pending["ticket"]),
                self._keep_failure(authorization.connection),
                self._tickets.claim(pending["ticket"], ticket),
            ):
                connection = CallbackExchange(self._ports, self._settings).obtain_grant(
                    params,
                    self._profile(authorization),
                    authorization,
                    binding,
                    another_account=bool(ticket.get("another_account")),
                    arrived_for=arrived_for,
                    ticket=pending["ticket"],
                )
            outcome = "connected"
        except LinkError as error:
            outcome = error.code
            raise
        finally:
            # The grant is saved or not by now: an outcome that is not stored shows on a reload only.
            with suppress(PortUnavailable):
                self._ports.authorizations.change(key, {"outcome": outcome}, only_if={"outcome": "begun"})
        return connection

    @contextmanager
    def _keep_failure(self, connection: str) -> Iterator[None]:
        """Keep in the record how the provider ended an authorization. The grant that it has is not touched."""
        try:
            yield
        except LinkError as error:
            if error.failure is not None:
                failure = {"code": error.code, "at": self._now, **error.failure.as_dict()}
                with suppress(Conflict, PortUnavailable):
                    self._ports.records.change(connection, {"authorization_failure": failure})
            raise

    def _repeat_outcome(self, outcome: str, authorization: Authorization) -> AuthorizationView:
        """Answer a reload of the callback as the first request ended."""
        if outcome == "connected":
            return self._views.describe_result(authorization)
        if outcome == Denied.code:
            raise Denied("Access was not allowed.")
        if outcome == NotFinished.code:
            raise NotFinished("The person did not finish at the provider.")
        if outcome == "begun":
            raise LinkUsed("This answer is being handled already.")
        raise LinkUsed("This answer was used already, without success.")

    def _profile(self, authorization: Authorization) -> Profile:
        return self._ports.profiles.load_pinned(authorization.profile_hash)

    @property
    def _now(self) -> int:
        return int(self._ports.clock.now())


def _read_authorization(ticket: Mapping[str, Any]) -> Authorization:
    return Authorization(**{name: ticket.get(name) for name in Authorization.__dataclass_fields__})  # type: ignore[arg-type]
