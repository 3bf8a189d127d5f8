"""Runs of the `evergrant` command, each in a process of its own that is forked from one which has imported it.

Starting Python and importing boto3 takes ten times as long as most commands do.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn, Protocol

from local.tools import ROOT, LocalRunError, clean_environment
from local.world import MAX_COMMAND_SECONDS

#: What commands call; another service is a little slower, and no more than that.
SERVICES = ("cloudformation", "dynamodb", "kms", "lambda", "secretsmanager", "sqs")
#: Names the file to which a command's calls are appended, one a line: ``dynamodb:GetItem``.
RECORD_CALLS_TO = "TEST_RECORD_CALLS_TO"


class Run(Protocol):
    """What `local.world.run_evergrant` is."""

    def __call__(
        self,
        environment: Mapping[str, str],
        arguments: tuple[str, ...],
        given: str | None = None,
        statuses: tuple[int, ...] = (0,),
    ) -> str: ...


@contextmanager
def forked_commands(home: Path) -> Iterator[Run]:
    """Runs the command as `local.world.run_evergrant` does, but for how its process comes about."""
    server, ours = socket.socketpair()
    log = home / "commands.log"
    home.mkdir(parents=True, exist_ok=True)
    with server, ours, log.open("w", encoding="utf-8") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.stack.commands", str(server.fileno())],
            env=clean_environment(),
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=[server.fileno()],
        )
        server.close()

        def run(
            environment: Mapping[str, str],
            arguments: tuple[str, ...],
            given: str | None = None,
            statuses: tuple[int, ...] = (0,),
        ) -> str:
            status, printed, said = _ask(ours, [list(arguments), dict(environment), given or ""])
            if status not in statuses:
                said = said.strip() or printed.strip()
                raise LocalRunError(f"`evergrant {shlex.join(arguments)}` failed ({status}):\n{said}")
            return printed

        try:
            yield run
        finally:
            ours.close()
            process.wait()


def _ask(server: socket.socket, command: object) -> tuple[int, str, str]:
    """Have one command run. Each has a connection of its own, so that several may run at once."""
    asking, theirs = socket.socketpair()
    with asking:
        with theirs:
            socket.send_fds(server, [b"c"], [theirs.fileno()])
        asking.settimeout(MAX_COMMAND_SECONDS)
        asking.sendall(json.dumps(command).encode())
        asking.shutdown(socket.SHUT_WR)
        with asking.makefile("rb") as answered:
            answer = answered.read()
    if not answer:
        raise LocalRunError("the process of a command ended without an answer")
    status, printed, said = json.loads(answer)
    return status, printed, said


def _load() -> None:
    """Import all that a command may need, make the tree of commands, and read the descriptions of the services."""
    import functools
    import pkgutil
    from importlib import import_module

    import botocore.loaders
    import botocore.session
    import typer.main

    import evergrant
    from evergrant_cli.main import app

    for module in pkgutil.walk_packages(evergrant.__path__, "evergrant."):
        import_module(module.name)
    typer.main.get_command = functools.cache(typer.main.get_command)
    typer.main.get_command(app)
    loader = botocore.loaders.create_loader()
    loader.load_data("endpoints")
    loader.load_data("partitions")
    for service in SERVICES:
        for description in ("service-2", "endpoint-rule-set-1"):
            loader.load_service_model(service, description)
    botocore.session.create_loader = lambda *_: loader


def _serve(server: socket.socket) -> None:
    """Fork a process for each command, until the other end is closed."""
    _load()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # none is left as a zombie
    while True:
        message, descriptors, _, _ = socket.recv_fds(server, 1, 1)
        if not message:
            return
        if os.fork() == 0:
            server.close()
            _run(socket.socket(fileno=descriptors[0]))
        os.close(descriptors[0])


def _run(asking: socket.socket) -> NoReturn:
    """Run one command in this process, with its standard streams in files, and end the process."""
    import tempfile

    from evergrant_cli.main import main

    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    with asking.makefile("rb") as asked:
        arguments, environment, given = json.loads(asked.read())
    with tempfile.TemporaryFile() as source, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        source.write(given.encode())
        source.seek(0)
        for number, file in enumerate((source, out, err)):
            os.dup2(file.fileno(), number)
        os.environ.update(environment)
        if path := environment.get(RECORD_CALLS_TO):
            _record_calls(Path(path))
        sys.argv = ["evergrant", *arguments]
        status = 0
        try:
            main()
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else int(end.code is not None)
        except BaseException:  # noqa: BLE001 - as Python itself does with an error that is not caught
            sys.excepthook(*sys.exc_info())
            status = 1
        sys.stdout.flush()
        sys.stderr.flush()
        out.seek(0)
        err.seek(0)
        asking.sendall(json.dumps([status, out.read().decode(), err.read().decode()]).encode())
    asking.close()
    os._exit(0)


def _record_calls(file: Path) -> None:
    """Append the name of each call to AWS to a file, by IAM's prefix of the service."""
    from botocore.client import BaseClient

    genuine = BaseClient._make_api_call  # type: ignore[attr-defined]  # botocore-stubs hide it

    def call(itself: Any, operation: str, params: Any) -> Any:
        with file.open("a", encoding="utf-8") as log:
            log.write(f"{itself.meta.service_model.signing_name}:{operation}\n")
        return genuine(itself, operation, params)

    BaseClient._make_api_call = call  # type: ignore[attr-defined]


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[1])))
