"""Make the names of the secrets in Secrets Manager. The template's policies match these forms."""

from __future__ import annotations


def token_secret_name(prefix: str, connection: str) -> str:
    """Return the name of the secret that holds a connection's token document."""
    return f"{prefix}/tokens/{connection}"


def client_secret_name(prefix: str, client: str) -> str:
    """Return the name of the secret that holds a client's entry."""
    return f"{prefix}/clients/{client}"
