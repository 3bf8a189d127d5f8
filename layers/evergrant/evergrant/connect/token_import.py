"""Import a grant: a pasted key, or the token set that another system held until now.

1. **Read** the operator's input strictly. Errors never repeat any of it.
2. **Begin**: create the connection's record, or leave it as it is until the save.
3. **Save**: seal the set with the operator's own identity, which need not be able to unseal. The write is fenced by
   generation, as after a consent.
4. **Ask for publication** through the rotation queue. If that fails, the record is due within a minute anyway.

Nothing is sent to the provider.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from ..errors import InvalidRequest
from ..oauth.scopes import name_granted_scope
from ..oauth.token_set import TokenSet
from ..ports import Clock, PortUnavailable, Queue, Records, Seal
from ..profiles.expiry import MAX_LIFETIME_SECONDS, compute_expiry
from ..profiles.model import Profile
from ..record.connection import Connection, RecordFields
from ..secret import Secret
from ..settings import Settings
from ..times import parse_rfc3339
from . import operator_actions
from .grant_save import GrantSave
from .links import Authorization

#: Visible ASCII without spaces: what a header carries unchanged. A slip of the hand rarely matches.
_KEY = re.compile(r"[!-~]{1,16384}")
_MAX_TEXT_CHARACTERS = 16_384
#: The year 5138: a greater number is a time in milliseconds.
_MAX_EPOCH_SECONDS = 100_000_000_000
#: Where the expiry of an imported key comes from, as the record says it: the operator, the profile, or neither.
GIVEN, DOCUMENTED, UNENDING = "given", "default", "none"
_TEXTS = ("access_token", "refresh_token", "token_type", "scope")
_FIELDS = (*_TEXTS, "expires_at", "expires_in", "refresh_expires_at")


def parse_pasted_key(profile: Profile, key: str, now: int, expires_at: int | None = None) -> TokenSet:
    """Build the token set of a pasted key. It has no refresh token: nothing renews it.

    Parameters
    ----------
    now
        Epoch seconds. The lifetime that the profile documents counts from here on.
    expires_at
        When the key expires, in epoch seconds, if the operator knows. A key of unknown lifetime gets a hundred years:
        consumers find an ``expires_at`` in every document.

    Raises
    ------
    InvalidRequest
        It cannot be a key, or has expired already.
    """
    if not _is_key(key):
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
    """Read a token set that another system held, as JSON under the names of RFC 6749 section 5.1.

    Parameters
    ----------
    given
        ``access_token`` and, if there is one, ``refresh_token``; when the access token expires, as ``expires_at``
        (RFC 3339 or epoch seconds) or as ``expires_in`` (seconds from now on); ``refresh_expires_at``,
        ``token_type``, ``scope`` if known.
    now
        Epoch seconds.
    proven
        The set is refreshed at once, so that the expiry of the access token need not be known.

    Raises
    ------
    InvalidRequest
        It names the field at fault, and repeats nothing that was given.
    """
    texts = {name: _read_text(given, name) for name in _TEXTS}
    if given.keys() - {*_FIELDS}:
        raise InvalidRequest("The token set has a field that is not known.", f"Known are {', '.join(_FIELDS)}.")
    access_token, refresh_token = _read_tokens(texts)
    if refresh_token is None and proven:
        raise InvalidRequest("The token set's refresh_token is missing: there is nothing to prove it by.")
    expires_at = _read_expiry(given, now, proven=proven)
    return TokenSet(
        access_token=access_token,
        issued_at=now,
        # A token that has expired already is refreshed at once.
        expires_at=min(max(expires_at, now + 1), now + MAX_LIFETIME_SECONDS),
        expiry_rule=GIVEN,
        refresh_token=refresh_token,
        refresh_expires_at=_read_refresh_expiry(profile, given, now, variables, has_refresh_token=bool(refresh_token)),
        token_type=texts["token_type"] or "Bearer",
        scope=texts["scope"],
    )


def _read_tokens(texts: Mapping[str, str | None]) -> tuple[Secret, Secret | None]:
    access_token, refresh_token = texts["access_token"], texts["refresh_token"]
    if access_token is None or not _is_key(access_token):
        raise InvalidRequest("The token set's access_token is missing, or is none.")
    if refresh_token is not None and not _is_key(refresh_token):
        raise InvalidRequest("The token set's refresh_token is none.", "Leave it out if there is none.")
    return Secret(access_token), Secret(refresh_token) if refresh_token else None


def _read_expiry(given: Mapping[str, Any], now: int, *, proven: bool) -> int:
    """Return when the access token expires: by ``expires_at``, else by ``expires_in``, else now if it is proven."""
    expires_at = _read_time(given, "expires_at")
    if expires_at is not None:
        return expires_at
    expires_in = given.get("expires_in", 0 if proven else None)
    if not _is_lifetime(expires_in):
        raise InvalidRequest(
            "The token set does not say when its access token expires.",
            "Give expires_at (2027-01-31T00:00:00Z) or expires_in (seconds from now on), or --prove.",
        )
    return now + int(expires_in)


def _read_refresh_expiry(
    profile: Profile, given: Mapping[str, Any], now: int, variables: Mapping[str, str], *, has_refresh_token: bool
) -> int | None:
    """Return when the refresh token expires: as given, else as the profile documents; None where that is unknown."""
    expires_at = _read_time(given, "refresh_expires_at")
    if expires_at is not None:
        if not _is_ahead(expires_at, now):
            raise InvalidRequest(
                "The token set's refresh_expires_at is not ahead.", "Without a refresh token leave it out."
            )
        return expires_at
    documented = compute_expiry(profile.response.refresh_expires, {}, now, variables) if has_refresh_token else None
    return documented[0] if documented else None


def _read_text(given: Mapping[str, Any], name: str) -> str | None:
    value = given.get(name)
    if value is not None and not _is_text(value):
        raise InvalidRequest(f"The token set's {name} is no text that can be used.")
    return value


def _read_time(given: Mapping[str, Any], name: str) -> int | None:
    """Read RFC 3339 or, as many libraries store it, epoch seconds."""
    value = given.get(name)
    if value is None:
        return None
    if _is_epoch_seconds(value):
        return int(value)
    try:
        return parse_rfc3339(value)
    except (ValueError, TypeError) as error:
        raise InvalidRequest(
            f"The token set's {name} is no time that can be read.", "Write 2027-01-31T00:00:00Z, or epoch seconds."
        ) from error


def _is_key(text: str) -> bool:
    return _KEY.fullmatch(text) is not None


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= _MAX_TEXT_CHARACTERS and value.isprintable()


def _is_lifetime(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_LIFETIME_SECONDS


def _is_epoch_seconds(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= _MAX_EPOCH_SECONDS


def _is_ahead(at: int, now: int) -> bool:
    """Whether a time is ahead, and near enough to be no mistake."""
    return now < at <= now + MAX_LIFETIME_SECONDS


def require_future(at: int, now: int) -> int:
    """Return ``at`` (epoch seconds), if it is ahead and near enough to be no mistake. Raises InvalidRequest."""
    if not _is_ahead(at, now):
        raise InvalidRequest("The expiry is not ahead.", "Is the date right? An expired key cannot be connected.")
    return at


def parse_expiry(text: str) -> int:
    """Read RFC 3339, or a date, which means its first second in UTC, as epoch seconds. Raises InvalidRequest."""
    try:
        return parse_rfc3339(text)
    except ValueError as error:
        raise InvalidRequest(
            "The expiry is no time that can be read.", "Write 2027-01-31T00:00:00Z, or 2027-01-31."
        ) from error


@dataclass(frozen=True, slots=True)
class TokenImport:
    """Saves an imported token set as the connection's next generation."""

    records: Records
    seal: Seal
    queue: Queue
    clock: Clock
    settings: Settings

    def keep(self, authorization: Authorization, grant: str, profile: Profile, tokens: TokenSet) -> Connection:
        """Save the set, and ask for its publication. Returns the record after the save.

        Raises
        ------
        LinkInvalid
            The connection was disconnected meanwhile.
        PortUnavailable
            A call to AWS failed: nothing is connected.
        """
        current = operator_actions.begin(self.records, authorization, grant, self.clock)
        data_key = self.seal.prepare(current.name, current.generation + 1)
        grant_save = GrantSave(self.records, self.seal, self.queue, self.clock, self.settings)
        learned: RecordFields = {"granted_scope": name_granted_scope(None, tokens.scope)}
        saved = grant_save.save(current, authorization, grant, profile, tokens, data_key, learned, consented=False)
        with suppress(PortUnavailable):
            self.queue.send({"connection": saved.name})
        return saved
