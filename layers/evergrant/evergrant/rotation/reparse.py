"""Reading an answer that could not be read once more, by a mended profile.

It is an answer in hand, so it is kept by the same step as every other: sealed, and saved by generation. Whatever cannot
be done leaves all as it was.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errors import InvalidRequest, Paused, UnknownConnection, UnreadAnswer
from ..oauth.token_request import Refusal, read_answer
from ..oauth.token_set import TokenSet
from ..oauth.unreadable_response import KeptAnswer
from ..profiles.model import Profile
from ..record import failures, token_save
from ..record.connection import Connection, Status
from ..settings import Settings
from .save import Saving

if TYPE_CHECKING:
    from .refresh import Ports


def reread(ports: Ports, settings: Settings, deadline: float, name: str, profile_hash: str) -> None:
    """Read the unread answer of a connection by the profile of this content hash, which it has from then on.

    What it brings is due for publication. An answer that the profile takes for a refusal is treated as one.

    Raises
    ------
    UnknownConnection, Paused, InvalidRequest
        There is no unread answer, or the profile is another provider's, or not for this grant.
    UnknownProfile, InvalidVariable
    UnreadAnswer
        This profile cannot read it either.
    PortUnavailable
    """
    connection = ports.records.get(name)
    if connection is None:
        raise UnknownConnection(name)
    if connection.unread_answer is None:
        raise InvalidRequest(f"{name} holds no answer that could not be read.")
    if connection.status is Status.PAUSED:
        raise Paused(name)
    profile = ports.profiles.pinned(profile_hash)
    pinned = {**_bound(connection, profile), "profile_hash": profile_hash}
    generation = connection.generation + 1
    kept = KeptAnswer.decode(ports.seal.unseal(connection.unread_answer, name, generation))
    try:
        answer = read_answer(profile, kept.response, kept.sent_at, _previous(ports, connection), connection.variables)
    except UnreadAnswer as error:
        raise UnreadAnswer(f"The answer that {name} holds cannot be read: {error.message}") from error
    now = int(ports.clock.now())
    if isinstance(answer, Refusal):
        changes = failures.refused(connection, answer, now) | {"unread_answer": None}
        changes = token_save.due_soon(connection, changes, now)
    else:
        sealed = ports.seal.prepare(name, generation).seal(answer.encode())
        changes = token_save.saved(connection, answer, sealed, profile, settings, now)
    Saving(ports.records, ports.queue, ports.clock, settings.budgets.save).keep(
        connection, {**changes, **pinned}, deadline
    )


def _bound(connection: Connection, profile: Profile) -> dict[str, Any]:
    """The connection's variables as this profile wants them."""
    if profile.name != connection.provider or connection.grant not in profile.grants:
        raise InvalidRequest(f"The profile {profile.name} is not for {connection.name} and its grant.")
    known = {name: value for name, value in connection.variables.items() if name in profile.variables}
    return {"variables": profile.bind(known)}


def _previous(ports: Ports, connection: Connection) -> TokenSet | None:
    if connection.sealed is None:
        return None
    return TokenSet.decode(ports.seal.unseal(connection.sealed, connection.name, connection.generation))
