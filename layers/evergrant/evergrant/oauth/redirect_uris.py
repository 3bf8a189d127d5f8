"""The redirect URIs of a client: one of its own for each provider, or one that all providers share. Pure.

A redirect URI of its own shows which provider answered: it is registered there and nowhere else (RFC 9700 section
4.4.2.2). It is fixed when the client's entry is first stored. Entries of earlier releases share one.
"""

from __future__ import annotations

SHARED_PATH = "/callback"
OWN_PATH = "/callback/{provider}"
#: What `redirect_path` of a client's entry may be.
PATHS = (SHARED_PATH, OWN_PATH)


def build_redirect_uri(api_url: str, path: str, provider: str) -> str:
    """Build the redirect URI of a client whose entry has this path, at this provider."""
    return api_url + path.replace("{provider}", provider)


def read_own_provider(redirect_uri: str) -> str | None:
    """Return the provider whose own redirect URI this is; None for the one that all share."""
    before, _, last = redirect_uri.rpartition("/")
    return last if before.endswith(SHARED_PATH) else None
