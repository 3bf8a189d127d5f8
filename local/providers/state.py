"""The state of a simulated provider: clients, grants, codes, tokens and counters.

Records are frozen and replaced whole, so that a copy of the state is a copy of a few dictionaries. A replay runs the
real token endpoint against such a copy, and does not change the live grants.
"""

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace


def fingerprint(secret: str) -> str:
    """Return the fingerprint of a secret: the first 16 hexadecimal digits of its SHA-256."""
    return hashlib.sha256(secret.encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Client:
    """An application registered with the provider."""

    client_id: str
    client_secret: str = field(repr=False)
    redirect_uris: tuple[str, ...] = ()
    name: str = "Evergrant"
    audience: str | None = None
    # Where a person may log in for the client.
    username: str | None = None
    password: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Grant:
    """A grant of an account to a client; for client credentials, the client's own.

    `obtained_by` is the phase that created it. `accepted_calls` counts the API's calls with its tokens, and
    `oldest_accepted_age` is the age, in seconds, of the oldest of these tokens.
    """

    grant_id: str
    obtained_by: str
    client_id: str
    account: str
    scope: str
    created_at: float
    redirect_uri: str | None = None
    rotations: int = 0
    revoked_at: float | None = None
    revoked_because: str | None = None
    accepted_calls: int = 0
    oldest_accepted_age: float = 0.0


@dataclass(frozen=True, slots=True)
class Code:
    """An authorization code; `grant_id` is set once it has been used."""

    code: str = field(repr=False)
    client_id: str
    account: str
    scope: str
    redirect_uri: str
    expires_at: float
    code_challenge: str | None
    nonce: str | None = field(default=None, repr=False)
    grant_id: str | None = None


@dataclass(frozen=True, slots=True)
class RefreshToken:
    refresh_token: str = field(repr=False)
    grant_id: str
    client_id: str
    expires_at: float
    superseded_at: float | None = None
    successor: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class AccessToken:
    access_token: str = field(repr=False)
    grant_id: str
    issued_at: float
    expires_at: float
    dead: bool = False


@dataclass(slots=True, repr=False)  # its keys are secrets
class State:
    """Everything that a request can change. Not thread-safe: the provider holds a lock around it."""

    clients: dict[str, Client] = field(default_factory=dict)
    grants: dict[str, Grant] = field(default_factory=dict)
    standing_grants: dict[str, str] = field(default_factory=dict)  # by client_id, for client credentials
    codes: dict[str, Code] = field(default_factory=dict)
    refresh_tokens: dict[str, RefreshToken] = field(default_factory=dict)
    access_tokens: dict[str, AccessToken] = field(default_factory=dict)
    counters: Counter[str] = field(default_factory=Counter)
    accepted: set[str] = field(default_factory=set)
    oldest_accepted_age: float = 0.0

    def copy(self) -> "State":
        """Return a state that can be changed without changing this one."""
        return State(
            clients=dict(self.clients),
            grants=dict(self.grants),
            standing_grants=dict(self.standing_grants),
            codes=dict(self.codes),
            refresh_tokens=dict(self.refresh_tokens),
            access_tokens=dict(self.access_tokens),
        )

    def split_by_grant(self) -> Mapping[str, "State"]:
        """Return a state for each grant, which holds only the clients, that grant and its tokens."""
        parts = {
            grant_id: State(clients=self.clients, grants={grant_id: grant}) for grant_id, grant in self.grants.items()
        }
        for value, code in self.codes.items():
            if code.grant_id is not None:
                parts[code.grant_id].codes[value] = code
        for value, refresh_token in self.refresh_tokens.items():
            parts[refresh_token.grant_id].refresh_tokens[value] = refresh_token
        for value, access_token in self.access_tokens.items():
            parts[access_token.grant_id].access_tokens[value] = access_token
        return parts

    def new_grant(
        self, obtained_by: str, client_id: str, account: str, scope: str, now: float, redirect_uri: str | None = None
    ) -> Grant:
        grant_id = f"grant-{len(self.grants) + 1}"
        grant = Grant(grant_id, obtained_by, client_id, account, scope, now, redirect_uri)
        self.grants[grant.grant_id] = grant
        return grant

    def revoke(self, grant_id: str, because: str, now: float) -> bool:
        """Revoke a grant with all its tokens; return whether it was valid."""
        grant = self.grants[grant_id]
        if grant.revoked_at is not None:
            return False
        self.grants[grant_id] = replace(grant, revoked_at=now, revoked_because=because)
        return True

    def is_refresh_token_valid(self, token: RefreshToken, now: float) -> bool:
        return token.superseded_at is None and now < token.expires_at and self.grants[token.grant_id].revoked_at is None

    def is_access_token_valid(self, token: AccessToken, now: float) -> bool:
        return not token.dead and now < token.expires_at and self.grants[token.grant_id].revoked_at is None
