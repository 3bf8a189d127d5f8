"""Read a token set that another system held: its fields by their usual names, then as the provider's response is read.

1. **Take** the fields of :data:`~evergrant.oauth.token_file_shapes.NAMES`, and trim what stands around a token.
2. **Date** the access token: by a moment, by a lifetime from when it was obtained, by its own ``exp``. Where nothing
   says it, a set with a refresh token is due at once.
3. **Read** the set by :func:`~evergrant.oauth.token_response.parse_token_response`, as the provider's responses are.

Errors name the field at fault under its own name, and repeat nothing that was given.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..entered_secret import trim_secret
from ..errors import InvalidRequest, UnreadableResponse
from ..http_messages import HttpResponse
from ..jwt_payload import decode_jwt_payload
from ..oauth.moments import Moment, parse_moment
from ..oauth.token_files import FoundSet, find_name
from ..oauth.token_response import is_capturable, parse_token_response
from ..oauth.token_set import TokenSet
from ..profiles.expiry import MAX_LIFETIME_SECONDS, compute_expiry, look_up
from ..profiles.imported import IMPORTED, build_import_profile
from ..profiles.model import Profile
from ..profiles.response_specs import ExpiryRule
from ..secret import Secret

#: Where the expiry of an imported token comes from, as the record says it.
GIVEN = "given"
#: Stands for the access token of a set that has none, until the first refresh. It is never served.
_NO_ACCESS_TOKEN = Secret("")
#: Stands for the lifetime of a set that has expired, while it is read.
_PLACEHOLDER_SECONDS = 60
#: Visible ASCII without spaces: what a header carries unchanged.
_TOKEN = re.compile(r"[!-~]{1,16384}")
_MAX_TEXT_CHARACTERS = 16_384
#: A field's name that can be shown, and how many are.
_FIELD_NAME = re.compile(r"[A-Za-z_][\w.-]{0,63}", re.ASCII)
_MAX_SHOWN_NAMES = 30


@dataclass(frozen=True, slots=True)
class ImportedSet:
    """A token set, and the report of its reading.

    ``title`` names the tool whose file it was, ``ignored`` the fields that were not used; ``remarks`` are sentences.
    """

    tokens: TokenSet
    title: str
    ignored: tuple[str, ...]
    remarks: tuple[str, ...]

    @property
    def has_access_token(self) -> bool:
        return self.tokens.access_token != _NO_ACCESS_TOKEN


def parse_token_set(
    profile: Profile,
    found: FoundSet,
    now: int,
    variables: Mapping[str, str],
    *,
    captured: Mapping[str, str] | None = None,
    proven: bool = False,
) -> ImportedSet:
    """Read one token set of a file.

    Parameters
    ----------
    now
        Epoch seconds.
    captured
        Values that only the callback brings, by the profile's names for them.
    proven
        The set is refreshed at once, so it needs a refresh token.

    Raises
    ------
    InvalidRequest
        It names the field at fault, and repeats nothing that was given.
    """
    reader = _Fields(found.fields)
    access_token, refresh_token = reader.read_token("access_token"), reader.read_token("refresh_token")
    if access_token is None and refresh_token is None:
        raise InvalidRequest("The token set's access_token is missing, and so is a refresh_token.")
    if refresh_token is None and proven:
        raise InvalidRequest("The token set's refresh_token is missing: there is nothing to prove it by.")
    known: dict[str, Any] = {
        "access_token": access_token or "-",
        "refresh_token": refresh_token,
        "token_type": reader.read_text("token_type"),
        "scope": reader.read_scope(),
    }
    base, lifetime = reader.read_lifetime(profile, variables, access_token, now)
    if lifetime is None and refresh_token is None:
        raise InvalidRequest(
            "The token set does not say when its access token expires.",
            "Give expires_at (2027-01-31T00:00:00Z) or expires_in (seconds from now on).",
        )
    is_expired = access_token is None or lifetime is None or base + lifetime <= now
    if is_expired and refresh_token is None:
        raise InvalidRequest("The token set's access token has expired, and it has no refresh_token.")
    sent_at = now if is_expired else base
    known["expires_in"] = lifetime if lifetime is not None and not is_expired else _PLACEHOLDER_SECONDS
    refresh_lifetime = reader.read_refresh_lifetime(base, now, has_refresh_token=refresh_token is not None)
    known["refresh_expires_in"] = None if refresh_lifetime is None else base + refresh_lifetime - sent_at
    tokens = _read(profile, found, known, sent_at, variables)
    tokens = replace(tokens, expiry_rule=GIVEN, captured=_capture(profile, found, tokens, captured or {}))
    if is_expired:
        tokens = _expire(tokens, profile, now, has_known_end=refresh_lifetime is not None)
    if access_token is None:
        tokens = replace(tokens, access_token=_NO_ACCESS_TOKEN)
    return ImportedSet(tokens, found.title, reader.list_ignored(), tuple(reader.remarks))


def _expire(tokens: TokenSet, profile: Profile, now: int, *, has_known_end: bool) -> TokenSet:
    """Return the set as one that expires now, and is older than the provider's minimum age: its refresh is due now."""
    ends_with_it = profile.rotation.refresh_token_life == "with_access_token"  # noqa: S105
    return replace(
        tokens,
        issued_at=now - 1 - profile.rotation.minimum_age,
        expires_at=now,
        refresh_expires_at=None if ends_with_it and not has_known_end else tokens.refresh_expires_at,
    )


class _Fields:
    """The fields of a set. It remembers which were used, and what was done to them."""

    def __init__(self, fields: Mapping[str, Any]) -> None:
        self._fields = fields
        self._used: set[str] = set()
        self.remarks: list[str] = []

    def _take(self, wanted: str) -> tuple[str, Any]:
        """Return a field's name in the file, and its value; None where there is none."""
        name = find_name(self._fields, wanted)
        if name is None:
            return wanted, None
        self._used.add(name)
        return name, self._fields[name]

    def read_token(self, wanted: str) -> str | None:
        name, value = self._take(wanted)
        if value is None:
            return None
        if not isinstance(value, str):
            raise InvalidRequest(f"The token set's {_show(name)} is no text.")
        token, removed = trim_secret(value)
        if removed:
            self.remarks.append(f"{_show(name)} had {removed} around it, which was removed.")
        if not _TOKEN.fullmatch(token):
            raise InvalidRequest(
                f"The token set's {_show(name)} is none: it is too long, or holds a space or a line break."
            )
        return token

    def read_text(self, wanted: str) -> str | None:
        name, value = self._take(wanted)
        if value is None:
            return None
        if not isinstance(value, str) or len(value) > _MAX_TEXT_CHARACTERS or not value.isprintable():
            raise InvalidRequest(f"The token set's {_show(name)} is no text that can be used.")
        return value.strip() or None

    def read_scope(self) -> str | None:
        name, value = self._take("scope")
        if isinstance(value, list) and all(isinstance(scope, str) for scope in value):
            self._fields = {**self._fields, name: " ".join(value)}
        return self.read_text("scope")

    def read_lifetime(
        self, profile: Profile, variables: Mapping[str, str], access_token: str | None, now: int
    ) -> tuple[int, int | None]:
        """Return from when on the access token lives (epoch seconds), and for how long; None where nothing says it."""
        moment = self._read_moment("expires_at", may_be_duration=True)
        if moment is not None:
            return now, moment.at - now
        name, value = self._take("expires_in")
        obtained = self._read_moment("obtained_at") if value is not None else None
        base = min(obtained.at, now) if obtained else now
        stated = tuple(rule for rule in profile.response.expires if rule.path is not None)
        if value is not None:
            known = compute_expiry(stated, dict(self._fields), base, variables, profile.variables)
            known = known or compute_expiry((ExpiryRule(path="expires_in"),), {"expires_in": value}, base)
            if known is None and not _is_zero_or_less(value):
                raise InvalidRequest(f"The token set's {_show(name)} is no lifetime that can be read.")
            return base, 0 if known is None else known[0] - base
        expires_at = (decode_jwt_payload(access_token) or {}).get("exp")
        if isinstance(expires_at, int) and not isinstance(expires_at, bool):
            self.remarks.append("The access token's own exp says when it expires.")
            return now, expires_at - now
        return now, None

    def read_refresh_lifetime(self, base: int, now: int, *, has_refresh_token: bool) -> int | None:
        """Return for how long the refresh token lives from ``base`` on; None where the file does not say it."""
        name, _ = self._take("refresh_expires_at")
        moment = self._read_moment("refresh_expires_at")
        if moment is not None:
            if not has_refresh_token or not now < moment.at <= now + MAX_LIFETIME_SECONDS:
                raise InvalidRequest(
                    f"The token set's {_show(name)} is not ahead.", "Without a refresh token leave it out."
                )
            return moment.at - base
        name, value = self._take("refresh_expires_in")
        if value is None or _is_zero_or_less(value):
            return None  # Keycloak writes 0 for a token without an end
        known = compute_expiry((ExpiryRule(path="x"),), {"x": value}, base)
        if known is None:
            raise InvalidRequest(f"The token set's {_show(name)} is no lifetime that can be read.")
        if known[0] <= now:
            self.remarks.append(f"The refresh token has expired, as {_show(name)} says. It is tried all the same.")
            return None
        return known[0] - base

    def _read_moment(self, wanted: str, *, may_be_duration: bool = False) -> Moment | None:
        name, value = self._take(wanted)
        if value is None:
            return None
        try:
            moment = parse_moment(value)
        except (ValueError, TypeError, OverflowError) as error:
            if may_be_duration and find_name({name: value}, "expires_in") == name:
                return None  # "expires" is a lifetime at some tools
            raise InvalidRequest(
                f"The token set's {_show(name)} is no time that can be read.",
                "Write 2027-01-31T00:00:00Z, or epoch seconds.",
            ) from error
        if moment is not None and moment.is_zoneless:
            self.remarks.append(f"{_show(name)} names no time zone, and was read as UTC.")
        return moment

    def list_ignored(self) -> tuple[str, ...]:
        """List the fields that were not used, as far as their names can be shown."""
        return _list_names(name for name in self._fields if name not in self._used)


def _read(
    profile: Profile, found: FoundSet, known: Mapping[str, Any], sent_at: int, variables: Mapping[str, str]
) -> TokenSet:
    document = found.document if isinstance(found.document, Mapping) else {}
    body = json.dumps({**document, **found.fields, IMPORTED: known}, default=str).encode()
    response = HttpResponse(200, {"content-type": "application/json"}, body)
    try:
        tokens = parse_token_response(build_import_profile(profile), response, sent_at, variables=variables)
    except UnreadableResponse as error:
        raise InvalidRequest(f"The token set cannot be used. {error.message}") from None
    if not isinstance(tokens, TokenSet):
        raise InvalidRequest("This is an error response of the provider, and no token set.")
    return tokens


def _capture(profile: Profile, found: FoundSet, tokens: TokenSet, given: Mapping[str, str]) -> dict[str, str]:
    """Return the values for consumers: those given, those of the file, and those in the provider's response.

    Raises
    ------
    InvalidRequest
        One is not the profile's, cannot be sent on, or is missing although only the callback brings it.
    """
    wanted = profile.callback.capture
    names = [*wanted, *profile.response.capture]
    patterns = {**profile.response.patterns, **profile.callback.patterns}
    for name, value in given.items():
        if name not in names:
            raise InvalidRequest(f"{profile.name} captures no {name}.", f"It captures {', '.join(names) or 'nothing'}.")
        if not is_capturable(value, patterns.get(name)):
            matching = f", or does not match {patterns[name]}" if name in patterns else ""
            raise InvalidRequest(f"The value of {name} is empty, too long, or holds a control character{matching}.")
    held = {name: str(look_up(found.fields, parameter) or "") for name, parameter in wanted.items()}
    held = {name: value for name, value in held.items() if is_capturable(value, patterns.get(name))}
    missing = [name for name in wanted if name not in given and name not in held]
    if missing:
        raise InvalidRequest(
            f"{profile.title} needs {', '.join(missing)}, which no token response holds.",
            f"Give {' '.join(f'--capture {name}=…' for name in missing)}: the value that came to the callback as "
            f"{', '.join(wanted[name] for name in missing)}.",
        )
    return {**held, **tokens.captured, **given}


def _list_names(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(name for name in names if _FIELD_NAME.fullmatch(name))[:_MAX_SHOWN_NAMES]


def _show(name: str) -> str:
    return name if _FIELD_NAME.fullmatch(name) else "field"


def _is_zero_or_less(value: Any) -> bool:
    try:
        return not isinstance(value, bool) and float(value) <= 0
    except (TypeError, ValueError, OverflowError):
        return False
