"""`make local`: the whole of Evergrant on this machine, until Ctrl-C.

Writes ``.local/env``; with it, `evergrant` and every AWS tool in another terminal use the local stack.
"""

from __future__ import annotations

import shlex
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from local.connections import CONNECTIONS
from local.terminal import Steps
from local.tools import STATE, LocalRunError, end_on_signals
from local.world import World, local_world

ENVIRONMENT_FILE = STATE / "env"


def main() -> int:
    """Run the local stack; return the exit status."""
    steps = Steps(Console(highlight=False))
    try:
        with end_on_signals(), local_world(STATE / "run", steps) as world:
            write_environment(ENVIRONMENT_FILE, world.environment())
            try:
                show(steps, world)
                wait_for_signal()
            finally:
                ENVIRONMENT_FILE.unlink(missing_ok=True)
    except KeyboardInterrupt:
        steps.line("\nStopped. Nothing is left running.")
    except LocalRunError as error:
        steps.line(f"[red]✗[/] {escape(str(error))}")
        return 1
    return 0


def write_environment(path: Path, environment: Mapping[str, str]) -> None:
    """Write a file for `. .local/env`: the environment, with `evergrant` at the end of the search path."""
    lines = [f"export {name}={shlex.quote(value)}\n" for name, value in sorted(environment.items())]
    # Last, so that it hides no command of the shell's own.
    lines.append(f'export PATH="$PATH":{shlex.quote(str(Path(sys.executable).parent))}\n')
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("# Written by `make local`; valid until it stops.\n" + "".join(lines), encoding="utf-8")


def show(steps: Steps, world: World) -> None:
    """Print the addresses, and the commands to try."""
    line = steps.line
    line("")
    for name, address in (
        ("AWS", world.aws.endpoint),
        ("Evergrant's API", world.stack.api_url),
        ("Redirect URI", world.stack.redirect_uri("{provider}")),
        *((f"Simulated {server.provider.dialect.title}", server.url) for server in world.providers.values()),
        ("Logs", str(world.aws.log)),
    ):
        line(f"[bold]{name:<25}[/] {address}")
    line("\n[bold]In another terminal[/]")
    line(f"  . {shlex.quote(str(ENVIRONMENT_FILE))}")
    for connection in CONNECTIONS:
        line(f"  evergrant {escape(shlex.join(world.connect_arguments(connection)))}")
    line("  evergrant status")
    line("  evergrant get keap/main")
    line("\n[bold]Tokens that live for a minute[/], from the next one on")
    line(
        "  curl -H 'content-type: application/json' -d '{\"access_token_lifetime\": 60}' "
        f"{world.providers['keap'].url}/_control/settings"
    )
    line("\n[bold]A provider of your own[/] (write https:// in its profile; on localhost Evergrant uses plain http)")
    line("  evergrant provider add my-provider.toml")
    line("  evergrant client set my-provider --client-id …")
    line(
        f"  evergrant connect my-provider/main        [dim]register {world.stack.redirect_uri('my-provider')} there[/]"
    )
    line("\nCtrl-C stops everything and deletes all of its data.")


def wait_for_signal() -> None:
    """Sleep until a signal ends the run."""
    while True:
        signal.pause()


if __name__ == "__main__":
    sys.exit(main())
