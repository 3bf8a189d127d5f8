"""A grant that is over is revoked at its provider (RFC 7009): a disconnected one, or the one that another replaced.

**Replaced** by connecting again, where that ends nothing else. Callback saves the new grant and then sends the old
one, sealed as it was, into the rotation queue: it can seal but not open. Rotator opens it and asks the provider, only
if

- the profile says that revoking a token ends the token, and not all that the account ever granted;
- the new grant is saved and as it came, and did not bring the very same token again, as some providers do;
- nothing says that the old one is dead already.

**Disconnected** by the operator (:mod:`~evergrant.rotation.disconnection`): whatever revoking ends there, and only
while nobody
has connected the account again.

What is not revoked lapses by itself, so a failure is tried again a few times, and then left alone. Answers are empty
and prove nothing, so what was done is called *asked*.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from ..errors import EvergrantError, LostResponse, NotSent
from ..oauth.client import Client
from ..oauth.token_request import build_token_requests
from ..oauth.token_set import TokenSet
from ..ports import Clock, PortUnavailable, Profiles, Provider, Queue, Records, Seal, Vault
from ..profiles.model import Profile
from ..record.connection import Connection, Sealed, Status
from ..settings import Settings

TASK = "revoke"
#: Seconds before each further try.
_AGAIN = (60, 300, 900)

#: Asked; left alone; refused by the provider; impossible by what we hold (client, profile, seal); to be tried again.
Outcome = Literal["asked", "left", "refused", "failed", "again"]


def build_replaced_message(replaced: Connection) -> dict[str, Any] | None:
    """The message that asks for the revocation of a record's grant; None where there is nothing to revoke.

    A grant that was refused, or whose refresh token may have been spent, is left alone: it is dead, or about to be.
    """
    alive = replaced.status in (Status.ACTIVE, Status.DEGRADED, Status.PAUSED)
    doubtful = (
        replaced.attempt_id is not None or replaced.rejected_at is not None or replaced.unreadable_response is not None
    )
    if replaced.sealed is None or replaced.grant != "authorization_code" or not alive or doubtful:
        return None
    return _message(replaced, replaced.sealed)


def build_disconnected_message(disconnected: Connection) -> dict[str, Any] | None:
    """The message for the grant of a disconnected record; None where there is none any more."""
    if disconnected.status is not Status.DISCONNECTED or disconnected.to_revoke is None:
        return None
    # Disconnecting counts as a generation of its own, without a token set.
    before = disconnected.generation - 1
    return {**_message(disconnected, disconnected.to_revoke), "generation": before, "disconnected": True}


def _message(connection: Connection, sealed: Sealed) -> dict[str, Any]:
    return {
        "task": TASK,
        "connection": connection.name,
        "generation": connection.generation,
        "sealed": {name: b64encode(part).decode() for name, part in asdict(sealed).items()},
        "profile_hash": connection.profile_hash,
        "variables": dict(connection.variables),
        "client": connection.client,
        "tries": 0,
    }


@dataclass(frozen=True, slots=True)
class Revocation:
    """Works such a message off."""

    records: Records
    seal: Seal
    vault: Vault
    provider: Provider
    queue: Queue
    profiles: Profiles
    clock: Clock
    settings: Settings

    def run(self, message: Mapping[str, Any]) -> Outcome:
        """Revoke once; where that failed for now, send the message again, to come later.

        Raises
        ------
        PortUnavailable
            Not even that: hand it back.
        """
        try:
            outcome = self._revoke(message)
        except (PortUnavailable, NotSent, LostResponse):
            outcome = "again"
        except EvergrantError:
            return "failed"  # no such client, no such profile: no repetition cures that
        if outcome != "again":
            return outcome
        tries = int(message["tries"])
        if tries >= len(_AGAIN):
            return "failed"
        self.queue.send({**message, "tries": tries + 1}, delay=_AGAIN[tries])
        return "again"

    def _revoke(self, message: Mapping[str, Any]) -> Outcome:
        profile = self.profiles.load_pinned(message["profile_hash"])
        disconnected = bool(message.get("disconnected"))
        if profile.revoke is None or not (disconnected or profile.revoke.scope == "token"):
            return "left"
        sealed = Sealed(**{part: b64decode(text) for part, text in message["sealed"].items()})
        old = self._opened(sealed, message["connection"], message["generation"])
        client = self.vault.client(message["client"])
        # Looked at right before sending: whatever came before may have taken its time, and somebody connected again.
        current = self.records.get(message["connection"])
        if current is None or current.generation != message["generation"] + 1:
            return "left"  # of a grant that was rotated since, nobody can tell any more what it began with
        if disconnected != (current.status is Status.DISCONNECTED):
            return "left"  # connected again: what this would end may be in use
        if current.sealed is not None:
            new = self._opened(current.sealed, current.name, current.generation)
            if {old.refresh_token or old.access_token, old.access_token} & {new.refresh_token, new.access_token}:
                return "left"
        elif not disconnected:
            return "left"
        return self._asked(profile, message, client, old)

    def _asked(self, profile: Profile, message: Mapping[str, Any], client: Client, tokens: TokenSet) -> Outcome:
        """With the newest client secret, then with the older ones while the client is refused."""
        requests = build_token_requests(
            profile,
            "revoke",
            message["variables"],
            client,
            _token_of(profile, tokens),
            now=int(self.clock.now()),
            loopback=self.settings.allow_loopback,
        )
        status = 0
        for request in requests:
            status = self.provider.send(request, hosts=client.hosts, timeout=self.settings.budgets.request).status
            if status != 401:
                break
        if 200 <= status < 300:
            return "asked"
        return "again" if status >= 500 or status == 429 else "refused"

    def _opened(self, sealed: Sealed, name: str, generation: int) -> TokenSet:
        return TokenSet.decode(self.seal.unseal(sealed, name, generation))


def _token_of(profile: Profile, tokens: TokenSet) -> dict[str, str]:
    """The token to send, and its kind (RFC 7009 section 2.1)."""
    by_access = tokens.refresh_token is None or (profile.revoke is not None and profile.revoke.token == "access_token")  # noqa: S105
    token = tokens.access_token if by_access or tokens.refresh_token is None else tokens.refresh_token
    return {"token": token.reveal(), "token_type_hint": "access_token" if by_access else "refresh_token"}
