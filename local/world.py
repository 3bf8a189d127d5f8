"""The set-up of `make local`, `make demo` and the stack tests, for the duration of a ``with`` block.

It consists of the local AWS with the real stack deployed to it, the simulated providers in this process, and
Evergrant's client, which is registered with each provider and stored in the stack.
"""

from __future__ import annotations

import json
import secrets
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local import browser
from local.aws import LocalAws, local_aws
from local.browser import Page
from local.connections import Connection
from local.deploy import Stack, build, deploy
from local.providers import DIALECTS, Client, Provider, ProviderServer
from local.terminal import Say, Steps
from local.tools import ROOT, LocalRunError, clean_environment

MAX_COMMAND_SECONDS = 60.0


@dataclass(frozen=True)
class World:
    """A running local set-up; ``providers`` and Evergrant's ``clients`` are by the provider's name."""

    aws: LocalAws
    stack: Stack
    providers: Mapping[str, ProviderServer]
    clients: Mapping[str, Client]

    def environment(self) -> dict[str, str]:
        """Return the variables that make `evergrant`, an SDK or a tool use this set-up."""
        return self.aws.environment() | {
            "EVERGRANT_STACK": self.stack.name,
            "EVERGRANT_PREFIX": self.stack.outputs["SecretPrefix"],
            "EVERGRANT_API_URL": self.stack.api_url,
            "EVERGRANT_GETTER": self.stack.outputs["GetterFunctionArn"],
        }

    def evergrant(self, *arguments: str, given: str | None = None, statuses: tuple[int, ...] = (0,)) -> str:
        """Run the `evergrant` command, as an operator would; return its output."""
        return run_evergrant(self.environment(), arguments, given, statuses)

    def connect_arguments(self, connection: Connection) -> list[str]:
        """Return the arguments of `evergrant` that connect to a simulated provider."""
        return connection.arguments(self.providers[connection.provider.name].host)

    def connect(self, connection: Connection) -> Page | None:
        """Connect an account of a simulated provider; return the last page, if the grant needs a person.

        Raises
        ------
        LocalRunError, BrowsingError
            The connection failed.
        """
        if connection.needs_a_person:
            return browser.connect(self.link(connection))
        self.evergrant(*self.connect_arguments(connection), "--json")
        return None

    def link(self, connection: Connection) -> str:
        """Create a link for the account's owner by `evergrant connect`."""
        answer = self.evergrant(*self.connect_arguments(connection), "--no-wait", "--json")
        return str(json.loads(answer)["link"])

    def target(self, connection: Connection) -> dict[str, object]:
        """Return what a consumer needs to call the protected API of a connection's provider."""
        url = self.providers[connection.provider.name].urls()["api_url"]
        return {"connection": connection.name, "url": url, "headers": dict(connection.headers)}


@contextmanager
def local_world(
    home: Path,
    steps: Steps,
    *,
    enforce_iam: bool = False,
    settings: Mapping[str, Mapping[str, object]] | None = None,
) -> Iterator[World]:
    """Start everything, and stop it at the end of the block.

    Parameters
    ----------
    home : Path
        The run's own directory, for logs.
    settings : Mapping, optional
        Settings of the simulated providers, by provider's name; see `local.providers.Settings`.
    """
    settings = settings or {}
    home.mkdir(parents=True, exist_ok=True)
    with steps.step("Building the stack for this machine") as say:
        template = build(home, say)
    with local_aws(home, enforce_iam=enforce_iam) as aws, ExitStack() as running:
        providers = {
            name: running.enter_context(ProviderServer(Provider(dialect, settings=settings.get(name))))
            for name, dialect in DIALECTS.items()
        }
        with steps.step("Deploying it to the local AWS") as say:
            stack = deploy(aws, template, home, say)
        world = World(aws, stack, providers, {name: _create_client(name, stack) for name in providers})
        with steps.step(f"Registering Evergrant with {len(providers)} simulated providers") as say:
            _register(world, say)
        yield world


def _create_client(provider: str, stack: Stack) -> Client:
    """Return Evergrant's registration at a provider."""
    dialect = DIALECTS[provider]
    logs_in = dialect.protocol == "login"
    return Client(
        client_id=f"evergrant-at-{provider}",
        client_secret=secrets.token_hex(16),
        redirect_uris=(stack.redirect_uri(provider),),
        audience=dialect.default_audience,
        username=f"person-at-{provider}" if logs_in else None,
        password=secrets.token_hex(16) if logs_in else None,
    )


def _register(world: World, say: Say) -> None:
    for name, server in world.providers.items():
        say(name)
        client = world.clients[name]
        server.provider.register(client)
        entry = _build_entry(server, client) | {"hosts": [server.host]}
        world.evergrant("client", "set", name, given=json.dumps(entry))


def _build_entry(server: ProviderServer, client: Client) -> dict[str, Any]:
    """The client as `evergrant client set` reads it."""
    login = server.provider.dialect.phases.get("login")
    if login is not None:
        fields = zip(login.client_fields, (client.client_id, client.client_secret), strict=True)
        return {"credentials": dict(fields)}
    return {"client_id": client.client_id, "client_secrets": [client.client_secret]}


def run_evergrant(
    environment: Mapping[str, str],
    arguments: tuple[str, ...],
    given: str | None = None,
    statuses: tuple[int, ...] = (0,),
) -> str:
    """Run the `evergrant` command with ``given`` on its standard input and return its standard output.

    Raises
    ------
    LocalRunError
        Its exit status is none of ``statuses``; the message contains its output.
    """
    done = subprocess.run(
        [Path(sys.executable).parent / "evergrant", *arguments],
        env=clean_environment() | dict(environment),
        cwd=ROOT,
        input=given or "",
        capture_output=True,
        text=True,
        timeout=MAX_COMMAND_SECONDS,
        check=False,
    )
    if done.returncode not in statuses:
        said = done.stderr.strip() or done.stdout.strip()
        raise LocalRunError(f"`evergrant {shlex.join(arguments)}` failed ({done.returncode}):\n{said}")
    return done.stdout
