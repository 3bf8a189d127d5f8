"""The settings of a simulated provider that tests and the demo may change while it runs."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Self

from local.providers.dialect import DeadRefreshToken, Dialect

_LIFETIMES = ("access_token_lifetime", "refresh_token_lifetime", "code_lifetime")
_DURATIONS = ("refresh_token_grace",)
_FLAGS = ("old_access_token_dies", "single_use_refresh_tokens", "refresh_tokens")
# OAuth refuses with a code, a log-in with a status.
_DEAD_REFRESH_TOKEN: tuple[tuple[DeadRefreshToken, ...], ...] = (("invalid_grant", "invalid_request"), (401, 403))


class SettingError(ValueError):
    """An unknown setting, or an invalid value."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Behaviour that may change at run time. Tokens that are issued already keep their lifetime.

    Parameters
    ----------
    access_token_lifetime, refresh_token_lifetime, code_lifetime
        Seconds, at least 1.
    dead_refresh_token
        The response to a refresh token that is unknown, used, expired or revoked. With OAuth always status 400:
        ``invalid_grant``, or ``invalid_request`` described as "Invalid Refresh Token"; Keap is known for both.
        With a log-in, the status itself: 401 or 403.
    old_access_token_dies
        Whether a refresh invalidates the grant's earlier access tokens. Otherwise they are valid until they expire.
    single_use_refresh_tokens
        Whether every refresh issues a new refresh token and invalidates the old one. Otherwise the refresh token stays
        the same and keeps its expiry.
    refresh_token_grace
        Seconds for which a used refresh token may be used again, as after a lost response: the tokens of the last
        response count, and the refresh token of the one before it counts as used.
    refresh_tokens
        Whether the exchange of a code issues a refresh token.
    withheld_scopes
        Scopes, separated by spaces, that are not granted although they are requested.
    id_token_claims
        Claims that replace those of ID tokens; null removes one.
    account
        The account on the consent page, and of new grants.
    """

    access_token_lifetime: int
    refresh_token_lifetime: int
    account: str
    dead_refresh_token: DeadRefreshToken
    # RFC 6749, section 4.1.2, recommends ten minutes at most; a browser needs a second.
    code_lifetime: int = 60
    old_access_token_dies: bool = False
    single_use_refresh_tokens: bool = True
    refresh_token_grace: int = 0
    refresh_tokens: bool = True
    withheld_scopes: str = ""
    id_token_claims: Mapping[str, object] = field(default_factory=dict)

    @classmethod
    def of(cls, dialect: Dialect) -> Self:
        """Return the provider's own settings."""
        return cls(
            access_token_lifetime=dialect.access_token_lifetime,
            refresh_token_lifetime=dialect.refresh_token_lifetime,
            account=dialect.default_account,
            dead_refresh_token=dialect.dead_refresh_token,
        )

    def changed(self, changes: Mapping[str, object]) -> Self:
        """Return these settings with some of them changed.

        Raises
        ------
        SettingError
            A name is unknown, or a value is not one the setting can have.
        """
        for name, value in changes.items():
            if name in _LIFETIMES:
                if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                    raise SettingError(f"{name} must be a whole number of seconds, at least 1")
            elif name in _DURATIONS:
                if not isinstance(value, int) or isinstance(value, bool) or value < 0:
                    raise SettingError(f"{name} must be a whole number of seconds")
            elif name == "dead_refresh_token":
                choices = next(group for group in _DEAD_REFRESH_TOKEN if self.dead_refresh_token in group)
                if not isinstance(value, str | int) or value not in choices:
                    raise SettingError(f"{name} must be one of {', '.join(map(str, choices))}")
            elif name in _FLAGS:
                if not isinstance(value, bool):
                    raise SettingError(f"{name} must be true or false")
            elif name == "withheld_scopes":
                if not isinstance(value, str):
                    raise SettingError(f"{name} must be a text")
            elif name == "id_token_claims":
                if not isinstance(value, Mapping):
                    raise SettingError(f"{name} must be an object")
            elif name == "account":
                if not isinstance(value, str) or not value:
                    raise SettingError(f"{name} must be a text")
            else:
                raise SettingError(f"unknown setting: {name}")
        return replace(self, **changes)  # type: ignore[arg-type]  # each value was checked above

    def as_dict(self) -> dict[str, object]:
        """Return the settings as JSON types."""
        return asdict(self)
