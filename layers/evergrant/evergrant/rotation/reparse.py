"""Reading an answer that could not be read once more, by a mended profile.

It is an answer in hand, so it is kept by the same step as every other: sealed, and saved by generation. Whatever cannot
be done leaves all as it was.
"""

from __future__ import annotations

from typing import Any

from ..errors import InvalidRequest, Paused, UnknownConnection, UnreadableResponse
from ..oauth.error_response import Refusal
from ..oauth.token_response import parse_token_response
from ..oauth.token_set import TokenSet
from ..oauth.unreadable_response import KeptResponse
from ..ports import RotationPorts
from ..profiles.model import Profile
from ..record import failures, token_save
from ..record.connection import Connection, Status
from ..settings import Settings
from .save import SaveStep


def reparse_response(ports: RotationPorts, settings: Settings, deadline: float, name: str, profile_hash: str) -> None:
    """Read the unread answer of a connection by the profile of this content hash, which it has from then on.

    What it brings is due for publication. An answer that the profile takes for a refusal is treated as one.

    Raises
    ------
    UnknownConnection, Paused, InvalidRequest
        There is no unread answer, or the profile is another provider's, or not for this grant.
    UnknownProfile, InvalidVariable
    UnreadableResponse
        This profile cannot read it either.
    PortUnavailable
    """
    connection = ports.records.get(name)
    if connection is None:
        raise UnknownConnection(name)
    if connection.unreadable_response is None:
        raise InvalidRequest(f"{name} holds no answer that could not be read.")
    if connection.status is Status.PAUSED:
        raise Paused(name)
    profile = ports.profiles.load_pinned(profile_hash)
    pinned = {**_bound(connection, profile), "profile_hash": profile_hash}
    generation = connection.generation + 1
    kept = KeptResponse.decode(ports.seal.unseal(connection.unreadable_response, name, generation))
    try:
        answer = parse_token_response(
            profile, kept.response, kept.sent_at, _previous(ports, connection), connection.variables
        )
    except UnreadableResponse as error:
        raise UnreadableResponse(f"The answer that {name} holds cannot be read: {error.message}") from error
    now = int(ports.clock.now())
    if isinstance(answer, Refusal):
        changes = failures.apply_refusal(connection, answer, now) | {"unreadable_response": None}
        changes = token_save.deliver_soon(connection, changes, now)
    else:
        sealed = ports.seal.prepare(name, generation).seal(answer.encode())
        changes = token_save.save_token_set(connection, answer, sealed, profile, settings, now)
    SaveStep(ports.records, ports.queue, ports.clock, settings.budgets.save).keep(
        connection, {**changes, **pinned}, deadline
    )


def _bound(connection: Connection, profile: Profile) -> dict[str, Any]:
    """The connection's variables as this profile wants them."""
    if profile.name != connection.provider or connection.grant not in profile.grants:
        raise InvalidRequest(f"The profile {profile.name} is not for {connection.name} and its grant.")
    known = {name: value for name, value in connection.variables.items() if name in profile.variables}
    return {"variables": profile.bind(known)}


def _previous(ports: RotationPorts, connection: Connection) -> TokenSet | None:
    if connection.sealed is None:
        return None
    return TokenSet.decode(ports.seal.unseal(connection.sealed, connection.name, connection.generation))
