"""Connecting an account: from the link to the saved grant (RFC 6749 section 4.1, RFC 7636, RFC 9207, RFC 9700).

A *ticket* is the secret in the link; it says what is to be authorized and is used up when the grant is saved. A *state*
is the secret of one trip to the provider; it is used once. Both are stored hashed, and say themselves when they expire.
A cookie binds both to one browser; the code verifier is derived from the cookie and the state, so that neither a stolen
table nor a stolen link is enough to finish somebody else's authorization.
"""

from __future__ import annotations

import hmac
import secrets
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from hashlib import sha256
from typing import Any, Literal

from . import deferred, transitions
from .connection import Connection, Status
from .dialect import HttpRequest, Refusal, authorization_url, read_answer, read_callback, token_request
from .errors import (
    Conflict,
    Denied,
    LinkError,
    LinkExpired,
    LinkInvalid,
    LinkUsed,
    LostAnswer,
    NotSent,
    ProviderRefused,
    TemporarilyUnavailable,
    UnreadAnswer,
    WrongBrowser,
)
from .ports import Authorizations, Clock, PortUnavailable, Profiles, Provider, Queue, Records, Seal, Vault
from .profile import Profile
from .settings import Settings
from .tokens import TokenSet

TICKET_LIFETIME = 900
STATE_LIFETIME = 900
#: How long expired tickets and states are kept, to tell a late visitor what happened (seconds).
KEPT = 86_400
_SAVE_TRIES = 3


@dataclass(frozen=True, slots=True)
class Authorization:
    """What is to be authorized: everything of the connection that a saved grant brings with it."""

    connection: str
    client: str
    profile_hash: str
    variables: Mapping[str, str]
    scope: str | None
    redirect_uri: str
    direct_read: bool = True


@dataclass(frozen=True, slots=True)
class View:
    """What a page may show of an authorization: the provider's title and the account's name."""

    provider: str
    account: str


@dataclass(frozen=True, slots=True)
class Departure:
    """Where the browser is sent, and the cookie it is to keep."""

    url: str = field(repr=False)
    cookie: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Ports:
    """Everything outside, see :mod:`evergrant.ports`."""

    records: Records
    authorizations: Authorizations
    profiles: Profiles
    vault: Vault
    seal: Seal
    provider: Provider
    queue: Queue
    clock: Clock


def issue_ticket(
    authorizations: Authorizations, authorization: Authorization, now: int, lifetime: int = TICKET_LIFETIME
) -> str:
    """A new ticket: 256 random bits, as 43 characters of base64url. ``lifetime`` is in seconds."""
    ticket = secrets.token_urlsafe(32)
    fields = {**asdict(authorization), "expires_at": now + lifetime}
    authorizations.put(_key("ticket", ticket), fields, now + lifetime + KEPT)
    return ticket


def ticket_progress(authorizations: Authorizations, ticket: str) -> Literal["unopened", "opened", "used"]:
    """How far somebody is with a ticket: *opened* is sent to the provider, *used* is saved."""
    held = authorizations.get(_key("ticket", ticket)) or {}
    if held.get("used_at"):
        return "used"
    return "opened" if held.get("cookie_hash") else "unopened"


class Flow:
    """The three steps a browser takes."""

    def __init__(self, ports: Ports, settings: Settings) -> None:
        self._ports = ports
        self._settings = settings

    def landing(self, ticket: str) -> View:
        """What the link is for. Changes nothing: link previews and scanners come here too.

        Raises
        ------
        LinkInvalid, LinkExpired, LinkUsed
        """
        return self._view(self._authorization(self._ticket(_key("ticket", ticket))))

    def allowed_origin(self, ticket: str) -> str:
        """The origin of the provider's authorization endpoint, for the page's ``form-action``."""
        authorization = self._authorization(self._ticket(_key("ticket", ticket)))
        url = authorization_url(
            self._profile(authorization), authorization.variables, {}, loopback=self._settings.allow_loopback
        )
        return "/".join(url.split("/", 3)[:3])

    def depart(self, ticket: str, cookie: str | None) -> Departure:
        """Bind the ticket to this browser and send it to the provider.

        Parameters
        ----------
        cookie
            The browser's cookie if it has one already (another tab), which is then kept.

        Raises
        ------
        LinkInvalid, LinkExpired, LinkUsed, WrongBrowser
        """
        key, now = _key("ticket", ticket), self._now
        held = self._ticket(key)
        cookie = cookie or secrets.token_urlsafe(32)
        owner = _hash(cookie)
        if held.get("cookie_hash") not in (None, owner):
            raise WrongBrowser("This link was opened in another browser.")
        if held.get("cookie_hash") is None:
            try:
                self._ports.authorizations.change(key, {"cookie_hash": owner}, only_if={"cookie_hash": None})
            except Conflict as conflict:
                if (conflict.current or {}).get("cookie_hash") != owner:
                    raise WrongBrowser("This link was opened in another browser.") from conflict
        authorization = self._authorization(held)
        state = secrets.token_urlsafe(32)
        self._ports.authorizations.put(
            _key("state", state),
            {"ticket": key, "cookie_hash": owner, "expires_at": now + STATE_LIFETIME},
            now + STATE_LIFETIME + KEPT,
        )
        verifier = _code_verifier(cookie, state)
        url = authorization_url(
            self._profile(authorization),
            authorization.variables,
            {
                "client_id": self._ports.vault.client(authorization.client).client_id,
                "redirect_uri": authorization.redirect_uri,
                "scope": authorization.scope,
                "state": state,
                "code_challenge": _b64(sha256(verifier.encode()).digest()),
            },
            loopback=self._settings.allow_loopback,
        )
        return Departure(url, cookie)

    def arrive(self, params: Mapping[str, str], cookie: str | None) -> View:
        """The provider sent the browser back: check everything, exchange the code, save the grant.

        Nothing is sent to the provider before every check has passed. A reload shows how the first visit ended.

        Raises
        ------
        LinkInvalid, LinkExpired, LinkUsed, WrongBrowser, Denied, ProviderRefused, TemporarilyUnavailable
        """
        state = params.get("state", "")
        key = _key("state", state)
        pending = self._ports.authorizations.get(key) if state else None
        if pending is None:
            raise LinkInvalid("This answer belongs to no authorization that was begun here.")
        if not cookie or not hmac.compare_digest(_hash(cookie), pending["cookie_hash"]):
            raise WrongBrowser("This authorization was begun in another browser.")
        held = self._ports.authorizations.get(pending["ticket"])
        if held is None:
            raise LinkInvalid("The link of this authorization is gone.")
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
            connection = self._finish(params, authorization, cookie, state)
            outcome = "connected"
        except LinkError as error:
            outcome = error.code
            raise
        finally:
            self._ports.authorizations.change(key, {"outcome": outcome}, only_if={"outcome": "begun"})
        self._ports.authorizations.change(pending["ticket"], {"used_at": self._now}, only_if={})
        self._announce(connection)
        return self._view(authorization)

    # --- the parts of an arrival ------------------------------------------------------------------------------

    def _finish(self, params: Mapping[str, str], authorization: Authorization, cookie: str, state: str) -> Connection:
        profile = self._profile(authorization)
        issuer = profile.authorize.issuer if profile.authorize else None
        callback = read_callback(profile, params)
        if callback.error:
            if callback.error == "access_denied":
                raise Denied("Access was not allowed.")
            raise ProviderRefused("The provider refused the authorization.")
        if issuer and params.get("iss") not in (None, issuer):
            raise ProviderRefused("The answer came from another server than the one asked (RFC 9207).")
        if callback.code is None:
            raise ProviderRefused("The provider's answer holds no authorization code.")
        client = self._ports.vault.client(authorization.client)
        current = self._ports.records.get(authorization.connection)
        if current is None:
            raise LinkInvalid("The connection is gone.")
        # Fetched before the code is spent: afterwards nothing but the save stands between it and safety.
        data_key = self._ports.seal.prepare(current.name, current.generation + 1)
        request = token_request(
            profile,
            "exchange",
            authorization.variables,
            client,
            client.secrets[0] if client.secrets else None,
            {
                "code": callback.code,
                "redirect_uri": authorization.redirect_uri,
                "code_verifier": _code_verifier(cookie, state)
                if profile.authorize and profile.authorize.pkce
                else None,
            },
            now=self._now,
            loopback=self._settings.allow_loopback,
        )
        tokens = self._exchange(request, profile, client.hosts)
        tokens = replace(tokens, captured={**callback.captured, **tokens.captured})
        for _ in range(_SAVE_TRIES):
            sealed = data_key.seal(tokens.encode())
            changes = {
                **transitions.saved(
                    _pending(current, authorization), tokens, sealed, profile, self._settings, self._now
                ),
                **_brought(authorization),
                "grant": "authorization_code",
                "authorization_id": str(uuid.uuid4()),
            }
            try:
                return self._ports.records.change(
                    current.name, changes, only_if={"generation": current.generation, "status": current.status}
                )
            except PortUnavailable:
                # The code is spent: what it brought goes into the queue, and is saved by whoever receives it.
                self._ports.queue.send(deferred.message(current, changes))
                return current
            except Conflict as conflict:
                # A rotation of the old grant was saved meanwhile: the new grant goes on top of it.
                if conflict.current is None:
                    raise
                current = conflict.current
                data_key = self._ports.seal.prepare(current.name, current.generation + 1)
        raise TemporarilyUnavailable("The connection changed too often meanwhile.", 60)

    def _exchange(self, request: HttpRequest, profile: Profile, hosts: tuple[str, ...]) -> TokenSet:
        sent_at = self._now
        try:
            response = self._ports.provider.send(request, hosts=hosts, timeout=self._settings.budgets.attempt)
            answer = read_answer(profile, response, sent_at)
        except (NotSent, LostAnswer, UnreadAnswer) as error:
            raise ProviderRefused(error.message) from error
        if isinstance(answer, Refusal):
            raise ProviderRefused(f"The provider refused the code's exchange ({answer.code or answer.status}).")
        if answer.refresh_token is None and profile.refresh:
            raise ProviderRefused("The provider gave no refresh token, so the connection could not be kept alive.")
        return answer

    def _announce(self, connection: Connection) -> None:
        """Ask for publication. Were the message lost, the record is due in a minute anyway."""
        try:
            self._ports.queue.send({"connection": connection.name})
        except PortUnavailable:
            return

    def _told_again(self, outcome: str, authorization: Authorization) -> View:
        if outcome == "connected":
            return self._view(authorization)
        if outcome == Denied.code:
            raise Denied("Access was not allowed.")
        if outcome == "begun":
            raise LinkUsed("This answer is being worked on already.")
        raise LinkUsed("This answer was used already, without success.")

    # --- small things -----------------------------------------------------------------------------------------

    def _ticket(self, key: str) -> dict[str, Any]:
        held = self._ports.authorizations.get(key)
        if held is None:
            raise LinkInvalid("This link is not known here.")
        if held.get("used_at"):
            raise LinkUsed("This link was used already: the account is connected.")
        if held["expires_at"] <= self._now:
            raise LinkExpired("This link has expired.")
        return held

    @staticmethod
    def _authorization(held: Mapping[str, Any]) -> Authorization:
        return Authorization(**{name: held.get(name) for name in Authorization.__dataclass_fields__})  # type: ignore[arg-type]

    def _view(self, authorization: Authorization) -> View:
        return View(self._profile(authorization).title, authorization.connection.partition("/")[2])

    def _profile(self, authorization: Authorization) -> Profile:
        return self._ports.profiles.pinned(authorization.profile_hash)

    @property
    def _now(self) -> int:
        return int(self._ports.clock.now())


def _brought(authorization: Authorization) -> dict[str, Any]:
    """What the saved grant brings into the record, over whatever an earlier one left there."""
    brought = asdict(authorization)
    del brought["connection"]
    return brought


def _pending(current: Connection, authorization: Authorization) -> Connection:
    """The record as if this authorization were its first: whatever troubled the old grant is over."""
    return replace(current, **_brought(authorization), grant="authorization_code", status=Status.AWAITING_AUTHORIZATION)


def _key(kind: str, secret: str) -> str:
    return f"{kind}#{_hash(secret)}"


def _hash(secret: str) -> str:
    return sha256(secret.encode()).hexdigest()


def _code_verifier(cookie: str, state: str) -> str:
    """43 characters (RFC 7636 section 4.1), known only to who holds the cookie *and* the state."""
    return _b64(hmac.digest(cookie.encode(), f"code_verifier:{state}".encode(), "sha256"))


def _b64(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode()
