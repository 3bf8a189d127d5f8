"""The revocation of a grant that is over (RFC 7009): a disconnected one, or one that another replaced.

**Replaced** by connecting again, where revoking it ends nothing else. Callback saves the new grant and then sends the
old one, sealed as it was, into the rotation queue: callback can seal but not open. Rotator opens it and asks the
provider, only if

- the profile says that revoking a token ends the token, and not all that the account ever granted;
- the new grant is saved and as it came, and did not bring the very same token again, as some providers do;
- nothing says that the old one is dead already.

**Disconnected** by the operator (:mod:`~evergrant.rotation.disconnection`): all that revoking ends there, and only
while the account is not connected again.

A grant that is not revoked expires by itself, so a failure is tried again a few times, and then left alone. Responses
are empty and prove nothing, so the outcome is called *asked*.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ..errors import EvergrantError, LostResponse, NotSent
from ..oauth.client import Client
from ..oauth.token_request import build_token_requests, try_each_secret
from ..oauth.token_set import TokenSet
from ..ports import PortUnavailable, RotationPorts
from ..profiles.model import Profile
from ..record.connection import Connection
from ..record.sealed import Sealed
from ..record.status import Status
from ..settings import Settings
from .preparation import SealedTokenSets

TASK = "revoke"
#: Delays before each further try.
_RETRY_DELAYS_SECONDS = (60, 300, 900)

#: Asked; left alone; refused by the provider; impossible with what we hold (client, profile, seal); to be retried.
Outcome = Literal["asked", "not_needed", "refused", "failed", "retrying"]


def build_replaced_message(replaced: Connection) -> dict[str, Any] | None:
    """Build the message that asks for the revocation of a replaced grant; None where there is nothing to revoke.

    A grant that was rejected, or whose refresh token an attempt may have used up, is left alone: it is dead, or about
    to be.
    """
    is_alive = replaced.status in (Status.ACTIVE, Status.DEGRADED, Status.PAUSED)
    is_doubtful = (
        replaced.attempt_id is not None or replaced.rejected_at is not None or replaced.unreadable_response is not None
    )
    if replaced.sealed is None or replaced.grant != "authorization_code" or not is_alive or is_doubtful:
        return None
    return _build_message(replaced, replaced.sealed)


def build_disconnected_message(disconnected: Connection) -> dict[str, Any] | None:
    """Build the message for the grant of a disconnected record; None where there is none any more."""
    if disconnected.status is not Status.DISCONNECTED or disconnected.to_revoke is None:
        return None
    # Disconnecting counts as a generation of its own, without a token set.
    before = disconnected.generation - 1
    return {**_build_message(disconnected, disconnected.to_revoke), "generation": before, "disconnected": True}


def _build_message(connection: Connection, sealed: Sealed) -> dict[str, Any]:
    return {
        "task": TASK,
        "connection": connection.name,
        "generation": connection.generation,
        "sealed": sealed.encode(),
        "profile_hash": connection.profile_hash,
        "variables": dict(connection.variables),
        "client": connection.client,
        "tries": 0,
    }


@dataclass(frozen=True, slots=True)
class Revocation:
    """Processes such a message."""

    ports: RotationPorts
    settings: Settings

    def run(self, message: Mapping[str, Any]) -> Outcome:
        """Revoke once; where that failed for now, send the message again, to come later.

        Raises
        ------
        PortUnavailable
            Not even that: hand the message back.
        """
        try:
            outcome = self._revoke(message)
        except (PortUnavailable, NotSent, LostResponse):
            outcome = "retrying"
        except EvergrantError:
            return "failed"  # no such client, no such profile: no repetition cures that
        if outcome != "retrying":
            return outcome
        tries = int(message["tries"])
        if tries >= len(_RETRY_DELAYS_SECONDS):
            return "failed"
        self.ports.queue.send({**message, "tries": tries + 1}, delay=_RETRY_DELAYS_SECONDS[tries])
        return "retrying"

    def _revoke(self, message: Mapping[str, Any]) -> Outcome:
        profile = self.ports.profiles.load_pinned(message["profile_hash"])
        is_disconnected = bool(message.get("disconnected"))
        if profile.revoke is None or not (is_disconnected or profile.revoke.scope == "token"):
            return "not_needed"
        token_sets = SealedTokenSets(self.ports.seal)
        old = token_sets.open(Sealed.decode(message["sealed"]), message["connection"], message["generation"])
        client = self.ports.vault.client(message["client"])
        # Read right before sending: the steps before take time, in which the account may be connected again.
        current = self.ports.records.get(message["connection"])
        if current is None or current.generation != message["generation"] + 1:
            return "not_needed"  # a grant that was rotated since no longer shows what it began with
        if is_disconnected != (current.status is Status.DISCONNECTED):
            return "not_needed"  # connected again: what this would end may be in use
        new = token_sets.open_current(current)
        if new is None and not is_disconnected:
            return "not_needed"
        if new is not None and _share_a_token(old, new):
            return "not_needed"
        return self._ask_provider(profile, message, client, old)

    def _ask_provider(self, profile: Profile, message: Mapping[str, Any], client: Client, tokens: TokenSet) -> Outcome:
        requests = build_token_requests(
            profile,
            "revoke",
            message["variables"],
            client,
            _choose_token(profile, tokens),
            now=int(self.ports.clock.now()),
            loopback=self.settings.allow_loopback,
        )
        timeout = self.settings.budgets.request
        response = try_each_secret(
            requests,
            lambda request: self.ports.provider.send(request, hosts=client.hosts, timeout=timeout),
            lambda response: response.status == 401,
        )
        if 200 <= response.status < 300:
            return "asked"
        return "retrying" if response.status >= 500 or response.status == 429 else "refused"


def _share_a_token(old: TokenSet, new: TokenSet) -> bool:
    """Whether the new grant brought the old one's token again."""
    return bool({old.refresh_token or old.access_token, old.access_token} & {new.refresh_token, new.access_token})


def _choose_token(profile: Profile, tokens: TokenSet) -> dict[str, str]:
    """Return the token to send, and its kind (RFC 7009 section 2.1)."""
    if tokens.refresh_token is None or (profile.revoke is not None and profile.revoke.token == "access_token"):  # noqa: S105
        return {"token": tokens.access_token.reveal(), "token_type_hint": "access_token"}
    return {"token": tokens.refresh_token.reveal(), "token_type_hint": "refresh_token"}
