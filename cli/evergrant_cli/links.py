"""Connect by a link: make it, write the letter to send with it, wait until the account is connected."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from .output import format_span
from .problems import CommandFailed, Problem
from .run import Run

if TYPE_CHECKING:
    from evergrant.connect.links import Authorization, LinkProblem
    from evergrant.record.connection import Connection


#: Ready to send to an account's owner who does not know Evergrant.
_INVITATION = """\
Please connect your {title} account with us ("{account}" on our side):

  {link}

Open it in the browser in which you can sign in at {title}, press the button, and allow the access.
It works once, until {expires_at} (UTC). We never see your password."""


def connect_by_link(
    run: Run,
    record: Connection,
    authorization: Authorization,
    title: str,
    lifetime: int,
    another_account: bool,
    wait: bool,
) -> None:
    """Make a link, show it, and unless ``wait`` is false, wait until the account is connected."""
    from evergrant.connect.links import issue_ticket
    from evergrant.times import format_rfc3339

    deployment, output = run.deployment, run.output
    expires_at = run.now + lifetime
    ticket = issue_ticket(deployment.authorizations, authorization, run.now, lifetime, another_account=another_account)
    link = f"{deployment.api_url}/connect/{ticket}"
    invitation = {
        "connection": record.name,
        "link": link,
        "expires_at": format_rfc3339(expires_at),
        "status": str(record.status),
        "grant": "authorization_code",
        "client": authorization.client,
        "redirect_uri": authorization.redirect_uri,
    }
    if not wait:
        _write_invitation(run, record, title, invitation)
        return
    # With --json the document comes at the end, but the link is needed at once.
    say = output.write_aside if output.as_json else output.write
    say(f"Open this link to connect {record.name} to {title}, or send it to the account's owner:")
    say("")
    say(f"  {link}", "bold")
    say("")
    say(f"It works once, for {format_span(lifetime)}, until {format_rfc3339(expires_at)}.")
    _wait_for_use(run, record, authorization.client, ticket, expires_at, invitation)


def _write_invitation(run: Run, record: Connection, title: str, invitation: dict[str, Any]) -> None:
    """Write the letter, with the link on a line of its own, as all of standard output."""
    expires_at = invitation["expires_at"].replace("T", " ").removesuffix("Z")[:16]
    letter = _INVITATION.format(title=title, account=record.account, link=invitation["link"], expires_at=expires_at)
    if run.output.as_json:
        run.output.write_document({**invitation, "text": letter})
        return
    run.output.write_aside("Send this to the account's owner:")
    run.output.write_aside("")
    run.output.write(letter)
    run.output.write_aside("")
    run.output.write_aside(f"`evergrant status {record.name}` shows when it is done.")


def _wait_for_use(
    run: Run, before: Connection, client: str, ticket: str, expires_at: int, invitation: dict[str, Any]
) -> None:
    from .codes import describe_link_problem
    from .connection_view import build_connection_view, explain_refused_link
    from .link_progress import AttemptFailed, TicketExpired, show_stages, wait_until_connected

    deployment = run.deployment

    seen: list[LinkProblem] = []

    def report(problem: LinkProblem) -> None:
        seen.append(problem)
        again = f"it can be tried again until {invitation['expires_at']}"
        run.output.write_aside(f"✗ {describe_link_problem(problem.code, client, problem.failure)}; {again}.", "yellow")

    def say_last_attempt() -> str:
        if not seen:
            return ""
        return f" The last attempt: {describe_link_problem(seen[-1].code, client, seen[-1].failure)}."

    try:
        with show_stages(run.output, deployment.clock) as show:
            record = wait_until_connected(
                deployment.records,
                deployment.authorizations,
                deployment.clock,
                before,
                ticket,
                expires_at,
                show,
                report,
            )
    except KeyboardInterrupt:
        run.output.write_aside(
            f"No longer waiting. The link works until {invitation['expires_at']}; "
            f"`evergrant status {before.name}` shows when it is done.{say_last_attempt()}"
        )
        raise typer.Exit(130) from None
    except AttemptFailed as failed:
        raise CommandFailed(explain_refused_link(failed.problem.code, before, client)) from failed
    except TicketExpired as expired:
        raise CommandFailed(
            Problem(
                "link_expired", f"{expired}{say_last_attempt()}", f"For a new link: `evergrant connect {before.name}`."
            )
        ) from expired
    if run.output.as_json:
        run.output.write_document({**build_connection_view(record, run.now), "link": invitation["link"]})
    else:
        write_connected(run, record, "")


def write_connected(run: Run, record: Connection, prefix: str) -> None:
    """Write that the account is connected, with the connection's first status."""
    from .health import assess_health
    from .output import format_until

    output, now = run.output, run.now
    left = format_span((record.expires_at or now) - now)
    output.write(f"{prefix}{record.name} is connected; its token lives for {left} and is refreshed by itself.", "green")
    state = assess_health(record, now)
    if state.level:
        output.write(f"Note: {state.reason}.", "yellow")
        output.write(f"  → {state.advice}")
    elif record.refresh_at is not None and record.refresh_at > now:
        output.write(f"It is {record.status}, and refreshed next {format_until(record.refresh_at, now)}.")
    output.write(f"Read it with `evergrant get {record.name}`, or from a function with evergrant_client.")
