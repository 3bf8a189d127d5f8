"""One run of the command: its global options, and the options that several verbs share."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, cast

import typer

from .output import Output
from .problems import WrongUsage

if TYPE_CHECKING:
    from .deployment import Deployment


@dataclass
class Run:
    """One run, kept in the context's ``obj``. It imports boto3 only when the deployment is used."""

    stack: str
    region: str | None = None
    profile: str | None = None
    output: Output = field(default_factory=Output)

    @cached_property
    def deployment(self) -> Deployment:
        from .deployment import Deployment, open_session

        open_session(self.region, self.profile)
        return Deployment(self.stack)

    @property
    def now(self) -> int:
        return int(self.deployment.clock.now())


def get_run(context: typer.Context) -> Run:
    return cast(Run, context.find_root().obj)


def _set_json(context: typer.Context, value: bool) -> bool:
    get_run(context).output.as_json = value
    return value


def is_interactive() -> bool:
    """Whether the command runs at a terminal, where it may ask questions."""
    return sys.stdin.isatty()


def parse_variables(given: list[str] | None) -> dict[str, str]:
    """Parse the values of ``--var``, as :func:`parse_pairs` does."""
    return parse_pairs(given, "--var")


def parse_pairs(given: list[str] | None, option: str) -> dict[str, str]:
    """Parse ``["host=api.example.com"]`` to a mapping. A value may contain equals signs."""
    pairs = {}
    for pair in given or []:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise WrongUsage(f"{pair!r} is no name with a value; write {option} name=value.")
        pairs[name] = value
    return pairs


AsJson = Annotated[bool, typer.Option("--json", callback=_set_json, help="One JSON document on standard output.")]
Name = Annotated[str, typer.Argument(metavar="PROVIDER/ACCOUNT", show_default=False, help="Such as keap/main.")]
Var = Annotated[
    list[str] | None,
    typer.Option("--var", metavar="NAME=VALUE", show_default=False, help="A variable of the profile; repeat it."),
]
