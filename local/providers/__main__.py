"""Runs the simulated providers as a process: ``python -m local.providers --keap-port 8081 --investsuite-port 8082``.

Prints one line of JSON when all of them answer, and stops on SIGTERM or SIGINT. Clients come from a file or from
standard input (``-``). Every user of the machine could read them in the arguments:
``{"keap": [{"client_id": "…", "client_secret": "…", "redirect_uris": ["…"]}], "wealthyhood": […]}``.
"""

import argparse
import json
import signal
import sys
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import FrameType

from local.providers.app import parse_client
from local.providers.catalogue import DIALECTS
from local.providers.provider import Provider
from local.providers.server import ProviderServer
from local.providers.state import Client


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until SIGTERM or SIGINT."""
    # Before all else, so that a signal during the start is not lost.
    stop = threading.Event()

    def on_signal(number: int, frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, on_signal)

    parser = _create_parser()
    options = vars(parser.parse_args(arguments))
    try:
        clients = _read_clients(options["clients"])
        settings = _read_settings(options["set"])
        servers = {
            name: ProviderServer(
                Provider(dialect, clients=clients.get(name, ()), settings=settings.get(name)), options[f"{name}_port"]
            )
            for name, dialect in DIALECTS.items()
        }
    except (OSError, ValueError) as error:
        parser.error(str(error))
    with ExitStack() as running:
        for server in servers.values():
            running.enter_context(server)
        print(json.dumps({name: server.urls() for name, server in servers.items()}), flush=True)
        stop.wait()


def _create_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m local.providers", description="Simulated providers on 127.0.0.1.")
    for name, dialect in DIALECTS.items():
        parser.add_argument(f"--{name}-port", type=int, default=0, metavar="PORT", help=f"for {dialect.title}; 0: any")
    parser.add_argument("--clients", metavar="FILE", help="JSON with each provider's clients; - for standard input")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="PROVIDER.SETTING=VALUE",
        help="change a setting from the start, e.g. keap.access_token_lifetime=60; may be repeated",
    )
    return parser


def _read_clients(source: str | None) -> dict[str, tuple[Client, ...]]:
    if source is None:
        return {}
    described: object = json.loads(sys.stdin.read() if source == "-" else Path(source).read_text(encoding="utf-8"))
    if not isinstance(described, dict):
        raise ValueError("the clients must be a JSON object, by provider")  # noqa: TRY004 - the file is invalid, not a type in our code
    _check_names(described)
    return {name: tuple(parse_client(client) for client in clients) for name, clients in described.items()}


def _read_settings(assignments: Sequence[str]) -> dict[str, dict[str, object]]:
    settings: dict[str, dict[str, object]] = {}
    for assignment in assignments:
        path, _, text = assignment.partition("=")
        provider, _, name = path.partition(".")
        try:
            value: object = json.loads(text)
        except ValueError:
            value = text  # a word, as in keap.dead_refresh_token=invalid_request
        settings.setdefault(provider, {})[name] = value
    _check_names(settings)
    return settings


def _check_names(by_provider: dict[str, object] | dict[str, dict[str, object]]) -> None:
    if unknown := by_provider.keys() - DIALECTS.keys():
        raise ValueError(f"unknown provider: {', '.join(sorted(unknown))}")


if __name__ == "__main__":
    main()
