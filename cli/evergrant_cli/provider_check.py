"""``evergrant provider check``: preview a profile before it is used. It needs no stack."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .output import Output, format_span
from .problems import CommandFailed, Problem, WrongUsage
from .run import AsJson, Var, get_run, parse_variables

if TYPE_CHECKING:
    from evergrant.profiles.model import Profile

_PHASES = "client_credentials, login, jwt_bearer, refresh or exchange"


def check(
    context: typer.Context,
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE", show_default=False, help="A profile, in TOML; or the name of one that ships, such as keap."
        ),
    ],
    var: Var = None,
    against: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            show_default=False,
            help="Send one real request, to this scheme, host and port and to the path that the profile says. "
            "Plain http is for localhost.",
        ),
    ] = None,
    phase: Annotated[
        str | None,
        typer.Option(
            metavar="PHASE",
            show_default=False,
            help=f"Which one to send: {_PHASES}. Default: the first that needs only the client.",
        ),
    ] = None,
    client: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            show_default=False,
            help="Send this client's stored credentials, if they may be sent to URL. Default: ask for them, or read "
            "them from standard input.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check a profile, and show what it would send; or try it once.

    It shows each phase's request with stand-ins in capitals for every secret, how
    consumers call the API, and when a token would be refreshed. A variable without
    a value is shown by its name. Nothing is sent and no stack is needed.

    With --against it sends one request and shows how the response is read: when
    the token expires, or how a refusal is classified, and by which rule. The
    provider's own text is never shown. Without --client standard input holds
    JSON: a client's entry as for [bold]evergrant client set[/], and what the phase
    needs besides (refresh_token; code, redirect_uri, code_verifier). [bold]The
    provider may not accept a refresh token again after this.[/]

    [bold]Examples[/]
      evergrant provider check acme.toml
      evergrant provider check acme.toml --var region=eu
      evergrant provider check acme.toml --against URL < entry.json
      evergrant provider check keap --against URL --phase refresh
    """
    from evergrant.adapters.clock import SystemClock

    from . import profile_preview, trial_request

    run = get_run(context)
    if against is None and (phase or client):
        raise WrongUsage("--phase and --client need --against.")
    profile = read_profile(file)
    variables = parse_variables(var)
    output = run.output
    if against is not None:
        target, chosen = trial_request.parse_target(against), trial_request.choose_phase(profile, phase)
        result = trial_request.send_trial_request(run, profile, chosen, target, client, variables)
        _write_result(output, profile, result)
        if "error" in result:
            raise typer.Exit(1)
        return
    now = int(SystemClock().now())
    bound = profile_preview.bind_variables(profile, variables)
    found: dict[str, Any] = {
        "provider": profile.name,
        "title": profile.title,
        "grants": list(profile.grants),
        "variables": bound,
        "phases": list(profile_preview.build_requests(profile, bound, now)),
        "consumer": profile_preview.build_consumer_view(profile, bound, now),
        "refreshing": profile_preview.compute_refresh_times(profile, bound, now),
        "advice": list(profile_preview.suggest_improvements(profile)),
    }
    if output.as_json:
        output.write_document(found)
    else:
        _write_preview(output, profile, found)


def read_profile(file: str) -> Profile:
    """Read the profile in a file, or the built-in one of this name.

    Raises
    ------
    InvalidProfile
        The profile is not valid.
    CommandFailed
        There is neither such a file nor such a provider.
    """
    from evergrant.errors import InvalidProfile
    from evergrant.profiles import built_in
    from evergrant.profiles.loader import load_profile

    path = Path(file)
    if not path.is_file():
        profile = built_in.load_built_in().get(file)
        if profile:
            return profile
        raise WrongUsage(f"There is no file {file}, and no built-in provider of that name.")
    try:
        return load_profile(path.read_text("utf-8"), path.name)
    except UnicodeDecodeError as error:
        raise InvalidProfile(f"{path.name}: it is not UTF-8.") from error
    except OSError as error:
        raise CommandFailed(Problem("file_not_read", f"{file} cannot be read: {error.strerror}.")) from error


def _write_preview(output: Output, profile: Profile, found: dict[str, Any]) -> None:
    output.write(f"{profile.name} is valid: {profile.title}, with the grant {' or '.join(profile.grants)}.", "green")
    open_ones = [name for name, value in found["variables"].items() if value == name.upper()]
    if open_ones:
        output.write(f"Shown by name, for want of a value: {', '.join(open_ones)}. Give --var NAME=VALUE.", "yellow")
    for request in found["phases"]:
        output.write()
        output.write(_format_title(request), "bold")
        _write_request(output, request)
    _write_consumer(output, found["consumer"])
    times = found["refreshing"]
    if times:
        demand = ", if a consumer asks for it" if times["refresh"] == "on_demand" else ""
        output.write()
        output.write(
            f"A token that lives for {format_span(times['lifetime'])} would be replaced after "
            f"{format_span(times['refreshed_after'])}, {format_span(times['before_expiry'])} before it expires{demand}."
        )
    if found["advice"]:
        output.write()
        output.write("Suggestions:", "yellow")
        for text in found["advice"]:
            output.write(f"  - {text}")


def _write_consumer(output: Output, consumer: dict[str, Any]) -> None:
    output.write()
    output.write("Consumers send", "bold")
    _write_headers(output, consumer["headers"])
    pasted = consumer["pasted_key_headers"]
    if pasted and pasted != consumer["headers"]:
        output.write("  or, with a pasted key:")
        _write_headers(output, pasted)
    for name in consumer["required_headers"]:
        output.write(f"  {name}: (each call adds its own)")
    statuses = " or ".join(map(str, consumer["reject_statuses"]))
    output.write(f"  The API rejects a token with status {statuses}.")


def _write_headers(output: Output, headers: dict[str, str]) -> None:
    for name, value in headers.items():
        output.write(f"  {name}: {value}")


def _format_title(request: dict[str, Any]) -> str:
    if request.get("in_browser"):
        return "authorize: a browser is sent to"
    phase = str(request["phase"]).replace("_", " ")
    credentials = request.get("credentials")
    return f"{phase} with {' and '.join(credentials)}" if credentials else phase


def _write_request(output: Output, request: dict[str, Any]) -> None:
    output.write(f"  {request['method']} {request['url']}")
    _write_headers(output, request["headers"])
    if request["body"]:
        output.write()
        output.write(f"  {request['body']}")
    for name, value in request.get("assertion", {}).items():
        output.write(f"  signed: {name} = {value}", "dim")


def _write_result(output: Output, profile: Profile, result: dict[str, Any]) -> None:
    if output.as_json:
        output.write_document({"provider": profile.name, **result})
        return
    output.write(f"Sent, for {result['phase'].replace('_', ' ')}:")
    _write_request(output, result["request"])
    output.write()
    response, error = result["response"], result.get("error")
    if error is None:
        output.write(f"Granted ({response['status']}). The response is read as:", "green")
        output.write_facts(_list_facts(response))
        return
    output.write_facts(
        [
            ("status", str(response["status"])),
            ("code", response.get("code") or ""),
            ("classified as", response.get("kind", "")),
            ("by the rule", response.get("rule") or ("none" if "kind" in response else "")),
            ("wait", f"{response['retry_after']} s" if response.get("retry_after") else ""),
            ("in doubt", "the provider may have acted on the request" if response.get("in_doubt") else ""),
            ("fields in it", _join_names(response.get("fields", []), response.get("other_fields", 0))),
        ]
    )
    output.write_problem(Problem.from_error(error))


def _list_facts(response: dict[str, Any]) -> list[tuple[str, str]]:
    is_new = {True: "a new one", False: "the one that was sent", None: ""}[response["refresh_token_is_new"]]
    lifetime = format_span(response["lifetime"])
    return [
        ("access token", response["access_token"]),
        ("token type", response["token_type"]),
        ("expires", f"{response['expires_at']}, after {lifetime}, by the rule {response['expiry_rule']}"),
        (
            "in doubt",
            f"what the response states is not followed ({doubt})" if (doubt := response["expiry_doubt"]) else "",
        ),
        ("refreshed", f"{response['refreshed_at']}, about"),
        ("refresh token", f"{is_new}: {response['refresh_token']}" if is_new else "none"),
        ("it expires", response["refresh_expires_at"] or ("not known" if is_new else "")),
        ("scopes", _join_names(response["scopes"], response["other_scopes"])),
        ("captured", ", ".join(f"{name} ({value})" for name, value in response["captured"].items())),
    ]


def _join_names(named: list[str], others: int) -> str:
    return ", ".join([*named, *([f"{others} of other names"] if others else [])])
