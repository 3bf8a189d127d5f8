"""``evergrant``: the verbs, the global options, and how every failure is reported."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from . import clients, connect, connections, disconnect, hold, providers, reparse, status, token_import, tokens
from .doctor.command import doctor
from .problems import WrongUsage, explain
from .run import Run, get_run
from .usage import Verb, Verbs

_GLOBAL = ("--stack", "--region", "--profile")


class Root(Verbs):
    """Accepts the global options anywhere, as the AWS CLI does, and explains expected failures."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, move_global_options(args))

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise typer.Exit(130) from None
        except typer.Abort as aborted:
            # A prompt raises this for Ctrl-C and for the end of the input; only Ctrl-C is handled here.
            if not isinstance(aborted.__context__, KeyboardInterrupt):
                raise
            typer.echo(err=True)  # end the line that holds the ^C
            raise typer.Exit(130) from None
        except Exception as error:
            problem = explain(error)
            if problem is None:
                raise
            get_run(ctx).output.write_problem(problem)
            raise typer.Exit(2 if isinstance(error, WrongUsage) else 1) from error


def move_global_options(args: Sequence[str]) -> list[str]:
    """Move the global options before the verb. What follows ``--`` stays."""
    front: list[str] = []
    back: list[str] = []
    rest = iter(args)
    for arg in rest:
        if arg == "--":
            back += [arg, *rest]
        elif arg in _GLOBAL:
            front += [arg, *(value for value in [next(rest, None)] if value is not None)]
        elif arg.startswith(tuple(f"{name}=" for name in _GLOBAL)):
            front.append(arg)
        else:
            back.append(arg)
    return front + back


app = typer.Typer(
    cls=Root,
    no_args_is_help=True,
    rich_markup_mode="rich",
    # A traceback with local variables would show secrets.
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from evergrant import __version__

        typer.echo(f"evergrant {__version__}")
        raise typer.Exit


@app.callback(
    epilog="Exit status: 0 done, 1 failed, 2 wrong usage, 3 ([bold]status[/], [bold]doctor[/]) something needs action, "
    "4 ([bold]doctor[/]) a check could not look."
)
def root(
    context: typer.Context,
    stack: Annotated[
        str,
        typer.Option(metavar="NAME", envvar="EVERGRANT_STACK", help="Name of the deployed CloudFormation stack."),
    ] = "evergrant",
    region: Annotated[
        str | None,
        typer.Option(metavar="REGION", show_default=False, help="AWS Region, as for the AWS CLI (else AWS_REGION …)."),
    ] = None,
    profile: Annotated[
        str | None,
        typer.Option(metavar="NAME", show_default=False, help="AWS profile, as for the AWS CLI (else AWS_PROFILE …)."),
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Keep OAuth grants alive on AWS: connect an account once, read a valid access token for ever.

    [bold]First steps[/], once the stack is deployed:

      evergrant provider show keap             what to register at the provider
      evergrant client set keap                its client id and secret
      evergrant connect keap/main              connect an account
      evergrant status                         is anything about to break?

    It acts under your own AWS identity, on the stack of that name.
    """
    context.obj = Run(stack, region, profile)


app.command("status", cls=Verb, rich_help_panel="Every day")(status.status)
app.command("connect", cls=Verb, rich_help_panel="Every day")(connect.connect)
app.command("get", cls=Verb, rich_help_panel="Every day")(tokens.get)
app.command("rotate", cls=Verb, rich_help_panel="Every day")(tokens.rotate)
app.command("pause", cls=Verb, rich_help_panel="Now and then")(connections.pause)
app.command("resume", cls=Verb, rich_help_panel="Now and then")(connections.resume)
app.command("disconnect", cls=Verb, rich_help_panel="Now and then")(disconnect.disconnect)
app.command("reparse", cls=Verb, rich_help_panel="Now and then")(reparse.reparse)
app.command("doctor", cls=Verb, rich_help_panel="Now and then")(doctor)
app.command("hold", cls=Verb, rich_help_panel="In an emergency")(hold.hold)
app.command("release", cls=Verb, rich_help_panel="In an emergency")(hold.release)
app.command("import", cls=Verb, rich_help_panel="Setting up")(token_import.import_token_set)
app.add_typer(providers.app, name="provider", rich_help_panel="Setting up")
app.add_typer(clients.app, name="client", rich_help_panel="Setting up")


def main() -> None:
    """The entry point."""
    app(prog_name="evergrant")
