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
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from hashlib import sha256
from typing import Any, Literal
from urllib.parse import urlsplit

from . import deferred, transitions
from .connection import Connection, Status
from .dialect import Client, HttpRequest, Refusal, authorization_url, read_answer, token_request
from .errors import (
    Conflict,
    Denied,
    EvergrantError,
    InvalidClient,
    LinkError,
    LinkExpired,
    LinkInvalid,
    LinkUsed,
    LostAnswer,
    NotSent,
    ProviderRefused,
    UnreadAnswer,
    WrongBrowser,
)
from .ports import Authorizations, Clock, DataKey, PortUnavailable, Profiles, Provider, Queue, Records, Seal, Vault
from .profile import Profile
from .saving import Saving
from .settings import Settings
from .tokens import TokenSet

TICKET_LIFETIME = 900
STATE_LIFETIME = 900
#: How long expired tickets and states are kept, to tell a late visitor what happened (seconds).
KEPT = 86_400


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


def attempt(authorizations: Authorizations, ticket: str) -> tuple[Literal["unopened", "opened", "used"], str | None]:
    """How far somebody is with a ticket, and the code of the error that ended the last attempt, if one did.

    *Opened* is sent to the provider, *used* is saved.
    """
    held = authorizations.get(_key("ticket", ticket)) or {}
    if held.get("used_at"):
        return "used", None
    return "opened" if held.get("cookie_hash") else "unopened", held.get("problem") or None


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
        UnknownClient, InvalidClient
            The client cannot be used for this: better said now than after somebody consented.
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
        with self._noting_problem(key):
            client = self._usable_client(authorization)
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
                "client_id": client.client_id,
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
            with self._noting_problem(pending["ticket"]):
                connection = self._finish(params, authorization, cookie, state)
            outcome = "connected"
        except LinkError as error:
            outcome = error.code
            raise
        finally:
            # The grant is saved or not by now; that a reload is told so is not worth failing for.
            with suppress(PortUnavailable):
                self._ports.authorizations.change(key, {"outcome": outcome}, only_if={"outcome": "begun"})
        with suppress(PortUnavailable):
            self._ports.authorizations.change(pending["ticket"], {"used_at": self._now}, only_if={})
        self._announce(connection)
        return self._view(authorization)

    # --- the parts of an arrival ------------------------------------------------------------------------------

    def _finish(self, params: Mapping[str, str], authorization: Authorization, cookie: str, state: str) -> Connection:
        profile = self._profile(authorization)
        issuer = profile.authorize.issuer if profile.authorize else None
        if params.get("error"):
            if params["error"] == "access_denied":
                raise Denied("Access was not allowed.")
            raise ProviderRefused("The provider refused the authorization.")
        if issuer and params.get("iss") not in (None, issuer):
            raise ProviderRefused("The answer came from another server than the one asked (RFC 9207).")
        if not params.get("code"):
            raise ProviderRefused("The provider's answer holds no authorization code.")
        client = self._ports.vault.client(authorization.client)
        current = self._ports.records.get(authorization.connection)
        if current is None:
            raise LinkInvalid("The connection is gone.")
        _demand_connected(current)
        # Fetched before the code is spent: afterwards nothing but the save stands between it and safety.
        data_key = self._ports.seal.prepare(current.name, current.generation + 1)
        tokens = self._exchange(profile, authorization, client, params["code"], _code_verifier(cookie, state))
        return self._save(current, authorization, profile, tokens, data_key)

    def _exchange(
        self, profile: Profile, authorization: Authorization, client: Client, code: str, code_verifier: str
    ) -> TokenSet:
        """The code for tokens: with the newest client secret, then with the older ones while the client is refused."""
        values = {
            "code": code,
            "redirect_uri": authorization.redirect_uri,
            "code_verifier": code_verifier if profile.authorize and profile.authorize.pkce else None,
        }
        answer: TokenSet | Refusal = transitions.NOT_SENT
        for secret in client.secrets or (None,):
            request = token_request(
                profile,
                "exchange",
                authorization.variables,
                client.client_id,
                secret,
                values,
                loopback=self._settings.allow_loopback,
            )
            answer = self._ask(request, profile, client.hosts)
            if not (isinstance(answer, Refusal) and answer.kind == "client_rejected"):
                break
        if isinstance(answer, Refusal):
            raise ProviderRefused(f"The provider refused the code's exchange ({answer.code or answer.status}).")
        if answer.refresh_token is None:
            raise ProviderRefused("The provider gave no refresh token: the connection could not be kept alive.")
        return answer

    def _ask(self, request: HttpRequest, profile: Profile, hosts: tuple[str, ...]) -> TokenSet | Refusal:
        sent_at = self._now
        try:
            response = self._ports.provider.send(request, hosts=hosts, timeout=self._settings.budgets.attempt)
            return read_answer(profile, response, sent_at)
        except (NotSent, LostAnswer, UnreadAnswer) as error:
            raise ProviderRefused(error.message) from error

    def _save(
        self,
        current: Connection,
        authorization: Authorization,
        profile: Profile,
        tokens: TokenSet,
        data_key: DataKey,
    ) -> Connection:
        """Save the new grant, on top of whatever a rotation of the old one saved meanwhile."""
        authorization_id = str(uuid.uuid4())
        saving = Saving(self._ports.records, self._ports.queue, self._ports.clock, self._settings.budgets.save)
        while True:
            changes = {
                **transitions.saved(
                    _pending(current, authorization),
                    tokens,
                    data_key.seal(tokens.encode()),
                    profile,
                    self._settings,
                    self._now,
                ),
                **_brought(authorization),
                "grant": "authorization_code",
                "authorization_id": authorization_id,
            }
            saved = saving.keep(current, changes, self._now + self._settings.budgets.save)
            if saved is None or saved.authorization_id == authorization_id:
                return saved or current
            _demand_connected(saved)
            try:
                data_key = self._ports.seal.prepare(saved.name, saved.generation + 1)
            except PortUnavailable:
                # Sealed for a generation that is gone: whoever receives it seals it anew, and puts it on top.
                self._ports.queue.send(deferred.message(current, changes))
                return current
            current = saved

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

    def _usable_client(self, authorization: Authorization) -> Client:
        client = self._ports.vault.client(authorization.client)
        request = token_request(
            self._profile(authorization),
            "exchange",
            authorization.variables,
            client.client_id,
            None,
            {},
            loopback=self._settings.allow_loopback,
        )
        host = urlsplit(request.url).netloc.lower()
        if host not in client.hosts:
            raise InvalidClient(
                f"The entry of client {client.name} does not allow {host}, where the code is to be exchanged.",
                f"Add it to the client's hosts: `evergrant client set {client.name}`.",
            )
        return client

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


def _demand_connected(connection: Connection) -> None:
    """A link does not outlive a disconnect: connecting again takes a new one."""
    if connection.status is Status.DISCONNECTED:
        raise LinkInvalid("The connection was disconnected meanwhile.")


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
