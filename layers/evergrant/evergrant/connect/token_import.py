"""A grant that an operator brings by hand: a pasted key, or the token set that another system kept until now.

1. **Read** what was given, strictly, and without ever repeating any of it.
2. **Begin**: the connection's record is made, or stays as it is until the save.
3. **Save**: sealed here, by the operator's own identity, which need not be able to open it again; one write fenced by
   generation, as after a consent.
4. **Ask for publication** through the rotation queue. Should that fail, the record is due within a minute anyway.

Nothing is sent to the provider.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from ..errors import InvalidRequest
from ..oauth.token_set import TokenSet
from ..ports import Clock, PortUnavailable, Queue, Records, Seal
from ..profiles.expiry import MAX_LIFETIME_SECONDS, compute_expiry
from ..profiles.model import Profile
from ..record.connection import Connection
from ..secret import Secret
from ..settings import Settings
from ..times import parse_rfc3339
from . import operations
from .grant_save import GrantSave
from .links import Authorization

#: Visible ASCII without spaces: all that a header carries as it is, and what no slip of the hand looks like.
_KEY = re.compile(r"[!-~]{1,16384}")
#: The year 5138: what is later is no time in seconds, but in milliseconds.
_LATEST = 100_000_000_000
#: How the record calls the expiry of a pasted key: by who said it.
GIVEN, DOCUMENTED, UNENDING = "given", "default", "none"
_TEXTS = ("access_token", "refresh_token", "token_type", "scope")
_FIELDS = (*_TEXTS, "expires_at", "expires_in", "refresh_expires_at")


def parse_pasted_key(profile: Profile, key: str, now: int, expires_at: int | None = None) -> TokenSet:
    """The token set of a pasted key. It has no refresh token: nothing ever renews it.

    Parameters
    ----------
    now
        Epoch seconds. What the profile documents of such a key's life counts from here on.
    expires_at
        When it lapses, in epoch seconds, if the operator knows. A key of which nobody knows is taken to live for a
        hundred years: consumers find an ``expires_at`` in every document.

    Raises
    ------
    InvalidRequest
        It cannot be a key, or has lapsed already.
    """
    if not _KEY.fullmatch(key):
        raise InvalidRequest("What was given is no key: it is empty, too long, or holds a space or a line break.")
    documented = profile.static.lifetime if profile.static else None
    if expires_at is not None:
        ends_at, rule = require_future(expires_at, now), GIVEN
    elif documented is not None:
        ends_at, rule = now + documented, DOCUMENTED
    else:
        ends_at, rule = now + MAX_LIFETIME_SECONDS, UNENDING
    return TokenSet(
        access_token=Secret(key),
        issued_at=now,
        expires_at=ends_at,
        expiry_rule=rule,
        # The grant ends with the key, and nothing moves that date.
        refresh_expires_at=None if rule == UNENDING else ends_at,
    )


def parse_token_set(
    profile: Profile, given: Mapping[str, Any], now: int, variables: Mapping[str, str], *, proven: bool = False
) -> TokenSet:
    """A token set that another system kept until now, as JSON under the names of RFC 6749 section 5.1.

    Parameters
    ----------
    given
        ``access_token`` and, if there is one, ``refresh_token``; when the access token lapses as ``expires_at``
        (RFC 3339 or epoch seconds) or as ``expires_in`` (seconds from now on); ``refresh_expires_at``,
        ``token_type``, ``scope`` if known.
    proven
        It is refreshed at once: then nobody need know when the access token lapses.

    Raises
    ------
    InvalidRequest
        Naming the field at fault, and nothing that was given.
    """
    fields = {name: _text(given, name) for name in _TEXTS}
    if given.keys() - {*_FIELDS}:
        raise InvalidRequest("The token set has a field that is not known.", f"Known are {', '.join(_FIELDS)}.")
    access_token, refresh_token = fields["access_token"], fields["refresh_token"]
    if not _KEY.fullmatch(access_token or ""):
        raise InvalidRequest("The token set's access_token is missing, or is none.")
    if refresh_token is not None and not _KEY.fullmatch(refresh_token):
        raise InvalidRequest("The token set's refresh_token is none.", "Leave it out if there is none.")
    if refresh_token is None and proven:
        raise InvalidRequest("The token set's refresh_token is missing: there is nothing to prove it by.")
    lasts = given.get("expires_in", 0 if proven else None)
    if (said := _moment(given, "expires_at")) is not None:
        expires_at = said
    elif isinstance(lasts, int) and not isinstance(lasts, bool) and 0 <= lasts <= MAX_LIFETIME_SECONDS:
        expires_at = now + lasts
    else:
        raise InvalidRequest(
            "The token set does not say when its access token lapses.",
            "Give expires_at (2027-01-31T00:00:00Z) or expires_in (seconds from now on), or --prove.",
        )
    ends_at = _moment(given, "refresh_expires_at")
    if ends_at is not None and not now < ends_at <= now + MAX_LIFETIME_SECONDS:
        raise InvalidRequest(
            "The token set's refresh_expires_at is not ahead.", "Without a refresh token leave it out."
        )
    documented = compute_expiry(profile.response.refresh_expires, {}, now, variables) if refresh_token else None
    return TokenSet(
        access_token=Secret(access_token or ""),
        issued_at=now,
        expires_at=min(
            max(expires_at, now + 1), now + MAX_LIFETIME_SECONDS
        ),  # one that has lapsed is refreshed at once
        expiry_rule=GIVEN,
        refresh_token=Secret(refresh_token) if refresh_token else None,
        refresh_expires_at=ends_at or (documented[0] if documented else None),
        token_type=fields["token_type"] or "Bearer",
        scope=fields["scope"],
    )


def _text(given: Mapping[str, Any], name: str) -> str | None:
    value = given.get(name)
    if value is not None and (not isinstance(value, str) or len(value) > 16_384 or not value.isprintable()):
        raise InvalidRequest(f"The token set's {name} is no text that can be used.")
    return value


def _moment(given: Mapping[str, Any], name: str) -> int | None:
    """RFC 3339 or, as many libraries store it, epoch seconds."""
    value = given.get(name)
    if value is None:
        return None
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= _LATEST:
        return int(value)
    try:
        return parse_rfc3339(value)
    except (ValueError, TypeError) as error:
        raise InvalidRequest(
            f"The token set's {name} is no time that can be read.", "Write 2027-01-31T00:00:00Z, or epoch seconds."
        ) from error


def require_future(at: int, now: int) -> int:
    """``at`` (epoch seconds), if it is ahead and no mistake. Raises InvalidRequest."""
    if not now < at <= now + MAX_LIFETIME_SECONDS:
        raise InvalidRequest("The expiry is not ahead.", "Is the date right? A lapsed key cannot be connected.")
    return at


def parse_expiry(text: str) -> int:
    """RFC 3339, or a date, which means its first second in UTC, as epoch seconds. Raises InvalidRequest."""
    try:
        return parse_rfc3339(text)
    except ValueError as error:
        raise InvalidRequest(
            "The expiry is no time that can be read.", "Write 2027-01-31T00:00:00Z, or 2027-01-31."
        ) from error


@dataclass(frozen=True, slots=True)
class TokenImport:
    """Keeps a token set that was given by hand, as the connection's next generation."""

    records: Records
    seal: Seal
    queue: Queue
    clock: Clock
    settings: Settings

    def keep(self, authorization: Authorization, grant: str, profile: Profile, tokens: TokenSet) -> Connection:
        """Save it, and have it published. Returns the record as it then is.

        Raises
        ------
        LinkInvalid
            The connection was disconnected meanwhile.
        PortUnavailable
            AWS did not do what was asked: nothing is connected.
        """
        current = operations.begin(self.records, authorization, grant, self.clock)
        data_key = self.seal.prepare(current.name, current.generation + 1)
        granting = GrantSave(self.records, self.seal, self.queue, self.clock, self.settings)
        saved = granting.save(current, authorization, grant, profile, tokens, data_key, consented=False)
        with suppress(PortUnavailable):
            self.queue.send({"connection": saved.name})
        return saved
