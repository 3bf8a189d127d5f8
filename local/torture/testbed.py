"""The testbed of the torture: the deployed stack behind a proxy, two providers behind proxies, and their connections.

Both providers speak Keap's dialect and revoke a grant when a used refresh token is sent again. ``keap`` is as strict as
the real one. ``lenient`` accepts a used refresh token again for a while, as several real ones do; its profile says so.
Functions reach AWS and the token endpoints through the proxies. The observer reaches them directly.
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

MIN_LEASE_SECONDS = 30
"""The template's minimum."""

GRACE_SECONDS = 120
"""How long the lenient provider accepts a used refresh token again: longer than a lease."""

ROTATORS = 4
"""How many rotators process the queue at once."""

FUNCTIONS = ("Scheduler", "Rotator", "Callback", "Getter")

REFUSED = "keap/refused"
"""The connection whose access token is rejected at the end, when it must have some age. Its lifetime is a day."""

Command = tuple[Sequence[str], str]
"""The arguments and the standard input of the `evergrant` command."""

_LINKERS = 2


@dataclass(frozen=True)
class Party:
    """A provider with the proxy before it."""

    server: ProviderServer
    proxy: Proxy
    grace: int
    client: Client
    """Evergrant's registration at the provider."""

    @property
    def provider(self) -> Provider:
        return self.server.provider

    @property
    def name(self) -> str:
        return self.provider.dialect.name


@dataclass(frozen=True)
class Testbed:
    """The running stack, providers and proxies."""

    aws: LocalAws
    stack: Stack
    proxy: Proxy
    parties: Mapping[str, Party]
    names: tuple[str, ...]
    """The connections that meet the faults."""

    environment: Mapping[str, str] = field(repr=False)

    def find_party(self, connection: str) -> Party:
        """Return the provider of a connection."""
        return self.parties[connection.partition("/")[0]]

    def get_function_arn(self, name: str) -> str:
        """Return a function's ARN."""
        return self.stack.outputs[f"{name}FunctionArn"]

    def connect_all(self, connections: Sequence[str]) -> Iterator[str]:
        """Authorize each connection as its account's owner, a few at once; yield each name when it is connected.

        A connection that exists gets a new grant.

        Raises
        ------
        LocalRunError, BrowsingError
            One could not be connected.
        """
        if not connections:
            return
        answers = self.run_all(
            [(("connect", name, *self._build_variables(name), "--no-wait", "--json"), "") for name in connections]
        )
        links = [str(json.loads(answer)["link"]) for answer in answers]
        with ThreadPoolExecutor(_LINKERS) as pool:
            for name, _ in zip(connections, pool.map(browser.connect, links), strict=True):
                yield name

    def build_import_command(self, connection: str, *, prove: bool) -> Command:
        """Return the command that imports a grant which the account's owner gave to another system.

        It is much faster than the consent page. With ``prove`` the command refreshes the grant at once.
        """
        party = self.find_party(connection)
        client, redirect_uri = party.client, self.stack.redirect_uri(party.name)
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
        return ("import", connection, *self._build_variables(connection), *(("--prove",) if prove else ())), answer.text

    def _build_variables(self, connection: str) -> list[str]:
        party = self.find_party(connection)
        variables = {"host": party.proxy.host, "login_host": party.server.host}
        return [word for name, value in variables.items() for word in ("--var", f"{name}={value}")]

    def run_all(self, commands: Sequence[Command]) -> Iterator[str]:
        """Run the `evergrant` command with each of the arguments; yield the output of each when it is done.

        Raises
        ------
        LocalRunError
            A command failed; the message contains its output.
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
def run_testbed(home: Path, steps: Steps, plan: Plan) -> Iterator[Testbed]:
    """Start everything, connect the plan's accounts, and stop everything at the end of the block.

    The tokens of :data:`REFUSED` have the provider's own lifetime; all others have the plan's.
    """
    home.mkdir(parents=True, exist_ok=True)
    with steps.step("Building the stack for this machine") as say:
        template = build(home, say)
    with local_aws(home, in_memory=True) as aws, ExitStack() as running:
        proxy = running.enter_context(Proxy(aws.port))
        parties = {}
        for dialect, grace in ((KEAP, 0), (replace(KEAP, name="lenient", title="Lenient"), GRACE_SECONDS)):
            parties[dialect.name] = _start_party(running, dialect, grace)
        with steps.step("Deploying it to the local AWS") as say:
            parameters = {
                "AllowLoopback": "true",
                "DirectReadMinLifetime": 0,
                "ConsumerCacheSeconds": 0,
                "RotatorConcurrency": ROTATORS,
                "LeaseSeconds": max(plan.lease, MIN_LEASE_SECONDS),
            }
            stack = deploy(aws, template, home, say, parameters)
            _redirect_functions(aws, stack, proxy, plan)
        half = plan.connections // 2
        names = tuple(f"{party}/{number}" for number in range(half) for party in parties)
        environment = aws.environment() | {"EVERGRANT_STACK": STACK, "EVERGRANT_API_URL": stack.api_url}
        testbed = Testbed(aws, stack, proxy, parties, names, environment)
        with steps.step(f"Connecting {len(names) + 1} accounts") as say:
            commands = _build_registration_commands(testbed, home)
            commands.append(testbed.build_import_command(REFUSED, prove=False))
            for party in parties.values():
                party.provider.change_settings({"access_token_lifetime": plan.lifetimes[0]})
            commands += [testbed.build_import_command(name, prove=True) for name in names]
            for done, _ in enumerate(testbed.run_all(commands), start=1 - len(commands) + len(names)):
                say(f"{max(done, 0)} of {len(names)}")
        yield testbed


def _start_party(running: ExitStack, dialect: Dialect, grace: int) -> Party:
    settings = {"refresh_token_grace": grace}
    server = running.enter_context(ProviderServer(Provider(dialect, settings=settings, kept_requests=1_000_000)))
    client = Client(f"evergrant-at-{dialect.name}", secrets.token_hex(16))
    return Party(server, running.enter_context(Proxy(server.port)), grace, client)


def _redirect_functions(aws: LocalAws, stack: Stack, proxy: Proxy, plan: Plan) -> None:
    """Set the proxy as the AWS endpoint of the functions, and the values below the template's minimum."""
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


def _build_registration_commands(testbed: Testbed, home: Path) -> list[Command]:
    """Register Evergrant at both providers; return the commands that store its clients and the lenient profile."""
    profile = home / "lenient.toml"
    text = (resources.files("evergrant") / "profiles" / "catalogue" / "keap.toml").read_text(encoding="utf-8")
    text = text.replace('name = "keap"', 'name = "lenient"').replace("Keap (Infusionsoft)", "Lenient")
    text = text.replace("rotates = true", f"rotates = true\nreuse_grace = {GRACE_SECONDS}")
    profile.write_text(text, encoding="utf-8")
    commands: list[Command] = [(("provider", "add", str(profile)), "")]
    for party in testbed.parties.values():
        client = party.client
        party.provider.register(replace(client, redirect_uris=(testbed.stack.redirect_uri(party.name),)))
        arguments = ("client", "set", party.name, "--client-id", client.client_id, "--host", party.proxy.host)
        commands.append((arguments, client.client_secret))
    return commands
