"""Send one real request of a profile to a server that the operator names."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from .masking import build_masked_request
from .problems import CommandFailed, Problem, WrongUsage
from .profile_preview import find_scope
from .run import Run, is_interactive
from .standard_input import parse_json_object, read_standard_input
from .trial_response import interpret_response

if TYPE_CHECKING:
    from evergrant.oauth.client import Client
    from evergrant.oauth.token_request import Phase
    from evergrant.profiles.model import Profile

_TIMEOUT_SECONDS = 10.0
_PHASES = ("client_credentials", "login", "jwt_bearer", "exchange", "refresh")
#: What a phase sends besides the client's own credentials; the first of them is required.
_PHASE_INPUTS = {"refresh": ("refresh_token", "redirect_uri"), "exchange": ("code", "redirect_uri", "code_verifier")}


@dataclass(frozen=True, slots=True)
class Target:
    """The origin that replaces the one of the profile's endpoint."""

    netloc: str
    plain: bool
    loopback: bool


def parse_target(against: str) -> Target:
    """Parse ``https://host[:port]``; plain http is for loopback only, where nothing crosses a network."""
    from evergrant.profiles.metadata import is_loopback
    from evergrant.profiles.templates import is_host

    try:
        parts = urlsplit(against)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise WrongUsage("--against is no URL; write https://host or https://host:port.") from None
    if not is_host(parts.netloc) or parts.path not in ("", "/") or parts.query or parts.fragment:
        raise WrongUsage("--against takes scheme, host and port alone: the path is the profile's.")
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(host)):
        raise WrongUsage("--against must be https, or http on localhost or 127.0.0.1: credentials are sent there.")
    return Target(parts.netloc.lower(), parts.scheme == "http", is_loopback(host))


def choose_phase(profile: Profile, wanted: str | None) -> Phase:
    """Choose the phase to try: the one wanted, else the first that needs only the client."""
    offered = [phase for phase in _PHASES if getattr(profile, phase) is not None]
    if not offered:
        raise WrongUsage(f"{profile.name} has no request to try: its keys are pasted.")
    if wanted is None:
        for phase in offered:
            if phase not in _PHASE_INPUTS:
                return phase  # type: ignore[return-value]
        raise WrongUsage(
            f"No phase of {profile.name} needs only the client. Give --phase {' or '.join(offered)}, and its values on "
            "standard input."
        )
    if wanted not in offered:
        raise WrongUsage(f"{profile.name} has no [{wanted}] to try; it has {', '.join(offered)}.")
    return wanted  # type: ignore[return-value]


def send_trial_request(
    run: Run, profile: Profile, phase: Phase, target: Target, client_name: str | None, variables: Mapping[str, str]
) -> dict[str, Any]:
    """Send one request. Returns ``request``, ``response`` and, unless tokens were granted, ``error``.

    Raises
    ------
    InvalidClient, InvalidVariable, UnknownClient
        The request cannot be built.
    NotSent, LostResponse
        No response came.
    """
    from evergrant.adapters.clock import SystemClock
    from evergrant.adapters.http import GuardedHttp
    from evergrant.oauth.token_request import build_token_request

    moved = _move_endpoint(profile, phase, target)
    bound = _bind_variables(moved, phase, variables)
    client, values = _collect_inputs(run, moved, phase, client_name, target)
    now = int(SystemClock().now())
    scope = find_scope(moved, phase)
    secret = client.secrets[0] if client.secrets else None
    request = build_token_request(
        moved, phase, bound, client, secret, {**values, "scope": scope}, now=now, loopback=target.plain
    )
    shown = build_masked_request(moved, phase, bound, client, scope=scope, now=now, loopback=target.plain)
    http = GuardedHttp(allow_loopback=target.loopback)
    with run.output.show_busy(f"Asking {target.netloc}"):
        response = http.send(request, hosts=client.hosts, timeout=_TIMEOUT_SECONDS)
    return {"phase": phase, "request": shown, **interpret_response(moved, response, now, values, bound)}


def _move_endpoint(profile: Profile, phase: Phase, target: Target) -> Profile:
    """Move this phase's endpoint to the target's origin; its path stays."""
    import msgspec

    request = getattr(profile, phase)
    path = request.url.partition("://")[2].partition("/")[2]
    return msgspec.structs.replace(
        profile, **{phase: msgspec.structs.replace(request, url=f"https://{target.netloc}/{path}")}
    )


def _bind_variables(profile: Profile, phase: Phase, given: Mapping[str, str]) -> dict[str, str]:
    """Bind the variables that this request and the reading of its response need."""
    import msgspec

    from evergrant.profiles.templates import find_names

    request = msgspec.to_builtins(getattr(profile, phase))
    tables = (request.get(name, {}) for name in ("headers", "params", "claims"))
    templates = [request["url"], *(text for table in tables for text in table.values())]
    rules = (*profile.response.expires, *profile.response.refresh_expires)
    wanted = {name for template in templates for name in find_names(template)} | given.keys()
    wanted |= {rule.variable for rule in rules if rule.variable}
    known = {name: variable for name, variable in profile.variables.items() if name in wanted}
    return msgspec.structs.replace(profile, variables=known).bind(given)


def _collect_inputs(
    run: Run, profile: Profile, phase: Phase, client_name: str | None, target: Target
) -> tuple[Client, dict[str, str | None]]:
    """Collect the client and the phase's values: from the stack, the terminal or standard input."""
    from evergrant.adapters.aws.client_entry import parse_client
    from evergrant.errors import InvalidRequest
    from evergrant.oauth.client import Client

    needed = _PHASE_INPUTS.get(phase, ())
    stored = run.deployment.vault.client(client_name) if client_name else None
    entry: dict[str, Any] = {}
    if is_interactive():
        entry = _prompt_for_entry(profile, phase, with_client=stored is None)
    elif stored is None or needed:
        entry = _read_entry()
    values = {name: _take_text(entry, name) for name in needed}
    if needed and not values[needed[0]]:
        raise InvalidRequest(f"[{phase}] needs a {needed[0]}, and none was given.", _INPUT_HINT.format(name=needed[0]))
    if stored is not None:
        return stored, values
    if not entry and getattr(profile, phase).client_auth == "none":
        return Client(profile.name, None, (), (target.netloc,)), values
    return parse_client(profile.name, json.dumps({**entry, "hosts": [target.netloc]})), values


def _take_text(entry: dict[str, Any], name: str) -> str | None:
    """Remove a value from the entry and return it; None where it is missing or empty."""
    from evergrant.errors import InvalidRequest

    value = entry.pop(name, None)
    if value is not None and not isinstance(value, str):
        raise InvalidRequest(f"{name} must be a text.")
    return value or None


_INPUT_HINT = 'Give it on standard input, as {{"{name}": "…"}} beside the client\'s entry, or at a terminal.'


def _read_entry() -> dict[str, Any]:
    """Read from standard input an entry as for `evergrant client set`, and the phase's values."""
    entry = parse_json_object(read_standard_input() or "{}")
    if entry is not None:
        entry.pop("hosts", None)  # --against alone says where it is sent
        return entry
    raise CommandFailed(
        Problem(
            "invalid_client_entry",
            "Standard input holds no JSON object.",
            'Write {"client_id": "…", "client_secrets": ["…"]}, or the values of the phase.',
        )
    )


def _prompt_for_entry(profile: Profile, phase: Phase, *, with_client: bool) -> dict[str, Any]:
    """Ask at the terminal for the phase's values, and for the client unless it is stored."""
    import typer

    entry = _prompt_for_client(profile, phase) if with_client else {}
    if phase == "refresh":
        entry["refresh_token"] = _prompt_hidden("Refresh token")
    if phase == "exchange":
        entry |= {"code": _prompt_hidden("Code"), "redirect_uri": typer.prompt("Redirect URI", err=True)}
        if profile.authorize and profile.authorize.pkce:
            entry["code_verifier"] = _prompt_hidden("Code verifier")
    return entry


def _prompt_for_client(profile: Profile, phase: Phase) -> dict[str, Any]:
    import typer

    client_auth = getattr(profile, phase).client_auth
    if client_auth == "private_key_jwt":
        raise WrongUsage("A private key cannot be typed: give the client's entry on standard input, or --client.")
    entry: dict[str, Any] = {}
    if client_auth != "none" or phase not in ("login", "jwt_bearer"):
        entry["client_id"] = typer.prompt("Client id", err=True)
    if client_auth != "none":
        entry["client_secrets"] = [_prompt_hidden("Client secret")]
    if phase == "login" and profile.login:
        entry["credentials"] = {name: _prompt_hidden(name) for name in profile.login.credentials[0]}
    return entry


def _prompt_hidden(what: str) -> str:
    import typer

    return str(typer.prompt(f"{what} (not shown)", hide_input=True, err=True))
