"""Simulated providers: HTTP servers that are as strict as the real providers.

>>> from local.providers import KEAP, Client, Provider, ProviderServer
>>> client = Client("id", "secret", redirect_uris=("http://localhost/callback",))
>>> with ProviderServer(Provider(KEAP, clients=(client,))) as keap:
...     print(keap.url)
"""

from local.providers.catalogue import DIALECTS, INVESTREADY, INVESTSUITE, KEAP, MODELPORTFOLIOS, OPENID, WEALTHYHOOD
from local.providers.dialect import Dialect, Phase, ProtectedApi
from local.providers.provider import Provider
from local.providers.server import ProviderServer
from local.providers.settings import SettingError, Settings
from local.providers.state import Client, fingerprint

__all__ = [
    "DIALECTS",
    "INVESTREADY",
    "INVESTSUITE",
    "KEAP",
    "MODELPORTFOLIOS",
    "OPENID",
    "WEALTHYHOOD",
    "Client",
    "Dialect",
    "Phase",
    "ProtectedApi",
    "Provider",
    "ProviderServer",
    "SettingError",
    "Settings",
    "fingerprint",
]
