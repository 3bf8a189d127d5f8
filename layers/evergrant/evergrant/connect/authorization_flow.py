"""Connecting an account: from the link to the saved grant (RFC 6749 section 4.1, RFC 7636, RFC 9207, RFC 9700).

A *ticket* is the secret in the link; it says what is to be authorized and is used up when the grant is saved. A *state*
is the secret of one trip to the provider; it is used once. Both are stored hashed, and say themselves when they expire.
A cookie binds both to one browser; the code verifier is derived from the cookie and the state, so that neither a stolen
table nor a stolen link is enough to finish somebody else's authorization.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlsplit

from ..errors import (
    Conflict,
    Denied,
    EvergrantError,
    InvalidClient,
    LinkError,
    LinkExpired,
    LinkInvalid,
    LinkUsed,
    NoCookie,
    WrongBrowser,
)
from ..oauth.authorization_request import build_authorization_url
from ..oauth.client import Client
from ..oauth.token_request import build_token_requests
from ..ports import ConnectPorts, PortUnavailable
from ..profiles.model import Profile
from ..record.connection import Status
from ..settings import Settings
from .callback import CallbackExchange, PkceBinding
from .links import RETENTION_SECONDS, STATE_LIFETIME_SECONDS, Authorization, hash_secret, state_key, ticket_key
from .scopes import ReconnectChanges, compare_grants, split_scopes

#: For how long one answer of the provider may be worked on: longer than callback's own timeout (seconds).
_CLAIM_SECONDS = 40


@dataclass(frozen=True, slots=True)
class AuthorizationView:
    """What a page may show of an authorization: the provider's title, the account's name, and the scopes asked for.

    ``again`` is there where the account was connected before; ``missing`` are scopes that were not granted.
    """

    provider: str
    account: str
    scopes: tuple[str, ...]
    again: ReconnectChanges | None = None
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LandingView(AuthorizationView):
    """The first page: the origin of the provider's consent address, and the browser's cookie."""

    origin: str = ""
    cookie: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class AuthorizationStart:
    """Where the browser is sent, the cookie it is to keep, and the provider's title."""

    url: str = field(repr=False)
    cookie: str = field(repr=False)
    provider: str


class AuthorizationFlow:
    """The three steps a browser takes."""

    def __init__(self, ports: ConnectPorts, settings: Settings) -> None:
        self._ports = ports
        self._settings = settings

    def landing(self, ticket: str, cookie: str | None) -> LandingView:
        """What the link is for. Changes nothing here: link previews and scanners come too.

        The browser gets its cookie with the page, not with the answer to its button: who presses twice sends the same
        cookie twice. One that it has already (another tab) is kept.

        Raises
        ------
        LinkInvalid, LinkExpired, LinkUsed
        """
        held = self._ticket(ticket_key(ticket))
        authorization = self._authorization(held)
        view, loopback = self._view(authorization), self._settings.allow_loopback
        url = urlsplit(
            build_authorization_url(self._profile(authorization), authorization.variables, {}, loopback=loopback)
        )
        origin = f"{url.scheme}://{url.netloc}"
        return LandingView(
            view.provider,
            view.account,
            view.scopes,
            self._again(authorization, another_account=bool(held.get("another_account"))),
            origin=origin,
            cookie=cookie or secrets.token_urlsafe(32),
        )

    def start_authorization(self, ticket: str, cookie: str | None) -> AuthorizationStart:
        """Bind the ticket to this browser, by its cookie, and send it to the provider.

        Raises
        ------
        LinkInvalid, LinkExpired, LinkUsed, WrongBrowser, NoCookie
        UnknownClient, InvalidClient
            The client cannot be used for this: better said now than after somebody consented.
        """
        key = ticket_key(ticket)
        held = self._ticket(key)
        with self._naming(held):
            return self._departed(key, held, cookie)

    def _departed(self, key: str, held: Mapping[str, Any], cookie: str | None) -> AuthorizationStart:
        now = self._now
        if not cookie:
            raise NoCookie("The browser did not keep the page's cookie.")
        owner = hash_secret(cookie)
        if held.get("cookie_hash") not in (None, owner):
            raise WrongBrowser("This link was opened in another browser.")
        if held.get("cookie_hash") is None:
            try:
                self._ports.authorizations.change(key, {"cookie_hash": owner}, only_if={"cookie_hash": None})
            except Conflict as conflict:
                if (conflict.current or {}).get("cookie_hash") != owner:
                    raise WrongBrowser("This link was opened in another browser.") from conflict
        authorization = self._authorization(held)
        with self._noting_problem(key):
            client = self._usable_client(authorization)
        state = secrets.token_urlsafe(32)
        self._ports.authorizations.put(
            state_key(state),
            {"ticket": key, "cookie_hash": owner, "expires_at": now + STATE_LIFETIME_SECONDS},
            now + STATE_LIFETIME_SECONDS + RETENTION_SECONDS,
        )
        trip, profile = PkceBinding(cookie, state), self._profile(authorization)
        url = build_authorization_url(
            profile,
            authorization.variables,
            {
                "client_id": client.client_id,
                "redirect_uri": authorization.redirect_uri,
                "scope": authorization.scope,
                "state": state,
                "code_challenge": trip.code_challenge,
                "nonce": trip.nonce,
            },
            loopback=self._settings.allow_loopback,
        )
        return AuthorizationStart(url, cookie, profile.title)

    def handle_callback(self, params: Mapping[str, str], cookie: str | None) -> AuthorizationView:
        """The provider sent the browser back: check everything, exchange the code, save the grant.

        Nothing is sent to the provider before every check has passed. A reload shows how the first visit ended.

        Raises
        ------
        LinkInvalid, LinkExpired, LinkUsed, WrongBrowser, Denied, WrongAccount, NoRefreshToken, ProviderRefused
        """
        state = params.get("state", "")
        key = state_key(state)
        pending = self._ports.authorizations.get(key) if state else None
        if pending is None:
            raise LinkInvalid("This answer belongs to no authorization that was begun here.")
        if not cookie or not hmac.compare_digest(hash_secret(cookie), pending["cookie_hash"]):
            raise WrongBrowser("This authorization was begun in another browser.")
        held = self._ports.authorizations.get(pending["ticket"])
        if held is None:
            raise LinkInvalid("The link of this authorization is gone.")
        with self._naming(held):
            return self._arrived(params, key, pending, held, PkceBinding(cookie, state))

    # --- the parts of an arrival ------------------------------------------------------------------------------

    def _arrived(
        self,
        params: Mapping[str, str],
        key: str,
        pending: Mapping[str, Any],
        held: Mapping[str, Any],
        trip: PkceBinding,
    ) -> AuthorizationView:
        authorization = self._authorization(held)
        if pending.get("outcome"):
            return self._told_again(pending["outcome"], authorization)
        if pending["expires_at"] <= self._now:
            raise LinkExpired("Too much time went by at the provider.")
        try:
            self._ports.authorizations.change(key, {"outcome": "begun"}, only_if={"outcome": None})
        except Conflict as conflict:
            return self._told_again((conflict.current or {}).get("outcome", "begun"), authorization)
        outcome = "failed"
        try:
            with self._noting_problem(pending["ticket"]), self._working_on(pending["ticket"], held):
                another = bool(held.get("another_account"))
                obtaining, profile = CallbackExchange(self._ports, self._settings), self._profile(authorization)
                connection = obtaining.obtain_grant(params, profile, authorization, trip, another_account=another)
            outcome = "connected"
        except LinkError as error:
            outcome = error.code
            raise
        finally:
            # The grant is saved or not by now; that a reload is told so is not worth failing for.
            with suppress(PortUnavailable):
                self._ports.authorizations.change(key, {"outcome": outcome}, only_if={"outcome": "begun"})
        # Ask for publication. Were the message lost, the record is due in a minute anyway.
        with suppress(PortUnavailable):
            self._ports.queue.send({"connection": connection.name})
        return self._outcome(authorization)

    def _told_again(self, outcome: str, authorization: Authorization) -> AuthorizationView:
        if outcome == "connected":
            return self._outcome(authorization)
        if outcome == Denied.code:
            raise Denied("Access was not allowed.")
        if outcome == "begun":
            raise LinkUsed("This answer is being worked on already.")
        raise LinkUsed("This answer was used already, without success.")

    def _usable_client(self, authorization: Authorization) -> Client:
        client = self._ports.vault.client(authorization.client)
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

    @contextmanager
    def _naming(self, held: Mapping[str, Any]) -> Iterator[None]:
        """The page of whatever is refused here names the provider and the account."""
        try:
            yield
        except EvergrantError as error:
            with suppress(EvergrantError, PortUnavailable):
                view = self._view(self._authorization(held))
                error.about = view.provider, view.account
            raise

    @contextmanager
    def _noting_problem(self, ticket: str) -> Iterator[None]:
        """Leave the code of an error with the ticket, for the operator who waits for it."""
        problem = ""
        try:
            yield
        except EvergrantError as error:
            problem = error.code
            raise
        finally:
            with suppress(PortUnavailable):
                self._ports.authorizations.change(ticket, {"problem": problem}, only_if={})

    @contextmanager
    def _working_on(self, ticket: str, held: Mapping[str, Any]) -> Iterator[None]:
        """One answer for a ticket at a time, and one grant in all: two tabs may have come back with a code each.

        A ticket is used up when its grant is saved. One that a function died over is free again after a while.
        """
        if held.get("used_at"):
            raise LinkUsed("This link was used already: the account is connected.")
        mine, seen = {"claimed_until": self._now + _CLAIM_SECONDS}, held.get("claimed_until")
        busy = "Another answer for this link is being worked on already."
        if seen is not None and seen > self._now:
            raise LinkUsed(busy)
        try:
            self._ports.authorizations.change(ticket, mine, only_if={"claimed_until": seen, "used_at": None})
        except Conflict as conflict:
            raise LinkUsed(busy) from conflict
        after: dict[str, int] = {"claimed_until": self._now}
        try:
            yield
            after = {"used_at": self._now}
        finally:
            # The grant is saved or not by now; the record says which.
            with suppress(PortUnavailable):
                self._ports.authorizations.change(ticket, after, only_if={})

    # --- small things -----------------------------------------------------------------------------------------

    def _ticket(self, key: str) -> dict[str, Any]:
        held = self._ports.authorizations.get(key)
        if held is None:
            raise LinkInvalid("This link is not known here.")
        with self._naming(held):
            if held.get("used_at"):
                raise LinkUsed("This link was used already: the account is connected.")
            if held["expires_at"] <= self._now:
                raise LinkExpired("This link has expired.")
        return held

    @staticmethod
    def _authorization(held: Mapping[str, Any]) -> Authorization:
        return Authorization(**{name: held.get(name) for name in Authorization.__dataclass_fields__})  # type: ignore[arg-type]

    def _again(self, authorization: Authorization, *, another_account: bool) -> ReconnectChanges | None:
        """What connecting again would change; None where there was no grant before."""
        current = self._ports.records.get(authorization.connection)
        if current is None or current.authorization_id is None or current.status is Status.DISCONNECTED:
            return None
        return compare_grants(
            current,
            client=authorization.client,
            scope=authorization.scope,
            profile_hash=authorization.profile_hash,
            same_account=self._profile(authorization).subject is not None
            and current.subject is not None
            and not another_account,
        )

    def _outcome(self, authorization: Authorization) -> AuthorizationView:
        """What the last page says. That it cannot be told is no reason to call a grant that is saved a failure."""
        view, record = self._view(authorization), None
        with suppress(PortUnavailable):
            record = self._ports.records.get(authorization.connection)
        return replace(view, missing=split_scopes(record.missing_scope)) if record else view

    def _view(self, authorization: Authorization) -> AuthorizationView:
        profile = self._profile(authorization)
        separator = profile.authorize.scope_separator if profile.authorize else " "
        scopes = tuple(filter(None, (authorization.scope or "").split(separator)))
        return AuthorizationView(profile.title, authorization.connection.partition("/")[2], scopes)

    def _profile(self, authorization: Authorization) -> Profile:
        return self._ports.profiles.pinned(authorization.profile_hash)

    @property
    def _now(self) -> int:
        return int(self._ports.clock.now())
