"""The revocation of a grant that is over (RFC 7009): a disconnected one, or one that another replaced.

**Replaced** by connecting again, where revoking it ends nothing else. Callback saves the new grant and then sends the
old one, sealed as it was, into the rotation queue: callback can seal but not open. Rotator opens it and asks the
provider, only if

- the profile says that revoking a token ends the token, and not all that the account ever granted;
- the new grant is saved and as it came, and did not bring the very same token again, as some providers do;
- nothing says that the old one is dead already.

**Disconnected** by the operator (:mod:`~evergrant.rotation.disconnection`): all that revoking ends there, and only
while the account is not connected again.

The request in a message is sealed, for the generation after the grant's: only a function that may seal can make one.
A grant that is not revoked expires by itself, so a failure is tried again a few times, and then left alone. Responses
are empty and prove nothing, so the outcome is called *asked*.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from ..errors import EvergrantError, InvalidRequest, LostResponse, NotSent, RecordTampered
from ..oauth.client import Client
from ..oauth.issuance import describe_issuance, require_issued_for
from ..oauth.token_request import build_token_requests, try_each_secret
from ..oauth.token_set import TokenSet
from ..ports import DataKey, PortUnavailable, RotationPorts, Seal
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


@dataclass(frozen=True, slots=True)
class RevocationRequest:
    """What a message asks for, sealed: the revocation of a token set, as its connection was pinned then."""

    sealed: Mapping[str, str] = field(repr=False)
    client: str
    profile_hash: str
    variables: Mapping[str, str]
    is_disconnected: bool


def build_replaced_message(replaced: Connection, data_key: DataKey) -> dict[str, Any] | None:
    """Build the message that asks for the revocation of a replaced grant; None where there is nothing to revoke.

    ``data_key`` is for the generation of the new grant. A grant that was rejected, or whose refresh token an attempt
    may have used up, is left alone: it is dead, or about to be.
    """
    is_alive = replaced.status in (Status.ACTIVE, Status.DEGRADED, Status.PAUSED)
    is_doubtful = (
        replaced.attempt_id is not None or replaced.rejected_at is not None or replaced.unreadable_response is not None
    )
    if replaced.sealed is None or replaced.grant != "authorization_code" or not is_alive or is_doubtful:
        return None
    return _build_message(replaced, replaced.sealed, replaced.generation, data_key)


def build_disconnected_message(disconnected: Connection, seal: Seal) -> dict[str, Any] | None:
    """Build the message for the grant of a disconnected record; None where there is none any more.

    Raises
    ------
    PortUnavailable
    """
    if disconnected.status is not Status.DISCONNECTED or disconnected.to_revoke is None:
        return None
    # Disconnecting counts as a generation of its own, without a token set.
    data_key = seal.prepare(disconnected.name, disconnected.generation)
    return _build_message(disconnected, disconnected.to_revoke, disconnected.generation - 1, data_key)


def _build_message(connection: Connection, sealed: Sealed, generation: int, data_key: DataKey) -> dict[str, Any]:
    request = RevocationRequest(
        sealed.encode(),
        connection.client,
        connection.profile_hash,
        dict(connection.variables),
        connection.status is Status.DISCONNECTED,
    )
    return {
        "task": TASK,
        "connection": connection.name,
        "generation": generation,
        "request": data_key.seal(json.dumps({"task": TASK, **asdict(request)}).encode()).encode(),
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
        RecordTampered
            The grant was issued for something else than its record said: nothing was sent.
        """
        try:
            outcome = self._revoke(message)
        except RecordTampered:
            raise
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
        name, generation = message["connection"], message["generation"]
        request = self._open_request(Sealed.decode(message["request"]), name, generation + 1)
        profile = self.ports.profiles.load_pinned(request.profile_hash)
        is_disconnected = request.is_disconnected
        if profile.revoke is None or not (is_disconnected or profile.revoke.scope == "token"):
            return "not_needed"
        token_sets = SealedTokenSets(self.ports.seal)
        old = token_sets.open(Sealed.decode(request.sealed), name, generation)
        client = self.ports.vault.client(request.client)
        present = describe_issuance(profile, request, client)
        require_issued_for(name, old.issued_for, present, old.issued_at, int(self.ports.clock.now()))
        # Read right before sending: the steps before take time, in which the account may be connected again.
        current = self.ports.records.get(name)
        if current is None or current.generation != generation + 1:
            return "not_needed"  # a grant that was rotated since no longer shows what it began with
        if is_disconnected != (current.status is Status.DISCONNECTED):
            return "not_needed"  # connected again: what this would end may be in use
        new = token_sets.open_current(current)
        if new is None and not is_disconnected:
            return "not_needed"
        if new is not None and _share_a_token(old, new):
            return "not_needed"
        return self._ask_provider(profile, request.variables, client, old)

    def _open_request(self, sealed: Sealed, connection: str, generation: int) -> RevocationRequest:
        request = json.loads(self.ports.seal.unseal(sealed, connection, generation))
        if request.pop("task", None) != TASK:
            raise InvalidRequest(f"The message for {connection} holds no revocation.")
        return RevocationRequest(**request)

    def _ask_provider(
        self, profile: Profile, variables: Mapping[str, str], client: Client, tokens: TokenSet
    ) -> Outcome:
        requests = build_token_requests(
            profile,
            "revoke",
            variables,
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
