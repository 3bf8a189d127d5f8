"""How much is done, and how long it takes. All durations in seconds."""

from __future__ import annotations

from dataclasses import dataclass

from local.torture.faults import lies


@dataclass(frozen=True)
class Plan:
    """One torture.

    Parameters
    ----------
    connections
        Side by side, half of them at each provider.
    lifetimes
        Of access tokens, first for the kills, then for everything else. Refreshes happen in the middle of it.
    lease
        How long a worker has a connection to itself. Below what the template allows, 30, it is given to the functions
        behind the template's back: an attempt at a provider is then cut shorter, so that the save's time remains.
    redelivery
        After how long the queue delivers a message again whose batch was killed. None: as the template says.
    tick
        How often the scheduler is started: lives are short here.
    kills
        How many times the process of a running invocation is killed.
    outage
        How long each fault of an AWS service lasts: longer than a token lives.
    caught
        Each of these outages begins, for so many connections of either provider, when their provider has answered and
        nothing is saved yet.
    modes_apart
        Whether each service fails, throttles and hangs in outages of their own, or in one, call by call.
    apart
        Whether everything recovers and is checked after each fault, before the next one. Else the providers' faults
        strike some connections while processes are killed that work on the others and SQS and EventBridge fail, the
        other outages follow one upon the other, and all of it recovers at the end.
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
    lease: int
    redelivery: int | None
    tick: float
    kills: int
    outage: float
    caught: int
    modes_apart: bool
    apart: bool
    copies: tuple[int, int] | None
    together: int
    about: int

    def __post_init__(self) -> None:
        of_each = len(lies(self.lease)) * max(self.copies) if self.copies else -(-len(lies(self.lease)) // 2)
        if of_each > self.connections // 2:
            raise ValueError(f"{of_each} connections of a provider are to meet its faults, and it has fewer.")


FULL = Plan(
    connections=50,
    lifetimes=(60, 24),
    lease=30,
    redelivery=None,
    tick=20,
    kills=300,
    outage=26,
    caught=3,
    modes_apart=True,
    apart=True,
    copies=(2, 2),
    together=50,
    about=17 * 60,
)
#: What `make test` runs.
QUICK = Plan(
    connections=14,
    lifetimes=(4, 2),
    lease=12,
    redelivery=15,
    tick=4,
    kills=5,
    outage=2.5,
    caught=1,
    modes_apart=False,
    apart=False,
    copies=None,
    together=8,
    about=55,
)
