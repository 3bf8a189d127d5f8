"""The size of a run: connections, faults and durations (seconds)."""

from __future__ import annotations

from dataclasses import dataclass

from local.torture.faults import list_response_faults


@dataclass(frozen=True)
class Plan:
    """The size of one run.

    Parameters
    ----------
    connections
        Their number; half of them are at each provider.
    lifetimes
        Of access tokens: during the kills, then during all else. A refresh happens at half of it.
    lease
        How long a worker has a connection to itself. A lease below 30, the template's minimum, is set on the deployed
        functions: the time limit of a refresh attempt is then shorter, so that the save's time remains.
    redelivery
        The queue's visibility timeout: when a killed worker's message is delivered again. None: the template's.
    tick
        How often the scheduler is invoked, since tokens are short-lived.
    kills
        How many running invocations are killed.
    outage
        How long each fault of an AWS service lasts: longer than the lifetime of a token.
    caught
        The number of connections, of each provider, for which an outage begins after the provider's response and
        before the save.
    modes_apart
        Whether failing, throttling and hanging are separate outages of a service; else they alternate in one.
    sequential
        Whether every connection recovers and is checked after each fault, before the next one. Else faulty responses
        meet some connections while kills and outages of SQS and EventBridge meet the others; the other outages follow,
        and everything recovers at the end.
    copies
        The number of connections, of the strict and of the lenient provider, that meet each kind of faulty response.
        None: one connection, of the two providers in turn.
    concurrent
        How many callers request the same refresh at once.
    about_seconds
        How long the run takes on two idle processors, without the build.
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
    sequential: bool
    copies: tuple[int, int] | None
    concurrent: int
    about_seconds: int

    def __post_init__(self) -> None:
        of_each = (
            len(list_response_faults(self.lease)) * max(self.copies)
            if self.copies
            else -(-len(list_response_faults(self.lease)) // 2)
        )
        if of_each > self.connections // 2:
            raise ValueError(f"{of_each} connections of a provider are to meet its faults, but it has fewer.")


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
    sequential=True,
    copies=(2, 2),
    concurrent=50,
    about_seconds=17 * 60,
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
    sequential=False,
    copies=None,
    concurrent=8,
    about_seconds=55,
)
