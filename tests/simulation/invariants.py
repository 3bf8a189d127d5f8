"""What must hold: small functions, each of one rule, that are called where it could be broken.

Each returns what is wrong, or None. Those of a step look at what the step touched: a request before it is acted upon, a
change of a record, an answer of getter, an event on the bus. Those of a minute look at one connection, once a simulated
minute. They judge by what happened at the provider (:mod:`tests.simulation.servers`), not by the record alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import inf
from typing import TYPE_CHECKING, Any

from evergrant.profiles.model import HEADLESS_GRANTS
from evergrant.record.alerts import is_alert
from evergrant.record.circuit import Circuit
from evergrant.record.connection import EXPIRED_ON_ARRIVAL, Connection
from evergrant.record.failures import SERVICE_UNAVAILABLE
from evergrant.record.status import INACTIVE_STATUSES, EventType, Status
from tests.simulation.ledger import Sending

if TYPE_CHECKING:
    from tests.simulation.world import World

#: A lost response may be on its way, in a worker or in a message, for so long after it was found to be lost.
IN_FLIGHT_SECONDS = 900
#: With an attempt in doubt, the last attempt while the access token lives is made so shortly before it expires.
LAST_ATTEMPT_SECONDS = 30
PROBE_SECONDS = 15
#: A worker that read a circuit before it opened sends what it has prepared.
_PREPARED_SECONDS = 10
#: Nothing is judged so shortly after a service of AWS failed.
_CALM_AFTER_SECONDS = 1200
_TOLERANCE_SECONDS = 5
#: A message is on its way for longer or shorter than the one before.
_JITTER_SECONDS = 2
#: From these seconds after its token expired, a connection may be tried so seldom (seconds), with jitter.
_RETRY_WITHIN = ((3600, 60), (7 * 3600, 300), (31 * 3600, 3600), (inf, 86_400))
#: Reasons of an alert that do not wait for a token to expire.
_OF_THE_ANSWER = ("unreadable_response", "unpublished", "expired_on_arrival")
_ALONE_SECONDS, _REQUEST_SECONDS, _SILENCE_SECONDS = 6 * 3600, 3600, 86_400

Sent = Callable[["World", Sending], str | None]
Written = Callable[["World", Connection, Connection], str | None]
Read = Callable[["World", str, Mapping[str, Any]], str | None]
Reported = Callable[["World", Mapping[str, Any]], str | None]
Minute = Callable[["World", Connection], str | None]

# --- of a request -----------------------------------------------------------------------------------------------------


def no_refresh_token_is_sent_twice(world: World, sending: Sending) -> str | None:
    """No refresh token is sent again, outside its grace, while its access token lives or an answer may be in flight.

    The exceptions are the last attempt shortly before the expiry, an operator's, and, where the refresh token ends with
    the access token, one at half of what remained.
    """
    member, record = world.member(sending.connection), world.record(sending.connection)
    rotation = member.profile.rotation
    before = world.ledger.tracks[sending.connection].sendings.get(sending.token or "", ())
    doubtful = [one for one in before if one.known in (None, "unclear", "lost", "granted")]
    is_headless = member.grant in HEADLESS_GRANTS  # another answer is to be had at any time
    if is_headless or not rotation.rotates or not doubtful or sending.at <= doubtful[0].at + rotation.reuse_grace:
        return None
    if any(one.known is None for one in doubtful):
        return "a request with the same refresh token is under way"
    found_at = max((one.answered_at for one in doubtful if one.known != "unclear"), default=-inf)
    if sending.at < found_at + IN_FLIGHT_SECONDS - 1:
        return f"an answer that was lost {sending.at - found_at:.0f} s ago may be in flight"
    expires_at = record.expires_at or -inf
    last_from = expires_at - LAST_ATTEMPT_SECONDS - 1
    if sending.at >= expires_at or sending.forced:
        return None
    if sending.at >= last_from and all(one.at < last_from for one in doubtful):
        return None
    half = (doubtful[0].at + expires_at) / 2 - 1
    if rotation.refresh_token_life == "with_access_token" and len(doubtful) <= 2 and sending.at >= half:
        return None
    return f"its access token lives for {expires_at - sending.at:.0f} s yet, and an attempt with it is in doubt"


def an_open_endpoint_gets_a_request_in_15_s(world: World, sending: Sending) -> str | None:
    """While an endpoint's circuit is open, it gets one request in 15 s at most.

    A request that is repeated because its response was lost is one attempt with the first.
    """
    opened_at = find_opened_at(world, f"endpoint#{sending.endpoint}")
    if opened_at is None or sending.forced:
        return None
    return _is_one_too_many(world, sending, opened_at, None)


def an_open_client_gets_a_request_in_15_s(world: World, sending: Sending) -> str | None:
    """While a client's circuit is open, it sends one request in 15 s at most.

    A probe of its endpoint does not count, and one connection may try another entry at once.
    """
    client = world.record(sending.connection).client
    opened_at = find_opened_at(world, f"client#{client}")
    if opened_at is None or sending.forced or sending.is_through_endpoint:
        return None
    has_changed = world.registry.corrected_at.get(client, -inf) > opened_at
    return _is_one_too_many(world, sending, opened_at, client, besides=int(has_changed))


def _is_one_too_many(
    world: World, sending: Sending, opened_at: float, client: str | None, *, besides: int = 0
) -> str | None:
    """Say so if more was sent than one request and those ``besides``: one more where the queue is late by itself."""
    since = max(opened_at + _PREPARED_SECONDS, sending.at - PROBE_SECONDS + _JITTER_SECONDS)
    if sending.is_repeated or sending.at < opened_at + _PREPARED_SECONDS:
        return None
    besides += world.queue.late > 0
    for one in reversed(world.ledger.endpoint(sending.endpoint).recent):
        if one.at < since:
            return None
        is_same = client is None or (world.record(one.connection).client == client and not one.is_through_endpoint)
        if is_same and not one.forced and not one.is_repeated:
            besides -= 1
        if besides < 0:
            return f"its circuit is open, and a request was sent {sending.at - one.at:.0f} s ago"
    return None


def a_wait_is_kept(world: World, sending: Sending) -> str | None:
    """What Retry-After asks for is kept, unless the token would expire meanwhile."""
    track, record = world.ledger.tracks[sending.connection], world.record(sending.connection)
    last = track.last_answer
    if last is None or not last.wait or sending.forced or sending.at >= (record.expires_at or 0) - 120:
        return None
    left = last.answered_at + last.wait - sending.at
    return f"its provider asked to wait for another {left:.0f} s" if left > 1 else None


# --- of a change of a record ------------------------------------------------------------------------------------------


def a_generation_never_goes_back(world: World, before: Connection, after: Connection) -> str | None:
    """A generation never goes back, and a token set is saved on top of the one before."""
    if after.sealed is not before.sealed and after.sealed is not None and after.generation != before.generation + 1:
        return f"generation {before.generation} became {after.generation}"
    return None


def an_owner_is_asked_with_a_reason(world: World, before: Connection, after: Connection) -> str | None:
    """A connection needs its owner only where its grant is dead, or by the rules of time."""
    if after.status is before.status or after.status is not Status.AUTHORIZATION_REQUIRED:
        return None
    return find_no_reason_to_ask(world, after)


def find_no_reason_to_ask(world: World, record: Connection) -> str | None:
    """Return what speaks against asking the owner of a connection; None where there is a reason to."""
    member, now = world.member(record.name), world.now
    truths = world.script.truths(member.profile.name, record.name, now, since=3600)
    without = now - max(world.ledger.tracks[record.name].valid_until, record.created_at)
    is_dead = member.grant == "authorization_code" and member.server.is_dead(record.name)
    if is_dead or "grant" in truths or without >= _ALONE_SECONDS:
        return None
    if "request" in truths and (without >= _REQUEST_SECONDS or now - (record.issued_at or 0) >= _SILENCE_SECONDS):
        return None
    return f"its grant is alive, and it has been without a token for {max(without, 0):.0f} s ({record.last_error})"


def a_client_is_refused_by_its_provider(world: World, before: Connection, after: Connection) -> str | None:
    """A connection is ``client_refused`` only where the provider refused its client, for it or for all.

    A headless grant is nothing but the client, so that who refuses the one refuses the other. Where a profile says that
    a status refuses the grant, a page of a wall in front of the provider with this status does so too.
    """
    if after.status is before.status or after.status is not Status.CLIENT_REFUSED:
        return None
    member = world.member(after.name)
    truths = world.script.truths(member.profile.name, after.name, world.now, since=3600)
    refuses = any(rule.status == after.last_status and rule.kind == "grant_rejected" for rule in member.profile.errors)
    is_meant = "client" in truths or (member.grant in HEADLESS_GRANTS and ("grant" in truths or refuses))
    return None if is_meant else f"nothing is wrong with its client ({after.last_error})"


def a_token_is_not_believed_for_too_long(world: World, before: Connection, after: Connection) -> str | None:
    """The expiry in the record is not after the one at the provider.

    A server whose tokens have expired on arrival three times in a row is not believed: then a lifetime is assumed. One
    that gives the same response again names the lifetime that the token had at first.
    """
    if after.sealed is before.sealed or after.sealed is None or after.last_error == EXPIRED_ON_ARRIVAL:
        return None
    skew = max(world.member(after.name).server.skew, 0)
    beyond = (after.expires_at or 0) - world.find_valid_until(after) - skew - _seconds_repeated(world, after)
    return f"its token is believed to live {beyond:.0f} s too long" if beyond > _TOLERANCE_SECONDS else None


def _seconds_repeated(world: World, record: Connection) -> float:
    """Over how many seconds the server has answered with the token set that the record holds."""
    sendings = world.ledger.tracks[record.name].sendings.values()
    token = world.find_access_token(record)
    moments = [one.at for attempts in sendings for one in attempts if one.access_token == token]
    return max(moments) - min(moments) if moments else 0


# --- of an answer of getter -------------------------------------------------------------------------------------------


def no_valid_token_is_withheld(world: World, name: str, answer: Mapping[str, Any]) -> str | None:
    """Who asks getter gets the token, as long as the record holds a valid one."""
    record, valid_until = world.record(name), world.ledger.tracks[name].valid_until
    left = min(valid_until, record.expires_at or 0) - world.now
    if "error" not in answer or left <= _TOLERANCE_SECONDS or record.status in INACTIVE_STATUSES or not is_calm(world):
        return None
    return f"it has a token for another {left:.0f} s, and getter answered {answer['error']['code']}"


def no_expired_token_is_served(world: World, name: str, answer: Mapping[str, Any]) -> str | None:
    """Getter serves no token whose end is known to be past."""
    is_expired = (
        "error" not in answer and answer["expires_in"] <= 0 and (world.record(name).expires_at or 0) < world.now
    )
    return "an expired token was served" if is_expired else None


# --- of an event ------------------------------------------------------------------------------------------------------


def a_blip_is_no_alert(world: World, event: Mapping[str, Any]) -> str | None:
    """A connection that fails is an alert once a token of its endpoint is about to expire, and not before."""
    detail = event["detail"]
    if event["type"] != EventType.DEGRADED or not is_alert(event):
        return None
    if detail.get("reason") in _OF_THE_ANSWER:
        return None
    endpoint = world.member(detail["connection"]).endpoint
    alike = (name for name, member in world.registry.members.items() if member.endpoint == endpoint)
    left = min(world.records.items[name].expires_at or 0 for name in alike if name in world.records.items) - world.now
    return f"the first token of its endpoint lives for {left:.0f} s yet" if left > 300 + _CALM_AFTER_SECONDS else None


def one_alert_for_one_trouble(world: World, event: Mapping[str, Any]) -> str | None:
    """A trouble of an endpoint or a client is one alert an hour at most, however many connections it has.

    A failure of our own is not one of the endpoint: an alert of it says nothing of what the provider does later. Where
    each connection has a client of its own, each of these is an alert.
    """
    if event["type"] not in (EventType.DEGRADED, EventType.CLIENT_REFUSED) or not is_alert(event):
        return None
    if not is_calm(world):
        return None
    name = event["detail"]["connection"]
    if event["detail"].get("reason") in _OF_THE_ANSWER or has_its_own_trouble(world, name):
        return None
    endpoint = world.member(name).endpoint
    for at, kind, detail in reversed(world.ledger.events[:-1]):
        if at < world.now - 3600:
            return None
        if _ends_another_trouble(world, endpoint, kind, detail, event["detail"]):
            return None
        if kind == event["type"] and detail.get("alert", kind != EventType.DEGRADED):
            other = detail["connection"]
            is_same = world.member(other).endpoint == endpoint and detail != event["detail"]
            is_same = is_same and detail.get("reason") != SERVICE_UNAVAILABLE
            if kind == EventType.CLIENT_REFUSED:
                is_same = is_same and detail["client"] == event["detail"]["client"]
            if is_same and not has_its_own_trouble(world, other):
                return f"the same was reported {world.now - at:.0f} s ago, of {other}"
    return None


def _ends_another_trouble(
    world: World, endpoint: str, kind: str, detail: Mapping[str, Any], later: Mapping[str, Any]
) -> bool:
    """Whether an event ends a trouble of the endpoint that had another reason than the later one."""
    if kind != EventType.RECOVERED or not detail.get("alert"):
        return False
    if world.member(detail["connection"]).endpoint != endpoint:
        return False
    reported = [
        one["reason"]
        for _, other, one in world.ledger.events
        if other == EventType.DEGRADED and one["connection"] == detail["connection"] and one["time"] <= detail["time"]
    ]
    return bool(reported) and reported[-1] != later.get("reason")


# --- of a minute ------------------------------------------------------------------------------------------------------


def no_due_connection_is_forgotten(world: World, record: Connection) -> str | None:
    """Each connection is planned for, and what is due is worked on, unless its circuit holds it, or lately did."""
    if record.due_at is None:
        is_over = record.status in INACTIVE_STATUSES or record.status is Status.AUTHORIZATION_REQUIRED
        is_kept = record.unreadable_response is not None
        return None if is_over or is_kept or record.status is Status.AWAITING_AUTHORIZATION else "nothing is planned"
    late = world.now - max(record.due_at, *(circuit.answered_at or 0 for circuit in find_circuits(world, record)))
    if late < 300 or is_held(world, record) or not is_calm(world):
        return None
    return f"it has been due for {late:.0f} s"


def a_connection_without_a_token_is_retried(world: World, record: Connection) -> str | None:
    """A connection alone without a token is tried every minute in the first hour, then every five, hourly, daily."""
    expired_at, planned_at = record.expires_at, record.refresh_at
    if expired_at is None or planned_at is None or expired_at > world.now or record.status in INACTIVE_STATUSES:
        return None
    since = world.now - expired_at
    within = next(seconds for until, seconds in _RETRY_WITHIN if since < until)
    if planned_at - world.now <= within * 1.3 + 5 or is_held(world, record) or not is_alone(world, record.name):
        return None
    last = world.ledger.tracks[record.name].last_answer
    waits = last is not None and (last.wait > 0 or last.known in ("lost", "refused"))
    if waits or record.status in (Status.AUTHORIZATION_REQUIRED, Status.CLIENT_REFUSED):
        return None
    return f"its token expired {since:.0f} s ago, and the next try is {planned_at - world.now:.0f} s ahead"


def a_connection_without_a_token_is_not_active(world: World, record: Connection) -> str | None:
    """The status says so where a connection has been without a valid token for a quarter of an hour.

    What a circuit holds back stays as it is: its circuit says so, and after it has closed, a minute or two are left.
    """
    without = world.now - world.ledger.tracks[record.name].valid_until
    if is_held(world, record) or was_held(world, record):
        return None
    if record.status is not Status.ACTIVE or without < 900 or without == inf or not is_calm(world):
        return None
    if world.member(record.name).profile.rotation.refresh == "on_demand":
        return None
    return f"it is active, and has been without a valid token for {without:.0f} s"


def no_silence_lasts_a_day(world: World, record: Connection) -> str | None:
    """Of a connection without a token for 24 hours, an alert is at most a day old, by itself or for its endpoint."""
    track = world.ledger.tracks[record.name]
    if world.now - track.valid_until < _SILENCE_SECONDS + 600 or record.status in INACTIVE_STATUSES:
        return None
    if track.began_at == inf:
        return None
    endpoint = world.member(record.name).endpoint
    for at, _, detail in reversed(world.ledger.alerts()):
        if at < world.now - _SILENCE_SECONDS - 600:
            break
        if detail["connection"] == record.name or world.member(detail["connection"]).endpoint == endpoint:
            return None
    return "it has been without a token for a day, and no alert of the last day says so"


def a_change_for_the_worse_is_reported(world: World, record: Connection) -> str | None:
    """An event says so soon after a connection needs its owner."""
    track = world.ledger.tracks[record.name]
    if record.status is not Status.AUTHORIZATION_REQUIRED or world.now < track.status_at + 300 or not is_calm(world):
        return None
    is_reported = bool(track.asked_at) and track.asked_at[-1] >= int(track.status_at)
    return None if is_reported else "it needs its owner, and no event says so"


def what_consumers_read_is_current(world: World, record: Connection) -> str | None:
    """The secret holds the token set of the record soon after it was saved."""
    if not record.direct_read or record.status in INACTIVE_STATUSES or not is_calm(world):
        return None
    if record.published_generation != record.generation:
        late = world.now - (record.issued_at or world.now)
        return f"a token set has not been published for {late:.0f} s" if late > 300 else None
    rotation = world.member(record.name).profile.rotation
    lifetime = (record.expires_at or 0) - (record.issued_at or 0)
    is_for_getter = lifetime < world.settings.direct_read_min_lifetime or rotation.old_access_token_revoked
    if record.generation == 0 or is_for_getter or rotation.minimum_age or record.is_leased(int(world.now)):
        return None
    document = world.vault.read(record.name) or {"generation": "nothing"}
    is_current = document["generation"] == record.generation
    return None if is_current else f"consumers read {document['generation']}, and the generation is {record.generation}"


def no_token_set_is_thrown_away(world: World, record: Connection) -> str | None:
    """A token set that arrived whole is in the record, or kept to be read later."""
    received = world.ledger.tracks[record.name].received
    if not received or record.unreadable_response is not None or world.kills or not is_calm(world):
        return None
    oldest = min(received.values())
    return f"a token set arrived {world.now - oldest:.0f} s ago and was not saved" if world.now > oldest + 300 else None


SENT: tuple[Sent, ...] = (
    no_refresh_token_is_sent_twice,
    an_open_endpoint_gets_a_request_in_15_s,
    an_open_client_gets_a_request_in_15_s,
    a_wait_is_kept,
)
WRITTEN: tuple[Written, ...] = (
    a_generation_never_goes_back,
    an_owner_is_asked_with_a_reason,
    a_client_is_refused_by_its_provider,
    a_token_is_not_believed_for_too_long,
)
READ: tuple[Read, ...] = (no_valid_token_is_withheld, no_expired_token_is_served)
REPORTED: tuple[Reported, ...] = (a_blip_is_no_alert, one_alert_for_one_trouble)
MINUTE: tuple[Minute, ...] = (
    no_due_connection_is_forgotten,
    a_connection_without_a_token_is_retried,
    a_connection_without_a_token_is_not_active,
    no_silence_lasts_a_day,
    a_change_for_the_worse_is_reported,
    what_consumers_read_is_current,
    no_token_set_is_thrown_away,
)
EVERY = frozenset(check.__name__ for check in (*SENT, *WRITTEN, *READ, *REPORTED, *MINUTE))


# --- what they ask ----------------------------------------------------------------------------------------------------


def find_opened_at(world: World, key: str) -> float | None:
    """Return since when a circuit has been open; None where it is closed."""
    return find_circuit(world, key).opened_at


def find_circuit(world: World, key: str) -> Circuit:
    circuits: Mapping[str, Circuit] = world.ports.circuits.items  # type: ignore[attr-defined]
    return circuits.get(key) or Circuit(key)


def find_circuits(world: World, record: Connection) -> tuple[Circuit, Circuit]:
    """Return the circuits of a connection's client and endpoint."""
    endpoint = world.member(record.name).endpoint
    return find_circuit(world, f"client#{record.client}"), find_circuit(world, f"endpoint#{endpoint}")


def is_held(world: World, record: Connection) -> bool:
    """Whether a circuit may hold a connection back."""
    return any(circuit.is_open for circuit in find_circuits(world, record))


def was_held(world: World, record: Connection) -> bool:
    """Whether a circuit that may have held a connection back has closed lately."""
    circuits: Mapping[str, Any] = world.ports.circuits.items  # type: ignore[attr-defined]
    keys = (f"client#{record.client}", f"endpoint#{world.member(record.name).endpoint}")
    closed = (getattr(circuits.get(key), "answered_at", None) for key in keys)
    return any(at is not None and at > world.now - 150 for at in closed)


def is_alone(world: World, name: str) -> bool:
    """Whether no other connection has the same endpoint."""
    endpoint = world.member(name).endpoint
    return not any(
        member.endpoint == endpoint and member.name != name and member.times
        for member in world.registry.members.values()
    )


def has_its_own_trouble(world: World, name: str) -> bool:
    """Whether a connection has lately had a trouble that others do not have: a dead grant, too."""
    member = world.member(name)
    if member.grant == "authorization_code" and member.server.is_dead(name):
        return True
    return any(
        trouble.connections and name in trouble.connections
        for trouble in world.script.troubles
        if trouble.start <= world.now < trouble.end + 3600
    )


def is_calm(world: World) -> bool:
    """Whether no service of AWS has failed lately."""
    return all(not outage.start <= world.now < outage.end + _CALM_AFTER_SECONDS for outage in world.faults.outages)
