"""``evergrant client``: the credentials that a provider issued to this deployment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .client_entry import read_entry, trim_entry
from .problems import CommandFailed, Problem
from .redirect_uris import LABEL, list_redirect_uris
from .run import AsJson, Run, Var, get_run, parse_variables
from .usage import Verb, Verbs

if TYPE_CHECKING:
    from evergrant.profiles.model import Profile
    from evergrant.record.circuit import Circuit
    from evergrant.record.connection import Connection

#: With a new entry so many connections are tried at once. Some servers burn a refresh token that comes with a wrong
#: secret, so it is no more.
_MAX_TRIED = 2

app = typer.Typer(cls=Verbs, no_args_is_help=True, help="The client credentials that providers issued to you.")


@app.callback()
def _group() -> None:
    pass


@app.command("set", cls=Verb)
def set_client(
    context: typer.Context,
    name: Annotated[
        str, typer.Argument(metavar="NAME", show_default=False, help="The client's name; usually the provider's.")
    ],
    client_id: Annotated[
        str | None,
        typer.Option(
            metavar="ID", show_default=False, help="The client id. Standard input then holds the secret alone."
        ),
    ] = None,
    host: Annotated[
        list[str] | None,
        typer.Option(
            metavar="HOST",
            show_default=False,
            help="A host that the credentials may be sent to (host or host:port); repeat it.",
        ),
    ] = None,
    provider: Annotated[
        str | None,
        typer.Option(metavar="NAME", show_default=False, help="Take the hosts from this provider's token endpoints."),
    ] = None,
    var: Var = None,
    as_json: AsJson = False,
) -> None:
    """Store a client's id and secret, or replace them.

    A secret is never an argument: other users of the machine can read those. At a
    terminal the command asks for it. Otherwise standard input holds the whole
    entry as JSON or, with --client-id, the secret alone (one a line, the newest
    first, if the provider accepts two at a time).

    The client's redirect URIs are fixed when it is first stored, one for each
    provider. The command shows what to register there, to the letter.

    Credentials are sent only to the hosts stored with them. Without --host, and
    without "hosts" in the JSON, these are the hosts of the token endpoints of
    --provider, or of the provider that has the client's name.

    Connections that wait for better credentials are tried with them at once.

    [bold]Examples[/]
      evergrant client set keap
      evergrant client set keap --client-id 3yX… < secret.txt
      echo '{"client_id": "…", "client_secrets": ["…"]}' | evergrant client set keap
    """
    from evergrant.names import check_client

    run = get_run(context)
    check_client(name)
    variables = parse_variables(var)
    entry = trim_entry(run, read_entry(name, client_id))
    if host:
        entry["hosts"] = host
    elif provider or "hosts" not in entry:
        entry["hosts"] = _find_hosts(run, name, provider, variables)
    client = run.deployment.vault.store_client(name, entry, run.deployment.redirect_path)
    redirect_uris = list_redirect_uris(run.deployment, client, run.deployment.records.all())
    tried = _try_waiting_connections(run, name)
    if run.output.as_json:
        run.output.write_document(
            {
                "client": name,
                "client_id": client.client_id,
                "client_secrets": len(client.secrets),
                "hosts": list(client.hosts),
                "redirect_uris": redirect_uris,
                "tried": tried,
            }
        )
        return
    run.output.write(f"Client {name} is stored. It may be sent to {', '.join(client.hosts)}.", "green")
    for provider_name, uri in redirect_uris.items():
        run.output.write(f"At {provider_name}, {LABEL} as the redirect URI:  {uri}")
    for connection, problem in tried.items():
        if problem is None:
            run.output.write(f"{connection} was waiting for it, and is tried with it now.")
        elif not problem:
            run.output.write(f"{connection} was waiting for it, and works again.", "green")
        else:
            run.output.write(f"{connection} was waiting for it, and still fails: {problem['message']}", "yellow")


@app.command("show", cls=Verb)
def show(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", show_default=False, help="The client's name.")],
    as_json: AsJson = False,
) -> None:
    """Show a stored client, its connections, and whether its provider refuses it or their grants.

    Its secrets are not shown.

    [bold]Example[/]
      evergrant client show keap
    """
    from evergrant.names import check_client
    from evergrant.record.circuit import create_client_key
    from evergrant.record.status import Status

    from . import open_circuits

    run = get_run(context)
    entry = run.deployment.vault.client(check_client(name))
    circuit = run.deployment.circuits.get(create_client_key(name))
    records = list(run.deployment.records.all())
    redirect_uris = list_redirect_uris(run.deployment, entry, records)
    users = sorted(
        record.name for record in records if record.client == name and record.status is not Status.DISCONNECTED
    )
    if run.output.as_json:
        run.output.write_document(
            {
                "client": name,
                "client_id": entry.client_id,
                "client_secrets": len(entry.secrets),
                "credentials": sorted(entry.credentials),
                "hosts": list(entry.hosts),
                "redirect_uris": redirect_uris,
                "connections": users,
                "refused": open_circuits.build_view(circuit, run.now),
                "incident": open_circuits.build_incident_view(circuit),
            }
        )
        return
    run.output.write_facts(
        [
            ("client", name),
            ("client id", entry.client_id or ""),
            ("client secrets", str(len(entry.secrets) or "")),
            ("credentials", ", ".join(sorted(entry.credentials))),
            ("private key", "stored" if entry.private_key else ""),
            ("may be sent to", ", ".join(entry.hosts)),
            *((LABEL, f"{uri} (at {provider})") for provider, uri in redirect_uris.items()),
            ("used by", ", ".join(users) or "no connection"),
            *open_circuits.list_facts(circuit, run.now),
        ]
    )
    if circuit.is_open:
        run.output.write()
        run.output.write(f"  → evergrant client set {name}")


def _find_hosts(run: Run, client: str, provider: str | None, variables: Mapping[str, str]) -> list[str]:
    """Find the hosts of the provider's token endpoints. No secret is sent to its consent page."""
    from evergrant.errors import UnknownProfile

    name = provider or client
    try:
        profile = run.deployment.profiles.load_named(name)
    except UnknownProfile as error:
        if provider:
            raise
        raise CommandFailed(
            Problem(
                "invalid_client_entry",
                f"There is no provider {name} that tells to which hosts client {client} may be sent.",
                "Give --host for each, or its --provider; `evergrant provider list` lists them.",
            )
        ) from error
    return list_token_hosts(profile, variables)


def list_token_hosts(profile: Profile, variables: Mapping[str, str]) -> list[str]:
    """List the hosts of a profile's token endpoints, with the given variables or their defaults.

    Only the variables that occur in a host need a value. Raises InvalidVariable.
    """
    import msgspec

    from evergrant.profiles.request_specs import REQUESTS
    from evergrant.profiles.templates import fill_template, find_names

    requests = [getattr(profile, phase) for phase in REQUESTS]
    urls = [request.url for request in requests if request]
    urls += [profile.subject.url] if profile.subject and profile.subject.url else []
    hosts = [url.split("/", 3)[2] for url in urls]
    wanted = {name for host in hosts for name in find_names(host)} | (variables.keys() & profile.variables.keys())
    narrowed = msgspec.structs.replace(
        profile, variables={name: value for name, value in profile.variables.items() if name in wanted}
    )
    bound = narrowed.bind(variables)
    return list(dict.fromkeys(fill_template(host, bound) or host for host in hosts))


def _try_waiting_connections(run: Run, client: str) -> dict[str, dict[str, Any] | None]:
    """Refresh a connection that waits for this client, and queue a wake-up for the others once one is accepted.

    Where no connection waits, the client's circuit forgets the refusals of the entry before.

    Returns
    -------
    dict
        Maps a connection to its problem: ``{}`` where it works, None where that is not known yet.
    """
    from evergrant.record import queued_wakeup
    from evergrant.record.circuit import create_client_key, forget_failures

    from .tokens import load_record, refresh_now

    circuits = run.deployment.circuits
    circuit = circuits.get(create_client_key(client))
    waiting = [record for record in run.deployment.records.all() if _waits_for_client(record, circuit)]
    if not waiting:
        changes = forget_failures(circuit)
        if changes:
            circuits.change(circuit.key, changes, only_if={"opened_at": circuit.opened_at})
        return {}

    def order(record: Connection) -> tuple[bool, str]:
        """One whose refresh token may be in use comes last: it must not be sent again yet."""
        return record.attempt_id is not None or record.unclear_at is not None, record.name

    names = [record.name for record in sorted(waiting, key=order)]
    tried: dict[str, dict[str, Any] | None] = {}
    for number, name in enumerate(names[:_MAX_TRIED], 1):
        try:
            refresh_now(run, load_record(run, name))
            tried[name] = {}
        except CommandFailed as failed:
            tried[name] = failed.problem.as_dict()
            if failed.problem.code == "client_refused":
                continue  # it may be this connection's own trouble, such as a wrong variable: the next one shows
        others = names[number:]
        run.deployment.queue.send_many(queued_wakeup.build_messages(others))
        return tried | dict.fromkeys(others)
    return tried  # the others would be refused too


def _waits_for_client(record: Connection, circuit: Circuit) -> bool:
    """Whether the connection was refused because of its client, or cannot use the client's entry."""
    from evergrant.record.status import INACTIVE_STATUSES, Status

    from .connection_view import has_failed_by_client

    if record.client != circuit.name or record.status in INACTIVE_STATUSES:
        return False
    is_refused = record.status is Status.CLIENT_REFUSED or record.name in circuit.failures
    return is_refused or has_failed_by_client(record)
