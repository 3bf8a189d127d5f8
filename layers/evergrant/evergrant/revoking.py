"""The grant that connecting again has replaced is revoked (RFC 7009), where that ends nothing else.

Callback saves the new grant and then sends the old one, sealed as it was, into the rotation queue: it can seal but not
open. Rotator opens it and asks the provider, only if

- the profile says that revoking a token ends the token, and not all that the account ever granted;
- the new grant is saved, and did not bring the very same token again, as some providers do;
- nothing says that the old one is dead already.

What is not revoked lapses by itself, so a failure is tried again a few times, and then left alone.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from .connection import Connection, Sealed, Status
from .dialect import token_requests
from .errors import EvergrantError, LostAnswer, NotSent
from .ports import Clock, PortUnavailable, Profiles, Provider, Queue, Records, Seal, Vault
from .profile import Profile
from .settings import Settings
from .tokens import TokenSet

TASK = "revoke"
#: Seconds before each further try.
_AGAIN = (60, 300, 900)

Outcome = Literal["revoked", "left", "failed", "again"]


def message(replaced: Connection) -> dict[str, Any] | None:
    """The message that asks for the revocation of a record's grant; None where there is nothing to revoke.

    A grant that was refused, or whose refresh token may have been spent, is left alone: it is dead, or about to be.
    """
    alive = replaced.status in (Status.ACTIVE, Status.DEGRADED, Status.PAUSED)
    doubtful = replaced.spend_id is not None or replaced.rejected_at is not None or replaced.unread_answer is not None
    if replaced.sealed is None or replaced.grant != "authorization_code" or not alive or doubtful:
        return None
    return {
        "task": TASK,
        "connection": replaced.name,
        "generation": replaced.generation,
        "sealed": {name: b64encode(part).decode() for name, part in asdict(replaced.sealed).items()},
        "profile_hash": replaced.profile_hash,
        "variables": dict(replaced.variables),
        "client": replaced.client,
        "tries": 0,
    }


@dataclass(frozen=True, slots=True)
class Revoking:
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
        except (PortUnavailable, NotSent, LostAnswer):
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
        profile = self.profiles.pinned(message["profile_hash"])
        if profile.revoke is None or profile.revoke.scope != "token":
            return "left"
        name, generation = message["connection"], message["generation"]
        current = self.records.get(name)
        if current is None or current.generation <= generation or current.status is Status.DISCONNECTED:
            return "left"
        sealed = Sealed(**{part: b64decode(text) for part, text in message["sealed"].items()})
        old = self._opened(sealed, name, generation)
        new = self._opened(current.sealed, name, current.generation) if current.sealed else None
        token = old.refresh_token or old.access_token
        if new is None or token in (new.refresh_token, new.access_token) or old.access_token == new.access_token:
            return "left"
        return self._asked(profile, message, token.reveal())

    def _asked(self, profile: Profile, message: Mapping[str, Any], token: str) -> Outcome:
        """With the newest client secret, then with the older ones while the client is refused."""
        client = self.vault.client(message["client"])
        requests = token_requests(
            profile,
            "revoke",
            message["variables"],
            client,
            {"token": token},
            now=int(self.clock.now()),
            loopback=self.settings.allow_loopback,
        )
        status = 0
        for request in requests:
            status = self.provider.send(request, hosts=client.hosts, timeout=self.settings.budgets.attempt).status
            if status != 401:
                break
        if 200 <= status < 300:
            return "revoked"
        return "again" if status >= 500 or status == 429 else "failed"

    def _opened(self, sealed: Sealed, name: str, generation: int) -> TokenSet:
        return TokenSet.decode(self.seal.unseal(sealed, name, generation))
