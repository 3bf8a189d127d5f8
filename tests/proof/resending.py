"""When a refresh token may be sent again: the one rule that keeps a grant alive. Pure; times are epoch seconds.

No refresh token is sent twice outside its grace while its access token lives, or while any worker or message may still
hold its answer. An answer that arrived whole is its sender's alone, even where it settles nothing. One that did not
arrive is in flight until no worker and no message can carry it any more. The numbers are this module's own, so that a
mistake in those of the code under proof shows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

#: What our side learned from a request: no answer, a token set, a refusal, or an answer that settles nothing.
Known = Literal["nothing", "granted", "refused", "unclear"]

#: For so long after it was sent, a request without an answer is in flight: a worker lives for a minute, and a message
#: that carries a token set comes back twice.
IN_FLIGHT_SECONDS = 900
#: So long before its end, an access token has next to nothing left to lose.
LAST_TRY_SECONDS = 30
#: Less than a day between two probes, for their jitter.
MIN_PROBE_SECONDS = 20 * 3600
COUNTED = "the counted attempt"


@dataclass(frozen=True)
class Sent:
    """One request with a refresh token, and by which clause it was allowed."""

    at: float
    why: str
    known: Known = "nothing"


@dataclass(frozen=True)
class Stake:
    """What another request with the same refresh token puts at risk.

    ``gone_at`` is the moment from which the access token that came with it is certainly gone: its end, and a lifetime
    later where that is only assumed. ``is_rejected`` says that a consumer has reported it rejected since. ``ends_at``
    is the end of the refresh token itself, where that is not later. ``is_held`` says that a worker or a message has the
    answer of an earlier request. ``is_counted`` says that reuse may end more than this grant: the whole permission of
    the account. ``is_forced`` says that an operator decided; ``has_grant`` that a grant can be lost at all.
    """

    grace: int
    gone_at: float
    is_rejected: bool = False
    ends_at: float | None = None
    is_held: bool = False
    is_counted: bool = False
    is_forced: bool = False
    has_grant: bool = True

    def is_gone(self, now: float) -> bool:
        """Whether there is no access token to lose, by the clock or by a consumer's report."""
        return now >= self.gone_at or self.is_rejected


def allow(before: Sequence[Sent], now: float, stake: Stake) -> str:
    """Return the clause by which a refresh token may be sent now, after the requests ``before``.

    Raises
    ------
    AssertionError
        No clause allows it.
    """
    if not before:
        return "for the first time"
    if any(sent.known == "refused" for sent in before) or not stake.has_grant:
        return "with no grant to lose"
    if now <= before[0].at + stake.grace:
        return "within the grace"
    assert not stake.is_held, "a refresh token was sent twice, and a worker or a message holds its answer"
    unanswered = [sent for sent in before if sent.known != "unclear"]
    assert not unanswered or now >= int(unanswered[-1].at) + IN_FLIGHT_SECONDS, (
        "a refresh token was sent twice, and its answer may still be in flight"
    )
    if stake.is_forced:
        return "by an operator"
    if stake.is_counted and unanswered:
        return _allow_counted(before, now, stake)
    return _allow_spared(before, now, stake)


def _allow_counted(before: Sequence[Sent], now: float, stake: Stake) -> str:
    """Allow one attempt; then, with the access token gone, one probe a day."""
    if all(sent.why != COUNTED for sent in before):
        return COUNTED
    assert stake.is_gone(now), "a refresh token was sent twice, and reuse may end the whole permission"
    assert now >= before[-1].at + MIN_PROBE_SECONDS, "a grant that may be ended whole is probed daily at most"
    return "as a daily probe"


def _allow_spared(before: Sequence[Sent], now: float, stake: Stake) -> str:
    """Allow what costs no living access token: after its end, right before it, and where both tokens end together."""
    if stake.is_gone(now):
        return "with its access token gone"
    end = stake.gone_at if stake.ends_at is None else stake.ends_at
    if now >= end - LAST_TRY_SECONDS:
        assert before[-1].at < end - LAST_TRY_SECONDS, "a refresh token was sent twice in its last seconds"
        return "in its last seconds"
    assert stake.ends_at is not None, "a refresh token was sent twice outside the grace while its access token lives"
    assert now >= (before[-1].at + end) // 2, "a refresh token that ends was sent twice before half of its time"
    return "at half of what remains"
