"""When an access token expires: what the response states, compared with all else that says so. Pure.

A number from outside is compared with something. Where several say how long a token lives, the shortest credible one
counts; a value that no other supports is not believed, and the token set says so (``expiry_doubt``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from ..profiles.expiry import Expiry, compute_expiry, is_overstated, measure_jwt
from ..profiles.model import Profile
from ..times import DAY_SECONDS
from .token_set import ASSUMED_EXPIRY_RULES, MAX_EXPIRED_ARRIVALS, TokenSet

#: From this lifetime on (a year) a default stands for "never", which a token with a refresh token does not mean.
MIN_ENDLESS_SECONDS = 365 * DAY_SECONDS
#: A stated lifetime beyond ten years, which no profile can document either, is a moment or another unit.
MAX_CREDIBLE_SECONDS = 10 * 365 * DAY_SECONDS
#: A lifetime in milliseconds taken for seconds is a thousand times too long. Up to a hundredth of it, and up to three
#: days (the milliseconds of 260 seconds), a provider may have changed its setting.
MAX_CREDIBLE_RATIO = 100
MIN_SUSPICIOUS_SECONDS = 3 * DAY_SECONDS
#: The lifetime of a token that is renewed, where nothing credible says how long it lives.
UNKNOWN_LIFETIME_SECONDS = DAY_SECONDS
#: The same token once more within this time is no further answer: its server renews it a moment late.
_SAME_TOKEN_SECONDS = 60
_JWT_RULE = "jwt:access_token"

#: Why an expiry is not what the response states: it is not credible, or the token had expired on arrival.
Doubt = Literal["not_credible", "expired"]


class TokenExpiry(NamedTuple):
    """When an access token expires (epoch seconds), by which rule, and what speaks against the response's own word."""

    at: int
    rule: str
    doubt: Doubt | None = None
    expired_arrivals: int = 0


@dataclass(frozen=True, slots=True)
class ExpiryEvidence:
    """All that says how long an access token lives.

    ``answered_at`` is the response's own Date; ``sent_at`` is the time at which the request was sent, from which
    lifetimes count. Both are epoch seconds. ``is_renewable`` says that the set has a refresh token.
    """

    profile: Profile
    document: Any = field(repr=False)
    access_token: str = field(repr=False)
    sent_at: int
    answered_at: int | None
    variables: Mapping[str, str]
    previous: TokenSet | None
    is_renewable: bool

    def judge(self) -> TokenExpiry | None:
        """Find when the token expires; None where nothing says so."""
        found = self._judge_response()
        before = self.previous
        if found is None or before is None or self._is_other_token(before):
            return found
        # The same token once more does not live longer than it did, also where the response states a full lifetime.
        is_known = before.expiry_rule not in ASSUMED_EXPIRY_RULES and before.expires_at > self.sent_at
        return found._replace(at=min(found.at, before.expires_at)) if is_known else found

    def _is_other_token(self, before: TokenSet) -> bool:
        return before.access_token.reveal() != self.access_token

    def _judge_response(self) -> TokenExpiry | None:
        stated, own = self._find_stated(), self._find_own()
        if stated is None and own is None:
            found = self._assume()
            return found and found._replace(doubt="not_credible" if self._is_overstated() else None)
        shortest = _choose_shortest(stated, own, self.sent_at)
        if shortest.at <= self.sent_at:
            return self._count_expired_arrival(shortest, own)
        return self._check_credible(shortest, stated, own)

    def _find_stated(self) -> Expiry | None:
        """Return what the profile's rules find in the response."""
        rules = tuple(rule for rule in self.profile.response.expires if rule.default is None)
        return compute_expiry(rules, self.document, self.sent_at, answered_at=self.answered_at)

    def _find_own(self) -> Expiry | None:
        """Return what the access token says of itself, if it is a JWT."""
        lifetime = measure_jwt(self.access_token, self.sent_at, self.answered_at)
        return None if lifetime is None else Expiry(self.sent_at + max(lifetime, 0), _JWT_RULE)

    def _check_credible(self, shortest: Expiry, stated: Expiry | None, own: Expiry | None) -> TokenExpiry:
        """Compare the shortest lifetime with all others; what is far longer than each of them is not believed."""
        others = [expiry.at - self.sent_at for expiry in (self._find_default(), self._find_previous(), own) if expiry]
        compared = max([MIN_SUSPICIOUS_SECONDS, *(MAX_CREDIBLE_RATIO * life for life in others)])
        limit = min(compared, MAX_CREDIBLE_SECONDS) if others else MAX_CREDIBLE_SECONDS
        is_beyond = self._is_beyond(shortest, MAX_CREDIBLE_SECONDS if shortest is own else limit)
        has_doubt = is_beyond or self._is_overstated() or (stated is not None and self._is_beyond(stated, limit))
        doubt: Doubt | None = "not_credible" if has_doubt else None
        if is_beyond:
            believed = self._find_known() or self._assume_unknown()
            return TokenExpiry(believed.at, believed.rule, doubt)
        return TokenExpiry(shortest.at, shortest.rule, doubt)

    def _is_beyond(self, expiry: Expiry, limit: int) -> bool:
        return expiry.at - self.sent_at > limit and not expiry.rule.endswith(":never")

    def _count_expired_arrival(self, stated: Expiry, own: Expiry | None) -> TokenExpiry:
        """Count a token that has expired on arrival. From the third in a row on, a lifetime is assumed all the same."""
        before = self.previous
        # A token that is handed out until its end, with the seconds that it has left, ends with zero.
        is_at_its_end = (
            before is not None
            and not self._is_other_token(before)
            and (before.lifetime > 0 or self.sent_at < before.issued_at + _SAME_TOKEN_SECONDS)
        )
        arrivals = (before.expired_arrivals if before else 0) + (not is_at_its_end)
        if arrivals < MAX_EXPIRED_ARRIVALS:
            return TokenExpiry(stated.at, stated.rule, "expired", arrivals)
        is_own_ahead = own is not None and own.at > self.sent_at
        believed = (own if is_own_ahead else None) or self._find_known() or self._assume_unknown()
        return TokenExpiry(believed.at, believed.rule, "expired", arrivals)

    def _assume(self) -> TokenExpiry | None:
        """Return what is assumed where the response states nothing that can be used."""
        known = self._find_known()
        if known:
            return TokenExpiry(*known)
        has_default = any(rule.default is not None for rule in self.profile.response.expires)
        if has_default or self.profile.rotation.unknown_lifetime or self._is_overstated():
            return TokenExpiry(*self._assume_unknown())
        return None

    def _find_known(self) -> Expiry | None:
        """Return the shorter one of the profile's default and the lifetime of the set before, if that was stated."""
        known = [expiry for expiry in (self._find_default(), self._find_previous()) if expiry]
        return min(known, key=lambda expiry: expiry.at, default=None)

    def _find_default(self) -> Expiry | None:
        rules = tuple(rule for rule in self.profile.response.expires if rule.default is not None)
        found = compute_expiry(rules, {}, self.sent_at, self.variables, self.profile.variables)
        is_endless = found is not None and found.at - self.sent_at >= MIN_ENDLESS_SECONDS
        return None if is_endless and self.is_renewable else found

    def _find_previous(self) -> Expiry | None:
        lifetime = self.previous.credible_lifetime if self.previous else None
        if lifetime is None or lifetime >= MIN_ENDLESS_SECONDS:
            return None
        return Expiry(self.sent_at + lifetime, "previous")

    def _assume_unknown(self) -> Expiry:
        lifetime = self.profile.rotation.unknown_lifetime or UNKNOWN_LIFETIME_SECONDS
        return Expiry(self.sent_at + lifetime, "unknown")

    def _is_overstated(self) -> bool:
        return is_overstated(self.profile.response.expires, self.document, self.sent_at)


def _choose_shortest(stated: Expiry | None, own: Expiry | None, sent_at: int) -> Expiry:
    """Choose the shorter of what the response and the access token say; at least one is there.

    A JWT that seems to have expired while the response says otherwise shows a clock that is wrong.
    """
    if stated is None or own is None:
        return stated or own or Expiry(sent_at, _JWT_RULE)
    return own if sent_at < own.at < stated.at else stated
