"""From the provider's answer to the saved grant: check, exchange the code, look whose account it is, save.

Nothing is sent to the provider before every check has passed that needs nobody else, and nothing is saved before all
have: a refusal leaves an earlier grant as it was.
"""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256

from ..errors import Conflict, Denied, LinkInvalid, LinkUsed, ProviderRefused
from ..oauth.authorization_response import parse_authorization_response
from ..ports import ConnectPorts
from ..profiles.model import Profile
from ..record.connection import Connection
from ..settings import Settings
from .account_binding import AccountBinding, require_same_account
from .code_exchange import CodeExchange
from .grant_save import GrantSave, require_connected
from .links import RETENTION_SECONDS, Authorization, code_key
from .scopes import find_missing_scopes


@dataclass(frozen=True, slots=True)
class PkceBinding:
    """One way to the provider and back. Its secrets are derived from the browser's cookie *and* the state: neither a
    stolen table nor a stolen link tells them.
    """

    cookie: str = field(repr=False)
    state: str = field(repr=False)

    @property
    def code_verifier(self) -> str:
        """43 characters (RFC 7636 section 4.1)."""
        return self._derived("code_verifier")

    @property
    def code_challenge(self) -> str:
        """By the method S256 (RFC 7636 section 4.2)."""
        return _b64(sha256(self.code_verifier.encode()).digest())

    @property
    def nonce(self) -> str:
        """What the ID token has to repeat (OpenID Connect Core 1.0 section 3.1.2.1)."""
        return self._derived("nonce")

    def _derived(self, use: str) -> str:
        return _b64(hmac.digest(self.cookie.encode(), f"{use}:{self.state}".encode(), "sha256"))


@dataclass(frozen=True, slots=True)
class CallbackExchange:
    """The part of an arrival that speaks to the provider."""

    ports: ConnectPorts
    settings: Settings

    def obtain_grant(
        self,
        params: Mapping[str, str],
        profile: Profile,
        authorization: Authorization,
        trip: PkceBinding,
        *,
        another_account: bool,
    ) -> Connection:
        """Exchange the code and save the grant, after every check that needs nobody else.

        Raises
        ------
        LinkInvalid, Denied, WrongAccount, NoRefreshToken, ProviderRefused
        """
        _check_issuer(profile, params)
        callback = parse_authorization_response(profile, params)
        if callback.error:
            if callback.error == "access_denied":
                raise Denied("Access was not allowed.")
            raise ProviderRefused("The provider refused the authorization.")
        if callback.code is None:
            raise ProviderRefused("The provider's answer holds no authorization code.")
        client = self.ports.vault.client(authorization.client)
        current = self.ports.records.get(authorization.connection)
        if current is None:
            raise LinkInvalid("The connection is gone.")
        require_connected(current)
        # Fetched before the code is spent: afterwards nothing but the save stands between it and safety.
        data_key = self.ports.seal.prepare(current.name, current.generation + 1)
        ports = self.ports
        exchange = CodeExchange(ports.provider, ports.clock, self.settings)
        self._use_up(current.name, callback.code)
        brought = exchange.exchange(profile, authorization, client, callback.code, trip.code_verifier)
        tokens = replace(brought.tokens, captured={**callback.captured, **brought.tokens.captured})
        accounts = AccountBinding(ports.provider, ports.clock, self.settings)
        subject = accounts.subject(profile, authorization, client, tokens, brought.id_token, trip.nonce)
        if profile.subject and not another_account:
            require_same_account(current.subject, subject)
        missing = " ".join(find_missing_scopes(authorization.scope, tokens.scope))
        learned = {"subject": subject, "missing_scope": missing or None}
        granting = GrantSave(ports.records, ports.seal, ports.queue, ports.clock, self.settings)
        return granting.save(current, authorization, "authorization_code", profile, tokens, data_key, learned)

    def _use_up(self, connection: str, code: str) -> None:
        """A code is sent once: a server that sees it twice takes back what it gave for it (RFC 6749 section 4.1.2)."""
        now = int(self.ports.clock.now())
        try:
            self.ports.authorizations.put(code_key(connection, code), {"used_at": now}, now + RETENTION_SECONDS)
        except Conflict as conflict:
            raise LinkUsed("This code was used already.") from conflict


def _check_issuer(profile: Profile, params: Mapping[str, str]) -> None:
    """Refuse an answer of another server than the one asked (RFC 9207 section 2.4): the code may be another's."""
    if profile.authorize is None or profile.authorize.issuer is None:
        return
    said = params.get("iss")
    # A server that always says who it is may still leave it out of an error, by which nothing is sent anywhere.
    missing = said is None and profile.authorize.issuer_always and not params.get(profile.callback.error)
    if missing or said not in (None, profile.authorize.issuer):
        raise ProviderRefused("The answer came from another server than the one asked (RFC 9207).")


def _b64(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode()
