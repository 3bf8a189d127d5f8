"""Where the torture takes place: the deployed stack behind a proxy, two providers behind theirs, and connections.

Both providers speak Keap's dialect and revoke a grant when a spent refresh token is shown. ``keap`` is as strict as the
real one. ``lenient`` takes a spent refresh token again for a while, as several real ones do, and its profile says so.
Functions reach AWS and the token endpoints through the proxies; whoever observes, directly.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from importlib import resources
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx

from local import browser
from local.aws import LocalAws, local_aws
from local.deploy import STACK, Stack, build, deploy
from local.providers import KEAP, Client, Dialect, Provider, ProviderServer
from local.terminal import Steps
from local.tools import ROOT, LocalRunError, clean_environment
from local.torture.plan import Plan
from local.torture.proxy import Proxy

SHORTEST_LEASE = 30
"""Seconds; the least that the template allows."""

GRACE = 120
"""Seconds for which the lenient provider takes a spent refresh token again: time for a lease to run out, and more."""

ROTATORS = 4
"""How many rotators work off the queue at once."""

FUNCTIONS = ("Scheduler", "Rotator", "Callback", "Getter")

REFUSED = "keap/refused"
"""The connection whose token is refused in the end, and has to be of some age by then. Its token lives for a day."""

Command = tuple[Sequence[str], str]
"""The arguments and the standard input of the `evergrant` command."""

_LINKERS = 2


@dataclass(frozen=True)
class Party:
    """A provider with the proxy before its token endpoint."""

    server: ProviderServer
    proxy: Proxy
    grace: int
    client: Client
    """Evergrant, as it knows it."""

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
    """The connections that are tortured."""

    environment: Mapping[str, str] = field(repr=False)

    def party(self, connection: str) -> Party:
        """The provider of a connection."""
        return self.parties[connection.partition("/")[0]]

    def function(self, name: str) -> str:
        """A function's ARN."""
        return self.stack.outputs[f"{name}FunctionArn"]

    def connect_all(self, connections: Sequence[str]) -> Iterator[str]:
        """Walk through the consent page, as each account's owner, a few side by side; gives each name when it is done.

        A connection that is there gets another grant.

        Raises
        ------
        LocalRunError, BrowsingError
            One could not be connected.
        """
        if not connections:
            return
        answers = self.run_all(
            [(("connect", name, *self._variables(name), "--no-wait", "--json"), "") for name in connections]
        )
        links = [str(json.loads(answer)["link"]) for answer in answers]
        with ThreadPoolExecutor(_LINKERS) as pool:
            for name, _ in zip(connections, pool.map(browser.connect, links), strict=True):
                yield name

    def taking_over(self, connection: str, *, prove: bool) -> Command:
        """The command that takes over a grant which the account's owner gave to another system.

        It is much quicker than a walk through the consent page. With ``prove`` it is refreshed once, at once.
        """
        party = self.party(connection)
        client, redirect_uri = party.client, self.stack.callback_url
        asked = {"response_type": "code", "client_id": client.client_id, "redirect_uri": redirect_uri}
        allowed = party.provider.decide(urlencode(asked | {"scope": "full", "state": "-"}), "allow")
        (code,) = parse_qs(urlsplit(allowed.headers["location"]).query)["code"]
        fields = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri,
            "client_id": client.client_id,
            "client_secret": client.client_secret,
        }
        answer = httpx.post(str(party.server.urls()["token_url"]), data=fields, trust_env=False).raise_for_status()
        return ("import", connection, *self._variables(connection), *(("--prove",) if prove else ())), answer.text

    def _variables(self, connection: str) -> list[str]:
        party = self.party(connection)
        variables = {"host": party.proxy.host, "login_host": party.server.host}
        return [word for name, value in variables.items() for word in ("--var", f"{name}={value}")]

    def run_all(self, commands: Sequence[Command]) -> Iterator[str]:
        """Run the `evergrant` command with each of these; gives what each printed when it is done.

        Raises
        ------
        LocalRunError
            One failed; the message carries what it said.
        """
        given = [{"arguments": list(arguments), "given": text} for arguments, text in commands]
        with (
            tempfile.TemporaryFile("w+", encoding="utf-8") as said,
            subprocess.Popen(
                [sys.executable, "-m", "local.torture.commands"],
                env=clean_environment() | dict(self.environment) | {"PYTHONPATH": os.pathsep.join(sys.path)},
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=said,
                text=True,
            ) as process,
        ):
            if process.stdin is not None and process.stdout is not None:
                process.stdin.write(json.dumps(given))
                process.stdin.close()
                yield from map(json.loads, process.stdout)
            if process.wait():
                said.seek(0)
                raise LocalRunError(f"A command of `evergrant` failed ({process.returncode}):\n{said.read().strip()}")


@contextmanager
def arena(home: Path, steps: Steps, plan: Plan) -> Iterator[Arena]:
    """Start everything, connect the plan's accounts, and stop it all when the block ends.

    The tokens of :data:`REFUSED` live for as long as the provider's do; all others as the plan says.
    """
    home.mkdir(parents=True, exist_ok=True)
    with steps.step("Building the stack for this machine") as say:
        template = build(home, say)
    with local_aws(home, in_memory=True) as aws, ExitStack() as running:
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
                "LeaseSeconds": max(plan.lease, SHORTEST_LEASE),
            }
            stack = deploy(aws, template, home, say, parameters)
            _redirect(aws, stack, proxy, plan)
        half = plan.connections // 2
        names = tuple(f"{party}/{number}" for number in range(half) for party in parties)
        environment = aws.environment() | {"EVERGRANT_STACK": STACK, "EVERGRANT_API_URL": stack.api_url}
        place = Arena(aws, stack, proxy, parties, names, environment)
        with steps.step(f"Connecting {len(names) + 1} accounts") as say:
            commands = _registering(place, home)
            commands.append(place.taking_over(REFUSED, prove=False))
            for party in parties.values():
                party.provider.change_settings({"access_token_lifetime": plan.lifetimes[0]})
            commands += [place.taking_over(name, prove=True) for name in names]
            for done, _ in enumerate(place.run_all(commands), start=1 - len(commands) + len(names)):
                say(f"{max(done, 0)} of {len(names)}")
        yield place


def _party(running: ExitStack, dialect: Dialect, grace: int) -> Party:
    settings = {"refresh_token_grace": grace}
    server = running.enter_context(ProviderServer(Provider(dialect, settings=settings, kept_requests=1_000_000)))
    client = Client(f"evergrant-at-{dialect.name}", secrets.token_hex(16))
    return Party(server, running.enter_context(Proxy(server.port)), grace, client)


def _redirect(aws: LocalAws, stack: Stack, proxy: Proxy, plan: Plan) -> None:
    """Give the functions, and nobody else, the proxy for their AWS; and what the template would not let them have."""
    functions = aws.client("lambda")
    if plan.redelivery is not None:
        aws.client("sqs").set_queue_attributes(
            QueueUrl=stack.outputs["RotationQueueUrl"], Attributes={"VisibilityTimeout": str(plan.redelivery)}
        )
    for name in FUNCTIONS:
        arn = stack.outputs[f"{name}FunctionArn"]
        variables = functions.get_function_configuration(FunctionName=arn)["Environment"]["Variables"]
        variables["AWS_ENDPOINT_URL"] = proxy.url
        if "EVERGRANT_LEASE_SECONDS" in variables:
            variables["EVERGRANT_LEASE_SECONDS"] = str(plan.lease)
        functions.update_function_configuration(FunctionName=arn, Environment={"Variables": variables})


def _registering(place: Arena, home: Path) -> list[Command]:
    """The commands for Evergrant's client at both providers, who know it then, and for the lenient one's profile."""
    profile = home / "lenient.toml"
    text = (resources.files("evergrant") / "profiles" / "catalogue" / "keap.toml").read_text(encoding="utf-8")
    text = text.replace('name = "keap"', 'name = "lenient"').replace("Keap (Infusionsoft)", "Lenient")
    text = text.replace("rotates = true", f"rotates = true\nreuse_grace = {GRACE}")
    profile.write_text(text, encoding="utf-8")
    commands: list[Command] = [(("provider", "add", str(profile)), "")]
    for party in place.parties.values():
        client = party.client
        party.provider.register(replace(client, redirect_uris=(place.stack.callback_url,)))
        arguments = ("client", "set", party.name, "--client-id", client.client_id, "--host", party.proxy.host)
        commands.append((arguments, client.client_secret))
    return commands
