"""``evergrant disconnect``: stop serving tokens, delete the secret, ask the provider to revoke the grant."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from .problems import CommandFailed, Problem, WrongUsage, explain
from .run import AsJson, Name, Run, get_run, is_interactive
from .tokens import load_record

if TYPE_CHECKING:
    from evergrant.profiles.model import Profile
    from evergrant.record.connection import Connection

#: The outcome of the revocation, in words. Never "revoked": the response proves nothing (RFC 7009 section 2.2).
_REVOCATIONS = {
    "asked": "{title} was asked to revoke the grant, and did not object. Its response is empty: that is no proof.",
    "refused": "{title} was asked to revoke the grant, and refused.",
    "retrying": "{title} could not be asked to revoke the grant now: it did not respond, or its host is not among "
    "those of client {client}. Rotator asks three times more within the next 21 minutes.",
    "failed": "{title} could not be asked to revoke the grant: its profile, client {client} or the sealed "
    "token set cannot be used.",
    "busy": "Another worker is asking {title} to revoke the grant.",
    "not_needed": "There was no token set that {title} could be asked to revoke.",
    "not_offered": "{title} was not asked to revoke the grant: its profile has no [revoke] for it.",
    "not_wanted": "{title} was not asked to revoke the grant (--no-revoke).",
    "not_asked": "{title} was not asked to revoke the grant yet: rotator did not answer the command. It asks by itself "
    "within minutes.",
}
#: Outcomes after which the grant may still be alive at the provider.
_GRANT_MAY_LIVE = ("refused", "failed", "not_offered", "not_wanted")


@dataclass(frozen=True, slots=True)
class Plan:
    """What disconnecting does at the provider.

    ``revocation`` is the outcome where the provider is not asked, else None. ``others`` are the connections that may
    end too: those of the same client that are not known to be of another account.
    """

    title: str
    revocation: str | None
    whole_permission: bool
    others: tuple[str, ...] = ()


def disconnect(
    context: typer.Context,
    connection: Name,
    revoke: Annotated[
        bool, typer.Option("--revoke/--no-revoke", help="Whether to ask the provider to revoke the grant.")
    ] = True,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
    as_json: AsJson = False,
) -> None:
    """Stop using an account: forget its tokens for good.

    No token is served or refreshed any more. The published secret is deleted
    (Secrets Manager keeps it recoverable for 30 days). The provider is asked to
    revoke the grant where its profile says how. Some providers then end all that
    the account ever granted to your application. The command names the other
    connections that this may end, and asks first; --no-revoke leaves the grant
    alive. If the provider is down the connection is disconnected all the same,
    and the command says what it could not do.

    Connecting the account again needs a new authorization, and restores the same
    secret.

    [bold]Examples[/]
      evergrant disconnect keap/main
      evergrant disconnect google/main --no-revoke
    """
    from evergrant.connect import operator_actions

    run = get_run(context)
    record = load_record(run, connection)
    plan = plan_revocation(run, record, revoke)
    if not yes:
        _confirm(run, record, plan)
    asking = plan.revocation is None
    record = operator_actions.disconnect(run.deployment.records, connection, run.deployment.clock, revoke=asking)
    # After the record is saved: no worker publishes for a disconnected connection.
    secret, problem = _delete_secret(run, connection)
    outcome = _request_revocation(run, record) if asking else str(plan.revocation)
    run.deployment.queue.send({"connection": connection})
    if not (problem and run.output.as_json):
        _write_result(run, record, plan, outcome, secret)
    if problem:
        raise CommandFailed(problem)


def plan_revocation(run: Run, record: Connection, wanted: bool) -> Plan:
    """Plan what to ask of the provider."""
    from evergrant.errors import UnknownProfile

    try:
        profile: Profile = run.deployment.profiles.load_pinned(record.profile_hash)
    except UnknownProfile:
        return Plan(record.provider, "failed", whole_permission=False)
    title = profile.title
    if not wanted:
        return Plan(title, "not_wanted", whole_permission=False)
    if profile.revoke is None or record.grant == "static":
        return Plan(title, "not_offered", whole_permission=False)
    if record.sealed is None and record.to_revoke is None:
        return Plan(title, "not_needed", whole_permission=False)
    whole = profile.revoke.scope == "grant" and record.grant == "authorization_code"
    records = run.deployment.records.all() if whole else ()
    others = tuple(sorted(other.name for other in records if _may_share_permission(record, other)))
    return Plan(title, None, whole, others)


def _may_share_permission(record: Connection, other: Connection) -> bool:
    """Whether another connection may rest on the same permission of the same account."""
    from evergrant.record.status import Status

    if other.name == record.name or (other.provider, other.client) != (record.provider, record.client):
        return False
    is_authorized = other.grant == "authorization_code" and other.sealed is not None
    may_be_same_account = record.subject is None or other.subject in (None, record.subject)
    return is_authorized and other.status is not Status.DISCONNECTED and may_be_same_account


def _confirm(run: Run, record: Connection, plan: Plan) -> None:
    ends = f"This may end {', '.join(plan.others)} too: {_describe_whole_permission(plan)}" if plan.others else ""
    if run.output.as_json or not is_interactive():
        raise WrongUsage(f"Without a terminal, disconnecting {record.name} needs --yes. {ends}".strip())
    if plan.whole_permission:
        run.output.write_aside(ends or f"Note: {_describe_whole_permission(plan)}", "yellow")
    if not typer.confirm(f"Forget the tokens of {record.name}? Its consumers stop working.", err=True):
        run.output.write_aside("Nothing was changed.")
        raise typer.Exit(1)


def _describe_whole_permission(plan: Plan) -> str:
    return f"at {plan.title}, revoking ends all that this account ever granted to the application."


def _delete_secret(run: Run, connection: str) -> tuple[str, Problem | None]:
    """Delete the secret. A failure is reported at the end, after the rest is done."""
    from evergrant.ports import PortUnavailable

    try:
        return ("deleted" if run.deployment.vault.withdraw(connection) else "none"), None
    except PortUnavailable as error:
        why = explain(error)
        message = f"{connection} is disconnected, but its secret could not be deleted, and may hold a token that works."
        hint = f"{why.message} {why.hint}".strip() if why else ""
        return "kept", Problem("secret_not_deleted", message, f"{hint} Then run this again.".strip())


def _request_revocation(run: Run, record: Connection) -> str:
    """Have rotator ask the provider. If rotator does not answer, the record stays due and a later pass asks."""
    from botocore.exceptions import BotoCoreError, ClientError

    with run.output.show_busy(f"asking the provider to revoke {record.name} …"):
        try:
            answer = run.deployment.invoke_rotator({"connection": record.name, "revoke": True})
        except (CommandFailed, BotoCoreError, ClientError):
            return "not_asked"
    return str(answer.get("revocation", "not_asked"))


def _write_result(run: Run, record: Connection, plan: Plan, outcome: str, secret: str) -> None:
    from .connection_view import build_connection_view

    if run.output.as_json:
        also = list(plan.others) if outcome in ("asked", "retrying", "busy", "not_asked") else []
        result = {"revocation": outcome, "secret": secret, "may_have_ended": also}
        run.output.write_document({**build_connection_view(record, run.now), **result})
        return
    run.output.write(f"{record.name} is disconnected: nothing is served or refreshed any more.", "green")
    for text in _describe_result(record, plan, outcome, secret):
        run.output.write(text)


def _describe_result(record: Connection, plan: Plan, outcome: str, secret: str) -> Iterator[str]:
    if secret == "deleted":  # noqa: S105
        yield "Its secret cannot be read any more, and is deleted for good in 30 days unless you connect again before."
    elif secret == "none":  # noqa: S105
        yield "It had no secret of its own."
    yield _REVOCATIONS[outcome].format(title=plan.title, client=record.client)
    if outcome == "asked" and plan.whole_permission:
        yield f"Note that {_describe_whole_permission(plan)}"
        if plan.others:
            yield f"Check whether these still work: {', '.join(plan.others)}."
    if outcome in _GRANT_MAY_LIVE:
        yield "The account's owner can end the grant there, under connected applications or the like."
