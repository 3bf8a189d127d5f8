"""The connections of a local run as data: provider, grant, and the arguments of `evergrant connect`.

There is one for each grant of the five providers: six in all, since InvestReady has two.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from local import providers
from local.providers import Dialect


@dataclass(frozen=True)
class Connection:
    """One account at a simulated provider.

    Parameters
    ----------
    grant
        Its name in Evergrant's profile.
    host_variables, variables
        The profile's variables: those for the simulation's host and port, and the values of the others.
    client
        The stored client, if not the one with the provider's name.
    direct_read
        Whether consumers may read the token as a secret; else getter serves it.
    headers
        The headers that the provider's API requires besides the token.
    """

    provider: Dialect
    grant: str
    account: str = "main"
    host_variables: tuple[str, ...] = ("host",)
    variables: Mapping[str, str] = field(default_factory=dict)
    client: str | None = None
    direct_read: bool = True
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"{self.provider.name}/{self.account}"

    @property
    def needs_a_person(self) -> bool:
        return self.grant == "authorization_code"

    def for_account(self, account: str) -> Connection:
        """Return the same connection for another account."""
        return replace(self, account=account)

    def arguments(self, host: str) -> list[str]:
        """Return the arguments of `evergrant` that connect it to the simulation at ``host``."""
        variables = dict.fromkeys(self.host_variables, host) | dict(self.variables)
        words = ["connect", self.name]
        # A profile's first grant need not be named.
        if self.grant != next(iter(self.provider.phases)):
            words += ["--grant", self.grant]
        if self.client is not None:
            words += ["--client", self.client]
        if not self.direct_read:
            words.append("--no-direct-read")
        return words + [word for name, value in variables.items() for word in ("--var", f"{name}={value}")]


KEAP = Connection(providers.KEAP, "authorization_code", host_variables=("host", "login_host"))
INVESTREADY = Connection(providers.INVESTREADY, "authorization_code")
INVESTREADY_APPLICATION = Connection(providers.INVESTREADY, "client_credentials", "application")
MODELPORTFOLIOS = Connection(providers.MODELPORTFOLIOS, "client_credentials")
# Its tokens live for five minutes; tokens that live for less than half an hour have no secret on AWS.
INVESTSUITE = Connection(providers.INVESTSUITE, "login", direct_read=False)
WEALTHYHOOD = Connection(
    providers.WEALTHYHOOD,
    "client_credentials",
    variables={"audience": str(providers.WEALTHYHOOD.default_audience)},
    headers={"x-user-id": "user-1"},
)

CONNECTIONS = (KEAP, INVESTREADY, INVESTREADY_APPLICATION, MODELPORTFOLIOS, INVESTSUITE, WEALTHYHOOD)
