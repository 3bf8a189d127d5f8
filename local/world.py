"""Everything a local run needs, up and running for as long as a ``with`` block lasts.

The local AWS with the real stack deployed to it, the simulated providers in this process, and Evergrant's client
registered with each of them and known to the stack: what `make local`, `make demo` and the stack tests start from.
"""

from __future__ import annotations

import json
import secrets
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from local import browser
from local.aws import LocalAws, local_aws
from local.browser import Page
from local.deploy import STACK, Stack, build, deploy
from local.providers import KEAP, WEALTHYHOOD, Client, Provider, ProviderServer
from local.terminal import Steps
from local.tools import ROOT, LocalRunError, clean_environment

COMMAND_SECONDS = 60.0


@dataclass(frozen=True)
class World:
    """A running local set-up."""

    aws: LocalAws
    stack: Stack
    keap: ProviderServer
    wealthyhood: ProviderServer
    client_secrets: Mapping[str, str] = field(repr=False)

    def environment(self) -> dict[str, str]:
        """What makes `evergrant`, an SDK or a tool work with this set-up."""
        return self.aws.environment() | {
            "EVERGRANT_STACK": STACK,
            "EVERGRANT_PREFIX": self.stack.outputs["SecretPrefix"],
            "EVERGRANT_API_URL": self.stack.api_url,
            "EVERGRANT_GETTER": self.stack.outputs["GetterFunctionArn"],
        }

    def connect_arguments(self, provider: str, account: str = "main") -> list[str]:
        """The arguments with which `evergrant` connects an account of a simulated provider."""
        if provider == "keap":
            variables = {"host": self.keap.host, "login_host": self.keap.host}
        else:
            variables = {"host": self.wealthyhood.host, "audience": str(WEALTHYHOOD.default_audience)}
        given = [word for name, value in variables.items() for word in ("--var", f"{name}={value}")]
        return ["connect", f"{provider}/{account}", *given]

    def evergrant(self, *arguments: str, given: str | None = None, statuses: tuple[int, ...] = (0,)) -> str:
        """Run the `evergrant` command, as an operator would, and return what it prints."""
        return run_evergrant(self.environment(), arguments, given, statuses)

    def connect(self, provider: str, account: str = "main") -> Page | None:
        """Connect an account of a simulated provider, and return the last page of the walk if there was one.

        Raises
        ------
        LocalRunError, BrowsingError
            It could not be connected.
        """
        if provider == "keap":
            return browser.connect(self.link("keap", account))
        self.evergrant(*self.connect_arguments(provider, account), "--json")
        return None

    def link(self, provider: str, account: str = "main") -> str:
        """A link for the account's owner, as `evergrant connect` prints it."""
        answer = self.evergrant(*self.connect_arguments(provider, account), "--no-wait", "--json")
        return str(json.loads(answer)["link"])


@contextmanager
def local_world(
    home: Path,
    steps: Steps,
    *,
    enforce_iam: bool = False,
    settings: Mapping[str, Mapping[str, object]] | None = None,
) -> Iterator[World]:
    """Start everything, and stop it all when the block ends.

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
    keap = ProviderServer(Provider(KEAP, settings=settings.get("keap")))
    wealthyhood = ProviderServer(Provider(WEALTHYHOOD, settings=settings.get("wealthyhood")))
    with local_aws(home, enforce_iam=enforce_iam) as aws, keap, wealthyhood:
        with steps.step("Deploying it to the local AWS") as say:
            stack = deploy(aws, template, home, say)
        world = World(aws, stack, keap, wealthyhood, {name: secrets.token_hex(16) for name in ("keap", "wealthyhood")})
        with steps.step("Registering Evergrant with both providers"):
            _register(world)
        yield world


def _register(world: World) -> None:
    for server in (world.keap, world.wealthyhood):
        provider = server.provider
        name = provider.dialect.name
        provider.register(
            Client(
                client_id=f"evergrant-at-{name}",
                client_secret=world.client_secrets[name],
                redirect_uris=(world.stack.callback_url,),
                audience=provider.dialect.default_audience,
            )
        )
        world.evergrant(
            "client", "set", name, "--client-id", f"evergrant-at-{name}", "--host", server.host,
            given=world.client_secrets[name],
        )  # fmt: skip


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
        It ended with none of the exit ``statuses``; the message carries what it said.
    """
    done = subprocess.run(
        [Path(sys.executable).parent / "evergrant", *arguments],
        env=clean_environment() | dict(environment),
        cwd=ROOT,
        input=given or "",
        capture_output=True,
        text=True,
        timeout=COMMAND_SECONDS,
        check=False,
    )
    if done.returncode not in statuses:
        said = done.stderr.strip() or done.stdout.strip()
        raise LocalRunError(f"`evergrant {shlex.join(arguments)}` failed ({done.returncode}):\n{said}")
    return done.stdout
