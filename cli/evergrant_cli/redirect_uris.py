"""The redirect URIs of a client, one for each provider that uses it: what is to be registered, to the letter."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from evergrant.oauth.client import Client
    from evergrant.record.connection import Connection

    from .deployment import Deployment

#: Before each redirect URI, wherever one is shown.
LABEL = "register exactly this"


def list_redirect_uris(deployment: Deployment, client: Client, records: Iterable[Connection]) -> dict[str, str]:
    """List the redirect URIs of a client by provider: that of its own name, and those of its connections.

    A provider at which no person authorizes has none.
    """
    from evergrant.oauth.redirect_uris import build_redirect_uri
    from evergrant.record.status import Status

    users = {
        record.name.partition("/")[0]
        for record in records
        if record.client == client.name
        and record.grant == "authorization_code"
        and record.status is not Status.DISCONNECTED
    }
    if has_consent_page(deployment, client.name):
        users.add(client.name)
    api_url = deployment.api_url
    return {name: build_redirect_uri(api_url, client.redirect_path, name) for name in sorted(users)}


def find_redirect_uri(deployment: Deployment, client: str, provider: str, before: Connection | None = None) -> str:
    """Find the redirect URI of a client at a provider. One that is not stored yet gets that of a new client.

    Parameters
    ----------
    before
        The connection as it is. An operator who may not read clients goes by it; callback checks the redirect URI.
    """
    from botocore.exceptions import ClientError

    from evergrant.adapters.aws.sdk import read_error_code
    from evergrant.errors import InvalidClient, UnknownClient
    from evergrant.oauth.redirect_uris import OWN_PATH, SHARED_PATH, build_redirect_uri, read_own_provider
    from evergrant.ports import PortUnavailable

    path = deployment.redirect_path
    try:
        path = deployment.vault.client(client).redirect_path
    except (UnknownClient, InvalidClient):
        pass
    except PortUnavailable as error:
        if not (isinstance(error.__cause__, ClientError) and "AccessDenied" in read_error_code(error.__cause__)):
            raise
        if before is not None and before.client == client and before.redirect_uri:
            path = OWN_PATH if read_own_provider(before.redirect_uri) else SHARED_PATH
    return build_redirect_uri(deployment.api_url, path, provider)


def has_consent_page(deployment: Deployment, provider: str) -> bool:
    """Whether there is a provider of this name at which a person authorizes."""
    from evergrant.errors import UnknownProfile

    try:
        return deployment.profiles.load_named(provider).authorize is not None
    except UnknownProfile:
        return False
