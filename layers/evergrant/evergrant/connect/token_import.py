"""Import a grant: a pasted key, or the token set that another system held until now.

1. **Read** the operator's input (a token set: :mod:`.imported_set`). Errors never repeat any of it.
2. **Begin**: create the connection's record, or leave it as it is until the save.
3. **Save**: seal the set with the operator's own identity, which need not be able to unseal. The write is fenced by
   generation, as after a consent.
4. **Ask for publication** through the rotation queue. If that fails, the record is due within a minute anyway.

Nothing is sent to the provider.
"""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass

from ..errors import InvalidRequest
from ..oauth.client import Client
from ..oauth.issuance import describe_issuance
from ..oauth.scopes import name_granted_scope
from ..oauth.token_set import TokenSet
from ..ports import Clock, PortUnavailable, Queue, Records, Seal
from ..profiles.expiry import MAX_LIFETIME_SECONDS
from ..profiles.model import Profile
from ..record.connection import Connection, RecordFields
from ..secret import Secret
from ..settings import Settings
from ..times import parse_rfc3339
from . import operator_actions
from .account_binding import digest_account
from .grant_save import GrantSave, NewGrant
from .imported_set import GIVEN
from .links import Authorization

#: Visible ASCII without spaces: what a header carries unchanged. A slip of the hand rarely matches.
_KEY = re.compile(r"[!-~]{1,16384}")
#: Where the expiry of an imported key comes from, as the record says it: the operator, the profile, or neither.
DOCUMENTED, UNENDING = "default", "none"


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


def _is_key(text: str) -> bool:
    return _KEY.fullmatch(text) is not None


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

    def keep(
        self, authorization: Authorization, grant: str, profile: Profile, tokens: TokenSet, client: Client | None
    ) -> Connection:
        """Save the set, and ask for its publication. Returns the record after the save.

        ``client`` is the entry of its client; None for a pasted key, which has none.

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
        rule = profile.subject
        if rule is not None and rule.source == "capture":
            learned["subject"] = digest_account(current.name, rule, tokens.captured.get(rule.path))
        issuance = describe_issuance(profile, authorization, client)
        new = NewGrant(authorization, grant, profile, tokens, issuance, learned, consented=False)
        saved = grant_save.save(current, new, data_key)
        with suppress(PortUnavailable):
            self.queue.send({"connection": saved.name})
        return saved
