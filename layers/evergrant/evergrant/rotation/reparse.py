"""The reparse of a kept response by a corrected profile.

It is a response in hand, so it is kept by the same step as every other: sealed, and saved by generation. A failure
leaves all as it was.
"""

from __future__ import annotations

from dataclasses import replace

from ..errors import InvalidRequest, Paused, UnknownConnection, UnreadableResponse
from ..oauth.error_response import Refusal
from ..oauth.issuance import describe_issuance, require_issued_for
from ..oauth.token_response import parse_token_response
from ..oauth.unreadable_response import KeptResponse
from ..ports import RotationPorts
from ..profiles.model import Profile
from ..record import refusals, token_save
from ..record.circuit import NO_SURROUNDINGS
from ..record.connection import Connection, RecordChange, RecordFields
from ..record.refresh_schedule import deliver_soon
from ..record.status import Status
from ..settings import Settings
from .fenced_save import SaveStep
from .preparation import SealedTokenSets


def reparse_response(ports: RotationPorts, settings: Settings, deadline: float, name: str, profile_hash: str) -> None:
    """Read the kept response of a connection by the profile of this content hash, which it has from then on.

    The token set is due for publication. A response that the profile takes for a refusal is applied as one.

    Raises
    ------
    UnknownConnection, Paused, InvalidRequest
        There is no kept response, or the profile is another provider's, or not for this grant.
    UnknownProfile, UnknownClient, InvalidVariable
    RecordTampered
        The response would make tokens that are sent elsewhere than those before.
    UnreadableResponse
        This profile cannot read it either.
    PortUnavailable
    """
    connection = ports.records.get(name)
    if connection is None:
        raise UnknownConnection(name)
    if connection.unreadable_response is None:
        raise InvalidRequest(f"{name} holds no response that could not be read.")
    if connection.status is Status.PAUSED:
        raise Paused(name)
    profile = ports.profiles.load_pinned(profile_hash)
    pinned = _pin(connection, profile, profile_hash)
    generation = connection.generation + 1
    kept = KeptResponse.decode(ports.seal.unseal(connection.unreadable_response, name, generation))
    now = int(ports.clock.now())
    client = ports.vault.client(connection.client)
    as_pinned = replace(connection, variables=pinned["variables"], profile_hash=profile_hash)
    issuance = describe_issuance(profile, as_pinned, client)
    require_issued_for(name, kept.issued_for, issuance, kept.sent_at, now)
    previous = SealedTokenSets(ports.seal).open_current(connection)
    try:
        answer = parse_token_response(profile, kept.response, kept.sent_at, previous, connection.variables)
    except UnreadableResponse as error:
        raise UnreadableResponse(f"The response that {name} holds cannot be read: {error.message}") from error
    data_key = ports.seal.prepare(name, generation)
    if isinstance(answer, Refusal):
        refused = refusals.apply_refusal(connection, profile, answer, NO_SURROUNDINGS, now)
        change = deliver_soon(connection, refused.set({"unreadable_response": None}), now)
    else:
        sealed = data_key.seal(answer.encode(issuance))
        change = token_save.save_token_set(connection, answer, sealed, profile, settings, now)
    save_step = SaveStep(ports.records, ports.queue, ports.clock, settings.budgets.save)
    save_step.keep(connection, change | RecordChange(pinned), data_key, deadline)


def _pin(connection: Connection, profile: Profile, profile_hash: str) -> RecordFields:
    """Return the profile's hash, and the connection's variables as this profile wants them."""
    if profile.name != connection.provider or connection.grant not in profile.grants:
        raise InvalidRequest(f"The profile {profile.name} is not for {connection.name} and its grant.")
    known = {name: value for name, value in connection.variables.items() if name in profile.variables}
    return {"variables": profile.bind(known), "profile_hash": profile_hash}
