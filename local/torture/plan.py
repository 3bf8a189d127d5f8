"""How much is done, and how long it takes. All durations in seconds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Plan:
    """One torture.

    Parameters
    ----------
    connections
        Side by side, half of them at each provider.
    lifetimes
        Of access tokens, first for the kills, then for everything else. Refreshes happen in the middle of it.
    kills
        How many times the process of a running invocation is killed.
    outage
        How long each fault of an AWS service lasts: longer than a token lives.
    modes_apart
        Whether each service fails, throttles and hangs in outages of their own, or in one, call by call.
    checked_between
        Whether everything recovers and is checked after each of these, or only after all of them.
    copies
        At how many connections of the strict and of the lenient provider each of a provider's faults happens. None:
        at one, of either in turn.
    together
        How many ask for the same refresh at once.
    about
        How long all of it takes on two idle processors, without building.
    """

    connections: int
    lifetimes: tuple[int, int]
    kills: int
    outage: int
    modes_apart: bool
    checked_between: bool
    copies: tuple[int, int] | None
    together: int
    about: int


FULL = Plan(
    connections=50,
    lifetimes=(60, 24),
    kills=300,
    outage=26,
    modes_apart=True,
    checked_between=True,
    copies=(2, 3),
    together=50,
    about=15 * 60,
)
#: What `make test` runs.
QUICK = Plan(
    connections=10,
    lifetimes=(6, 6),
    kills=20,
    outage=7,
    modes_apart=False,
    checked_between=False,
    copies=None,
    together=8,
    about=120,
)
