"""Names of connections, providers, accounts, and clients: one grammar for the table, secrets and policies."""

from __future__ import annotations

import re

from .errors import InvalidName

#: The longest lifetime or wait that a request may name, in seconds: three years.
MAX_REQUEST_SECONDS = 10**8
_PROVIDER = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
_ACCOUNT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@-]{0,99}")
_ARN_SUFFIX = re.compile(r".*-[A-Za-z0-9]{6}")


def split_connection(connection: object) -> tuple[str, str]:
    """Split and check ``provider/account``.

    Raises
    ------
    InvalidName
        The name is not of that form, or the account ends in a hyphen and six characters. Secrets Manager puts
        such a suffix behind every secret's ARN, so a policy for one secret would also match the other
        (AWS Secrets Manager user guide, "Permissions policy examples").
    """
    if not isinstance(connection, str) or "/" not in connection:
        raise InvalidName(
            f"{_shorten(connection)} is not the name of a connection.", "Write provider/account, such as keap/main."
        )
    provider, _, account = connection.partition("/")
    return check_provider(provider), check_account(account)


def check_provider(provider: str) -> str:
    """Return ``provider`` if it is a valid name of a provider. Raises InvalidName."""
    return _check_pattern(_PROVIDER, provider, "provider", "Use lower-case letters, digits and hyphens, at most 40.")


def check_client(client: str) -> str:
    """Return ``client`` if it is a valid name of a client, by the grammar of providers. Raises InvalidName."""
    return _check_pattern(_PROVIDER, client, "client", "Use lower-case letters, digits and hyphens, at most 40.")


def check_account(account: str) -> str:
    """Return ``account`` if it is a valid name of an account. Raises InvalidName."""
    _check_pattern(_ACCOUNT, account, "account", "Use letters, digits and any of _ . @ -, at most 100.")
    if _ARN_SUFFIX.fullmatch(account):
        raise InvalidName(
            f"The account {_shorten(account)} ends in a hyphen and six characters.",
            "ARNs of secrets end so, and a policy for another account would match this one. Choose another ending.",
        )
    return account


def _check_pattern(pattern: re.Pattern[str], name: str, kind: str, allowed: str) -> str:
    if not pattern.fullmatch(name):
        raise InvalidName(f"{_shorten(name)} is not a valid name of a {kind}.", allowed)
    return name


def _shorten(name: object) -> str:
    text = str(name)
    return repr(text if len(text) <= 60 else f"{text[:60]}…")
