"""Where the torture takes place: the deployed stack behind a proxy, two providers behind theirs, and connections.

Both providers speak Keap's dialect and revoke a grant when a spent refresh token is shown. ``keap`` is as strict as the
real one. ``lenient`` takes a spent refresh token again for a while, as several real ones do, and its profile says so.
Functions reach AWS and the token endpoints through the proxies; whoever observes, directly.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from importlib import resources
from pathlib import Path

from local import browser
from local.aws import LocalAws, local_aws
from local.deploy import STACK, Stack, build, deploy
from local.providers import KEAP, Client, Dialect, Provider, ProviderServer
from local.terminal import Steps
from local.torture.proxy import Proxy
from local.world import run_evergrant

LEASE = 30
"""Seconds; the least that the template allows."""

GRACE = 120
"""Seconds for which the lenient provider takes a spent refresh token again: time for a lease to run out, and more."""

ROTATORS = 4
"""How many rotators work off the queue at once."""

FUNCTIONS = ("Scheduler", "Rotator", "Callback", "Getter")
_LINKERS = 3


@dataclass(frozen=True)
class Party:
    """A provider with the proxy before its token endpoint."""

    server: ProviderServer
    proxy: Proxy
    grace: int

    @property
    def provider(self) -> Provider:
        return self.server.provider

    @property
    def name(self) -> str:
        return self.provider.dialect.name


@dataclass(frozen=True)
class Arena:
    """Everything, up and running."""

    aws: LocalAws
    stack: Stack
    proxy: Proxy
    parties: Mapping[str, Party]
    names: tuple[str, ...]
    """The connections."""

    environment: Mapping[str, str] = field(repr=False)

    def party(self, connection: str) -> Party:
        """The provider of a connection."""
        return self.parties[connection.partition("/")[0]]

    def function(self, name: str) -> str:
        """A function's ARN."""
        return self.stack.outputs[f"{name}FunctionArn"]

    def connect(self, connection: str) -> None:
        """Walk through the consent page, as the account's owner; a connection that is there gets another grant.

        Raises
        ------
        LocalRunError, BrowsingError
            It could not be connected.
        """
        party = self.party(connection)
        variables = {"host": party.proxy.host, "login_host": party.server.host}
        given = [word for name, value in variables.items() for word in ("--var", f"{name}={value}")]
        answer = run_evergrant(self.environment, ("connect", connection, *given, "--no-wait", "--json"))
        browser.connect(str(json.loads(answer)["link"]))

    def connect_all(self, connections: tuple[str, ...]) -> Iterator[str]:
        """Connect several side by side; gives the name of each that is done."""
        with ThreadPoolExecutor(_LINKERS) as pool:
            for name, _ in zip(connections, pool.map(self.connect, connections), strict=True):
                yield name


@contextmanager
def arena(home: Path, steps: Steps, connections: int) -> Iterator[Arena]:
    """Start everything, connect ``connections`` accounts, and stop it all when the block ends."""
    home.mkdir(parents=True, exist_ok=True)
    with steps.step("Building the stack for this machine") as say:
        template = build(home, say)
    with local_aws(home) as aws, ExitStack() as running:
        proxy = running.enter_context(Proxy(aws.port))
        parties = {}
        for dialect, grace in ((KEAP, 0), (replace(KEAP, name="lenient", title="Lenient"), GRACE)):
            parties[dialect.name] = _party(running, dialect, grace)
        with steps.step("Deploying it to the local AWS") as say:
            parameters = {
                "AllowLoopback": "true",
                "DirectReadMinLifetime": 0,
                "ConsumerCacheSeconds": 0,
                "RotatorConcurrency": ROTATORS,
                "LeaseSeconds": LEASE,
            }
            stack = deploy(aws, template, home, say, parameters)
            _redirect(aws, stack, proxy)
        half = connections // 2
        names = tuple(f"{party}/{number}" for number in range(half) for party in parties)
        environment = aws.environment() | {"EVERGRANT_STACK": STACK, "EVERGRANT_API_URL": stack.api_url}
        place = Arena(aws, stack, proxy, parties, names, environment)
        with steps.step(f"Connecting {len(names)} accounts, consent page and all") as say:
            _register(place, home)
            for done, name in enumerate(place.connect_all(names), start=1):
                say(f"{done} of {len(names)}, last {name}")
        yield place


def _party(running: ExitStack, dialect: Dialect, grace: int) -> Party:
    settings = {"refresh_token_grace": grace}
    server = running.enter_context(ProviderServer(Provider(dialect, settings=settings, kept_requests=1_000_000)))
    return Party(server, running.enter_context(Proxy(server.port)), grace)


def _redirect(aws: LocalAws, stack: Stack, proxy: Proxy) -> None:
    """Give the functions, and nobody else, the proxy for their AWS."""
    functions = aws.client("lambda")
    for name in FUNCTIONS:
        arn = stack.outputs[f"{name}FunctionArn"]
        variables = functions.get_function_configuration(FunctionName=arn)["Environment"]["Variables"]
        variables["AWS_ENDPOINT_URL"] = proxy.url
        functions.update_function_configuration(FunctionName=arn, Environment={"Variables": variables})


def _register(place: Arena, home: Path) -> None:
    """Evergrant's client at both providers, and the profile of the lenient one."""
    profile = home / "lenient.toml"
    text = (resources.files("evergrant") / "profiles" / "keap.toml").read_text(encoding="utf-8")
    text = text.replace('name = "keap"', 'name = "lenient"').replace("Keap (Infusionsoft)", "Lenient")
    text = text.replace("rotates = true", f"rotates = true\nreuse_grace = {GRACE}")
    profile.write_text(text, encoding="utf-8")
    run_evergrant(place.environment, ("provider", "add", str(profile)))
    for party in place.parties.values():
        client = Client(f"evergrant-at-{party.name}", secrets.token_hex(16), (place.stack.callback_url,))
        party.provider.register(client)
        run_evergrant(
            place.environment,
            ("client", "set", party.name, "--client-id", client.client_id, "--host", party.proxy.host),
            given=client.client_secret,
        )
