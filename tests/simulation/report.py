"""What a run came to, in a page: gaps, recoveries, requests, alerts; and the story of a violation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from evergrant.times import format_rfc3339
from tests.simulation.world import START, World


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
    """The connections that were longest without a valid token, and how fast each trouble was over."""
    without = {name: track.seconds_without(world.now) for name, track in world.ledger.tracks.items()}
    worst = sorted((seconds, name) for name, seconds in without.items() if seconds)[-5:]
    yield "without a valid token (minutes):" if worst else "no connection was without a valid token"
    yield from (f"  {name:<24}{seconds / 60:8.1f}" for seconds, name in reversed(worst))
    for trouble in world.script.troubles:
        if trouble.end > world.now:
            continue
        tracks = [track for track in world.ledger.tracks.values() if track.provider == trouble.provider]
        tracks = [track for track in tracks if trouble.concerns(track.connection)]
        after = max((track.valid_from(trouble.end, world.now) - trouble.end for track in tracks), default=0.0)
        lasted = (trouble.end - trouble.start) / 60
        yield f"  {trouble.provider:<16}{lasted:7.1f} min of trouble, all valid {after:7.0f} s after its end"


def _describe_requests(world: World) -> Iterator[str]:
    yield "requests:                                                     all   most in a minute"
    for url, endpoint in sorted(world.ledger.endpoints.items()):
        yield f"  {url:<56}{endpoint.requests:>8}{max(endpoint.by_minute.values()):>10}"


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
