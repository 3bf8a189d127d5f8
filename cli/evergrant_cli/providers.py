"""``evergrant provider``: the profiles that connections can be made with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .problems import explain
from .run import AsJson, Run, run_of
from .usage import Verb, Verbs

if TYPE_CHECKING:
    from evergrant.profile import Profile

app = typer.Typer(cls=Verbs, no_args_is_help=True, help="The providers that accounts can be connected at.")

_ProviderName = Annotated[str, typer.Argument(metavar="NAME", show_default=False, help="Such as keap.")]


@app.command("list", cls=Verb)
def list_providers(context: typer.Context, as_json: AsJson = False) -> None:
    """List the providers that ship with Evergrant, and those added to the stack.

    [bold]Example[/]
      evergrant provider list
    """
    from evergrant import catalogue

    run = run_of(context)
    profiles = list(catalogue.built_in().values())
    try:
        profiles += sorted(run.deployment.profiles.added(), key=lambda profile: profile.name)
    except Exception as error:
        problem = explain(error)
        if problem is None:
            raise
        # What ships is worth listing even before anything is deployed.
        run.output.aside(f"Providers added to the stack are not listed. {problem.message}", "yellow")
    if run.output.as_json:
        run.output.document({"providers": [_summary(profile) for profile in profiles]})
        return
    run.output.table(
        ("provider", "title", "grants", "from"),
        [
            (profile.name, profile.title, ", ".join(profile.grants), "Evergrant" if _ships(profile) else "this stack")
            for profile in profiles
        ],
    )


@app.command("show", cls=Verb)
def show(context: typer.Context, name: _ProviderName, as_json: AsJson = False) -> None:
    """Show a provider's grants and variables, and what to register there.

    [bold]Example[/]
      evergrant provider show keap
    """
    import msgspec

    from evergrant import catalogue
    from evergrant.profile import content_hash

    run = run_of(context)
    profile = catalogue.built_in().get(name) or run.deployment.profiles.named(name)
    redirect_uri, missing = _redirect_uri(run, profile)
    if run.output.as_json:
        run.output.document(
            {
                **_summary(profile),
                "redirect_uri": redirect_uri,
                "content_hash": content_hash(profile),
                "profile": msgspec.to_builtins(profile),
            }
        )
        return
    run.output.facts(list(_facts(profile, redirect_uri or missing)))
    if profile.variables:
        run.output.line()
        run.output.line("Variables, given as --var NAME=VALUE:")
    for key, variable in profile.variables.items():
        run.output.line()
        run.output.line(f"  {key}: {variable.describe}" if variable.describe else f"  {key}")
        run.output.line(f"    default     {'(needed)' if variable.default is None else variable.default}")
        run.output.line(f"    must match  {variable.pattern}")
    for page in profile.documentation:
        run.output.line()
        run.output.line(f"From {page.url}, read {page.read}.", "dim")


@app.command("add", cls=Verb)
def add(
    context: typer.Context,
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            exists=True,
            dir_okay=False,
            readable=True,
            show_default=False,
            help="A profile, in TOML.",
        ),
    ],
    as_json: AsJson = False,
) -> None:
    """Check a profile of your own, and add it to the stack or replace it there.

    Connections keep the profile they were made with until they are connected
    again.

    [bold]Example[/]
      evergrant provider add acme.toml
    """
    from evergrant.errors import InvalidProfile
    from evergrant.profile_file import load

    run = run_of(context)
    try:
        text = file.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidProfile(f"{file.name}: it is not UTF-8.") from error
    profile = load(text, file.name)
    before = _known(run, profile.name)
    content_hash = run.deployment.profiles.add(profile)
    change = "added" if before is None else "unchanged" if before == profile else "replaced"
    redirect_uri, _ = _redirect_uri(run, profile)
    if run.output.as_json:
        run.output.document(
            {**_summary(profile), "change": change, "redirect_uri": redirect_uri, "content_hash": content_hash}
        )
        return
    output = run.output
    if change == "unchanged":
        output.line(f"{profile.name} is unchanged: it is this profile already.", "green")
        return
    if change == "replaced":
        output.line(
            f"{profile.name} is replaced. Connections keep the old one until they are connected again:", "green"
        )
        output.line(f"  evergrant connect {profile.name}/ACCOUNT")
        return
    output.line(f"{profile.title} is added as {profile.name}. Next:", "green")
    if redirect_uri:
        output.line(f"  Register this redirect URI there:  {redirect_uri}")
    output.line(f"  Store what you registered:         evergrant client set {profile.name}")
    output.line(f"  Connect an account:                evergrant connect {profile.name}/main")


def _known(run: Run, name: str) -> Profile | None:
    from evergrant.errors import UnknownProfile

    try:
        return run.deployment.profiles.named(name)
    except UnknownProfile:
        return None


def _summary(profile: Profile) -> dict[str, Any]:
    return {
        "provider": profile.name,
        "title": profile.title,
        "grants": list(profile.grants),
        "built_in": _ships(profile),
        "variables": {
            name: {"pattern": variable.pattern, "default": variable.default, "describe": variable.describe}
            for name, variable in profile.variables.items()
        },
    }


def _ships(profile: Profile) -> bool:
    from evergrant import catalogue

    return catalogue.built_in().get(profile.name) == profile


def _redirect_uri(run: Run, profile: Profile) -> tuple[str | None, str]:
    """The redirect URI to register, or None and why there is none to show."""
    if profile.authorize is None:
        return None, ""
    try:
        return run.deployment.redirect_uri, ""
    except Exception as error:
        problem = explain(error)
        if problem is None:
            raise
        return None, f"known once the stack is deployed ({problem.message})"


def _facts(profile: Profile, redirect_uri: str) -> Iterator[tuple[str, str]]:
    from evergrant.phases import REQUESTS

    yield "provider", f"{profile.name}: {profile.title}"
    yield "grants", ", ".join(profile.grants)
    yield "register redirect URI", redirect_uri
    if profile.authorize:
        yield "consent page", profile.authorize.url
        yield "scopes", " ".join(profile.authorize.scopes)
    for phase in REQUESTS:
        request = getattr(profile, phase)
        if request:
            yield phase.replace("_", " "), f"{request.method} {request.url}, client by {request.client_auth}"
    if profile.static:
        yield "pasted key", profile.static.describe
    yield "refresh token", "" if profile.authorize is None else "changes" if profile.rotation.rotates else "stays"
    yield "consumers send", ", ".join(profile.consumer.headers)
    yield "each call adds", ", ".join(profile.consumer.required_headers)
