"""The tokens of one request, for every protocol: created, saved, used, accepted, and checked for reuse."""

import base64
import hashlib
import hmac
import json
import secrets
from collections.abc import Mapping
from dataclasses import replace

from local.providers.dialect import Dialect
from local.providers.settings import Settings
from local.providers.state import AccessToken, RefreshToken, State, fingerprint

# Only for a well-formed JWT: this process looks tokens up and checks no signature.
_SIGNING_KEY = secrets.token_bytes(32)


class Tokens:
    """The tokens for one request: the provider's state and settings, and the current time."""

    def __init__(self, dialect: Dialect, settings: Settings, state: State, now: float) -> None:
        self._dialect = dialect
        self._settings = settings
        self._state = state
        self._now = now

    # Tokens begin with provider and kind, so that a search for leaks recognizes them. A JWT cannot; its first segment
    # is constant instead, because `kid` holds the same words.

    def new_access_token(self, client_id: str) -> str:
        """Create an access token in the dialect's format."""
        kind = f"{self._dialect.name}_access"
        if self._dialect.access_token_format == "opaque":
            return f"{kind}_{secrets.token_urlsafe(24)}"
        return _sign(
            {"alg": "HS256", "kid": kind, "typ": "JWT"},
            {
                "iss": self._dialect.name,
                "sub": client_id,
                "iat": int(self._now),
                "exp": int(self._now) + self._settings.access_token_lifetime,
                "jti": secrets.token_urlsafe(16),
            },
        )

    def new_id_token(self, client_id: str, account: str, nonce: str | None) -> str:
        """Create an ID token, which names the connected account (OpenID Connect Core 1.0, section 2)."""
        claims = {
            "iss": self._dialect.issuer,
            "sub": account,
            "aud": client_id,
            "iat": int(self._now),
            "exp": int(self._now) + 300,
            "nonce": nonce,
            **self._settings.id_token_claims,
        }
        said = {name: value for name, value in claims.items() if value is not None}
        return _sign({"alg": "HS256", "kid": f"{self._dialect.name}_id", "typ": "JWT"}, said)

    def get_account(self, access_token: str) -> str:
        """Return the account of a valid access token."""
        return self._state.grants[self._state.access_tokens[access_token].grant_id].account

    def revoke(self, token: str, client_id: str) -> None:
        """End the grant of a token, as RFC 7009, section 2.1, advises. An unknown token counts as revoked."""
        known = self._state.refresh_tokens.get(token) or self._state.access_tokens.get(token)
        if known is not None and self._state.grants[known.grant_id].client_id == client_id:
            self._state.counters["revocations"] += 1
            self._state.revoke(known.grant_id, "revocation", self._now)

    def new_refresh_token(self) -> str:
        """Create a refresh token."""
        return f"{self._dialect.name}_refresh_{secrets.token_urlsafe(24)}"

    def find_valid_refresh_token(self, value: str, client_id: str | None = None) -> RefreshToken | None:
        """Return the refresh token if it may be used now. The reuse of a rotated one revokes its grant.

        Parameters
        ----------
        client_id
            The client that uses it, if the provider authenticates clients. Another client's token counts as unknown.
        """
        known = self._state.refresh_tokens.get(value)
        if known is None or client_id not in (None, known.client_id):
            return None
        if self._state.is_refresh_token_valid(known, self._now):
            return known
        if known.superseded_at is not None:
            if self._may_be_repeated(known, known.superseded_at):
                return known
            # RFC 9700, section 4.14.2: of two holders of one token, one is a thief; both lose the grant.
            self._state.counters["refresh_reuse"] += 1
            self._state.revoke(known.grant_id, "refresh_token_reuse", self._now)
        return None

    def use_refresh_token(self, value: str) -> RefreshToken:
        """Record the use of a valid refresh token and return it. A single-use token is superseded."""
        state, used = self._state, self._state.refresh_tokens[value]
        grant = state.grants[used.grant_id]
        state.counters["rotations"] += 1
        state.grants[grant.grant_id] = replace(grant, rotations=grant.rotations + 1)
        if self._settings.single_use_refresh_tokens:
            self._supersede(used)
            if used.successor is not None:  # the repetition shows that the response with the successor was lost
                self._supersede(state.refresh_tokens[used.successor])
        if self._settings.old_access_token_dies:
            for old in [old for old in state.access_tokens.values() if old.grant_id == grant.grant_id]:
                state.access_tokens[old.access_token] = replace(old, dead=True)
        return used

    def _supersede(self, token: RefreshToken) -> None:
        if token.superseded_at is None:
            self._state.refresh_tokens[token.refresh_token] = replace(token, superseded_at=self._now)

    def _may_be_repeated(self, token: RefreshToken, superseded_at: float) -> bool:
        ends_at = min(superseded_at + self._settings.refresh_token_grace, token.expires_at)
        return self._now < ends_at and self._state.grants[token.grant_id].revoked_at is None

    def save(
        self,
        grant_id: str,
        client_id: str,
        access_token: str,
        refresh_token: str | None,
        used: str | None = None,
    ) -> None:
        """Save the issued tokens; ``used`` is the refresh token of the request, if any.

        A refresh token that is saved already keeps its lifetime.
        """
        state, settings = self._state, self._settings
        state.access_tokens[access_token] = AccessToken(
            access_token, grant_id, issued_at=self._now, expires_at=self._now + settings.access_token_lifetime
        )
        if refresh_token is not None and refresh_token not in state.refresh_tokens:
            state.refresh_tokens[refresh_token] = RefreshToken(
                refresh_token, grant_id, client_id, expires_at=self._now + settings.refresh_token_lifetime
            )
            if used is not None:
                state.refresh_tokens[used] = replace(state.refresh_tokens[used], successor=refresh_token)

    def accept(self, access_token: str) -> bool:
        """Return whether an access token is valid now, and count its call."""
        known = self._state.access_tokens.get(access_token)
        if known is None or not self._state.is_access_token_valid(known, self._now):
            return False
        self._state.accepted.add(fingerprint(known.access_token))
        age = self._now - known.issued_at
        self._state.oldest_accepted_age = max(self._state.oldest_accepted_age, age)
        grant = self._state.grants[known.grant_id]
        self._state.grants[grant.grant_id] = replace(
            grant,
            accepted_calls=grant.accepted_calls + 1,
            oldest_accepted_age=max(grant.oldest_accepted_age, age),
        )
        return True


def _sign(header: Mapping[str, object], claims: Mapping[str, object]) -> str:
    # RFC 7515, section 7.1: three parts in base64url without padding.
    content = ".".join(_base64url(json.dumps(part, separators=(",", ":")).encode()) for part in (header, claims))
    return f"{content}.{_base64url(hmac.digest(_SIGNING_KEY, content.encode(), hashlib.sha256))}"


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
