"""``evergrant provider``: list, show, check and add the profiles of providers."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

import typer

from . import provider_discovery
from .problems import WrongUsage, explain
from .provider_check import check, read_profile
from .redirect_uris import LABEL, find_redirect_uri
from .run import AsJson, Run, get_run
from .usage import Verb, Verbs

if TYPE_CHECKING:
    from evergrant.profiles.model import Profile

app = typer.Typer(cls=Verbs, no_args_is_help=True, help="The providers at which accounts can be connected.")

_ProviderName = Annotated[str, typer.Argument(metavar="NAME", show_default=False, help="Such as keap.")]


@app.command("list", cls=Verb)
def list_providers(context: typer.Context, as_json: AsJson = False) -> None:
    """List the built-in providers, and those added to the stack.

    Each is shown with its grants, and with the sites and dates of its sources;
    [bold]evergrant provider show[/] names the pages.

    [bold]Example[/]
      evergrant provider list
    """
    from evergrant.profiles import built_in

    run = get_run(context)
    profiles = list(built_in.load_built_in().values())
    try:
        profiles += sorted(run.deployment.profiles.list_added(), key=lambda profile: profile.name)
    except Exception as error:
        problem = explain(error)
        if problem is None:
            raise
        # Before the stack is deployed, the built-in ones are still listed.
        run.output.write_aside(f"Providers added to the stack are not listed. {problem.message}", "yellow")
    if run.output.as_json:
        run.output.write_document({"providers": [_summarize(profile) for profile in profiles]})
        return
    run.output.write_table(
        ("provider", "grants", "read from"), [row for profile in profiles for row in _list_rows(profile)]
    )


def _list_rows(profile: Profile) -> Iterator[tuple[str, str, str]]:
    """List a provider's rows: its sources need several, to fit into 80 columns."""
    hosts = dict.fromkeys((urlsplit(page.url).hostname or "").removeprefix("www.") for page in profile.documentation)
    days = sorted({page.read for page in profile.documentation})
    below = [*([] if _is_built_in(profile) else ["of this stack"]), *(f"read {day}" for day in days)]
    names = [profile.name, *(f"  {text}" for text in below)]
    yield from zip_longest(names, profile.grants, hosts, fillvalue="")


@app.command("show", cls=Verb)
def show(context: typer.Context, name: _ProviderName, as_json: AsJson = False) -> None:
    """Show a provider's grants and variables, and what to register there.

    [bold]Example[/]
      evergrant provider show keap
    """
    import msgspec

    from evergrant.profiles import built_in
    from evergrant.profiles.model import content_hash

    run = get_run(context)
    profile = built_in.load_built_in().get(name) or run.deployment.profiles.load_named(name)
    redirect_uri, missing = _find_redirect_uri(run, profile)
    if run.output.as_json:
        run.output.write_document(
            {
                **_summarize(profile),
                "redirect_uri": redirect_uri,
                "content_hash": content_hash(profile),
                "profile": msgspec.to_builtins(profile),
            }
        )
        return
    run.output.write_facts(list(_list_facts(profile, redirect_uri or missing)))
    if profile.variables:
        run.output.write()
        run.output.write("Variables, given as --var NAME=VALUE:")
    for key, variable in profile.variables.items():
        run.output.write()
        run.output.write(f"  {key}: {variable.describe}" if variable.describe else f"  {key}")
        run.output.write(f"    default     {'(needed)' if variable.default is None else variable.default}")
        run.output.write(f"    must match  {variable.pattern}")
    for page in profile.documentation:
        run.output.write()
        run.output.write(f"From {page.url}, read {page.read}.", "dim")


app.command("check", cls=Verb)(check)


@app.command("add", cls=Verb)
def add(
    context: typer.Context,
    file: Annotated[
        Path | None,
        typer.Argument(
            metavar="FILE",
            exists=True,
            dir_okay=False,
            readable=True,
            show_default=False,
            help="A profile, in TOML.",
        ),
    ] = None,
    issuer: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            show_default=False,
            help="Instead of a file: make the profile from what this authorization server publishes.",
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(metavar="NAME", show_default=False, help="The provider's name. Default: made from its host."),
    ] = None,
    write: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            show_default=False,
            help="Write the profile to this new file instead of adding it, to review it first.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Add a provider of your own to the stack, or replace it there.

    With --issuer no file is needed: the command reads the server's metadata (RFC
    8414 and OpenID Connect Discovery), and says what they leave open. The issuer
    is the URL that the provider's documentation gives, or the part of an address
    before /.well-known/. Only public https addresses are allowed, and http on
    localhost.

    A connection keeps its profile until it is connected again.

    [bold]Examples[/]
      evergrant provider add --issuer https://login.acme.example
      evergrant provider add --issuer https://acme.example/eu --write acme.toml
      evergrant provider check acme.toml
      evergrant provider add acme.toml
    """
    run = get_run(context)
    if issuer is None:
        if file is None:
            raise WrongUsage("Give a FILE, or --issuer URL.")
        if name or write:
            raise WrongUsage("--name and --write need --issuer.")
        _store(run, read_profile(str(file)), {})
        return
    if file is not None:
        raise WrongUsage("Give a FILE or --issuer URL, not both.")
    with run.output.show_busy(f"Asking {issuer}"):
        found = provider_discovery.discover(issuer, name)
    if not run.output.as_json:
        provider_discovery.write_sources(run.output, found.metadata)
        run.output.write_facts(
            [*_list_facts(found.profile, ""), *provider_discovery.list_facts(found.metadata, found.profile)]
        )
        provider_discovery.write_notes(run.output, found.profile)
    shown = {"found": provider_discovery.build_document(found)}
    if write is None:
        _store(run, found.profile, shown)
        return
    provider_discovery.write_profile(write, found.text)
    if run.output.as_json:
        run.output.write_document({**_summarize(found.profile), "change": "written", "file": str(write), **shown})
        return
    run.output.write(f"Written to {write}. Review it, then:", "green")
    run.output.write(f"  Check what it sends:  evergrant provider check {write}")
    run.output.write(f"  Add it to the stack:  evergrant provider add {write}")


def _store(run: Run, profile: Profile, shown: dict[str, Any]) -> None:
    """Add the profile to the stack, and write what changed and what comes next. ``shown`` extends the JSON."""
    from .reparse import find_unreadable

    before = _find_known(run, profile.name)
    if before and _clear_read_dates(before) == _clear_read_dates(profile):
        profile = before
    content_hash = run.deployment.profiles.add(profile)
    change = "added" if before is None else "unchanged" if before == profile else "replaced"
    redirect_uri, _ = _find_redirect_uri(run, profile)
    waiting = find_unreadable(run.deployment.records.all(), profile.name)
    if run.output.as_json:
        result = {"change": change, "redirect_uri": redirect_uri, "content_hash": content_hash, "to_reparse": waiting}
        run.output.write_document({**_summarize(profile), **result, **shown})
        return
    _write_change(run, profile, change, redirect_uri)
    for connection in waiting:
        run.output.write(f"{connection} holds an unreadable response. To read it with this profile:", "yellow")
        run.output.write(f"  evergrant reparse {connection}")


def _write_change(run: Run, profile: Profile, change: str, redirect_uri: str | None) -> None:
    output = run.output
    if change == "unchanged":
        output.write(f"{profile.name} is unchanged: it is this profile already.", "green")
        return
    if change == "replaced":
        output.write(
            f"{profile.name} is replaced. Connections keep the old one until they are connected again:", "green"
        )
        output.write(f"  evergrant connect {profile.name}/ACCOUNT")
        return
    output.write(f"{profile.title} is added as {profile.name}. Next:", "green")
    if redirect_uri:
        output.write(f"  The redirect URI, {LABEL}:  {redirect_uri}")
    output.write(f"  Store what you registered:         evergrant client set {profile.name}")
    output.write(f"  Connect an account:                evergrant connect {profile.name}/main")


def _clear_read_dates(profile: Profile) -> Profile:
    """Clear the dates of the sources: a profile that differs only in them is the same."""
    import msgspec

    pages = tuple(msgspec.structs.replace(page, read="") for page in profile.documentation)
    return msgspec.structs.replace(profile, documentation=pages)


def _find_known(run: Run, name: str) -> Profile | None:
    from evergrant.errors import UnknownProfile

    try:
        return run.deployment.profiles.load_named(name)
    except UnknownProfile:
        return None


def _summarize(profile: Profile) -> dict[str, Any]:
    return {
        "provider": profile.name,
        "title": profile.title,
        "grants": list(profile.grants),
        "built_in": _is_built_in(profile),
        "documentation": [{"url": page.url, "read": page.read, "says": page.says} for page in profile.documentation],
        "variables": {
            name: {"pattern": variable.pattern, "default": variable.default, "describe": variable.describe}
            for name, variable in profile.variables.items()
        },
    }


def _is_built_in(profile: Profile) -> bool:
    from evergrant.profiles import built_in

    return built_in.load_built_in().get(profile.name) == profile


def _find_redirect_uri(run: Run, profile: Profile) -> tuple[str | None, str]:
    """Find the redirect URI to register, or None and the reason."""
    if profile.authorize is None:
        return None, ""
    try:
        return find_redirect_uri(run.deployment, profile.name, profile.name), ""
    except Exception as error:
        problem = explain(error)
        if problem is None:
            raise
        return None, f"known once the stack is deployed ({problem.message})"


def _list_facts(profile: Profile, redirect_uri: str) -> Iterator[tuple[str, str]]:
    from evergrant.profiles.request_specs import REQUESTS

    yield "provider", f"{profile.name}: {profile.title}"
    yield "grants", ", ".join(profile.grants)
    yield LABEL, redirect_uri
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
