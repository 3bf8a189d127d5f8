"""What a run came to, in a page: gaps, recoveries, requests, alerts; and the story of a violation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from math import inf

from evergrant.times import format_rfc3339
from tests.simulation.scripts import Trouble
from tests.simulation.world import START, World

#: Of each list the worst.
_MAX_LINES = 8


def describe(world: World) -> str:
    """Describe a run for people."""
    return "\n".join((*_describe_run(world), "", *_describe_gaps(world), "", *_describe_requests(world)))


def _describe_run(world: World) -> Iterator[str]:
    ledger = world.ledger
    statuses = Counter(str(record.status) for record in world.records.items.values())
    yield f"{(world.now - START) / 3600:.1f} hours, {len(ledger.tracks)} connections, {ledger.rotations} refreshes"
    yield "status now:       " + ", ".join(f"{count} {status}" for status, count in sorted(statuses.items()))
    yield f"alerts:           {_count(kind for _, kind, _ in ledger.alerts())}"
    yield f"owners asked:     {', '.join(ledger.asked) or 'none'}"


def _describe_gaps(world: World) -> Iterator[str]:
    """The connections that were longest without a valid token, and the troubles that it took longest to recover from.

    A connection whose grant is dead, or with a trouble of its own, does not count for the others' trouble.
    """
    without = {name: track.seconds_without(world.now) for name, track in world.ledger.tracks.items()}
    worst = sorted((seconds, name) for name, seconds in without.items() if seconds)[-_MAX_LINES:]
    yield "without a valid token (minutes):" if worst else "no connection was without a valid token"
    yield from (f"  {name:<28}{seconds / 60:8.1f}" for seconds, name in reversed(worst))
    recoveries = sorted(((_measure_recovery(world, one), one) for one in world.script.troubles), key=_slowest)
    for seconds, trouble in [pair for pair in recoveries if pair[0]][:_MAX_LINES]:
        lasted, after = (trouble.end - trouble.start) / 60, "not yet" if seconds == inf else f"{seconds:.0f} s"
        name = f"{trouble.provider}, {trouble.answer.name}"
        yield f"  {name:<44}{lasted:7.1f} min of trouble; all valid after its end: {after}"


def _slowest(pair: tuple[float, Trouble]) -> float:
    return -pair[0]


def _measure_recovery(world: World, trouble: Trouble) -> float:
    """How long after its end all connections had valid tokens, in seconds; zero where it has not ended."""
    if trouble.end > world.now or trouble.truth == "grant":
        return 0.0
    refused = {name for one in world.script.troubles if one.truth == "grant" for name in one.connections}
    after = 0.0
    for name, member in world.registry.members.items():
        track = world.ledger.tracks[name]
        is_out = name in refused or bool(track.asked_at) or (member.times > 0 and member.server.is_dead(name))
        if member.profile.name == trouble.provider and trouble.concerns(name) and not is_out:
            after = max(after, track.valid_from(trouble.end, world.now) - trouble.end)
    return after


def _describe_requests(world: World) -> Iterator[str]:
    yield "requests:                                                     all   most in a minute"
    busiest = sorted(world.ledger.endpoints.values(), key=lambda endpoint: -endpoint.requests)
    for endpoint in busiest[:_MAX_LINES]:
        yield f"  {endpoint.url:<56}{endpoint.requests:>8}{max(endpoint.by_minute.values()):>10}"


def describe_violations(world: World) -> str:
    """Describe what did not hold, and the last events of the connection."""
    lines = []
    for violation in world.checks.violations[:3]:
        moment = format_rfc3339(int(violation.at))
        lines += [f"{violation.invariant}: {violation.connection} at {moment}: {violation.text}"]
        track = world.ledger.tracks.get(violation.connection)
        lines += [f"  {format_rfc3339(int(at))}  {text}" for at, text in (track.log if track else ())]
    return "\n".join(lines)


def _count(kinds: Iterator[str]) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in sorted(Counter(kinds).items())) or "none"
