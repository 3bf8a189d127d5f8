"""Wait until a link is used and the account connected, and show the progress."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum

from evergrant.connect.links import LinkProblem, read_progress
from evergrant.ports import Authorizations, Clock, Records
from evergrant.record.connection import Connection

from .output import Output, format_span

#: Short enough to feel immediate, long enough to cost nothing.
_POLL_SECONDS = 1.0
#: Publication takes seconds after the grant is saved; after this time the tick retries it.
_MAX_PUBLICATION_SECONDS = 60


class Stage(StrEnum):
    """What the command waits for."""

    OPENING = "waiting for the link to be opened"
    CONSENT = "waiting for consent at the provider"
    PUBLICATION = "publishing the token"


_DONE_TEXTS = {
    Stage.OPENING: "opened",
    Stage.CONSENT: "consented, and the grant is saved",
    Stage.PUBLICATION: "published",
}


#: Problems that no other attempt solves before the operator acts.
_FINAL_PROBLEMS = frozenset(
    {"unknown_client", "invalid_client_entry", "invalid_variable", "unknown_profile", "link_invalid"}
)


class TicketExpired(Exception):
    """The link expired before the account was connected; ``problem`` ended the last attempt, if there was one."""

    def __init__(self, message: str, problem: LinkProblem | None) -> None:
        super().__init__(message)
        self.problem = problem


class AttemptFailed(Exception):
    """The link was used and cannot succeed."""

    def __init__(self, problem: LinkProblem) -> None:
        super().__init__(problem.code)
        self.problem = problem


def wait_until_connected(
    records: Records,
    authorizations: Authorizations,
    clock: Clock,
    before: Connection,
    ticket: str,
    expires_at: int,
    show: Callable[[Stage, int | None], None],
    report: Callable[[LinkProblem], None],
) -> Connection:
    """Wait until the grant is saved and its token is published. Returns the record.

    Parameters
    ----------
    before
        The record at the time when the ticket was issued: a new authorization id marks the new grant.
    expires_at
        When the ticket expires (epoch seconds). A consent that is under way then may still be finished.
    show
        Called at each poll with the stage, and with the seconds until the link expires.
    report
        Called with each problem that ended an attempt, where another attempt may succeed.

    Raises
    ------
    TicketExpired, AttemptFailed
    """
    stage = Stage.OPENING
    reported: LinkProblem | None = None
    while True:
        record = records.get(before.name) or before
        if record.authorization_id not in (None, before.authorization_id):
            break
        progress, problem = read_progress(authorizations, ticket)
        if progress == "opened":
            stage = Stage.CONSENT
        show(stage, max(int(expires_at - clock.now()), 0))
        if problem and problem.code in _FINAL_PROBLEMS:
            raise AttemptFailed(problem)
        if problem and problem != reported:
            report(problem)
        reported = problem
        if clock.now() >= expires_at:
            raise TicketExpired(f"The link has expired, and {before.name} was not connected.", problem)
        clock.sleep(_POLL_SECONDS)
    show(Stage.PUBLICATION, None)
    return wait_until_published(records, clock, record)


def wait_until_published(records: Records, clock: Clock, record: Connection) -> Connection:
    """Wait until a saved grant's token is published, for a minute at most. Returns the latest record."""
    saved_at = clock.now()
    while record.is_unpublished and clock.now() < saved_at + _MAX_PUBLICATION_SECONDS:
        clock.sleep(_POLL_SECONDS)
        record = records.get(record.name) or record
    return record


@contextmanager
def show_stages(output: Output, clock: Clock) -> Iterator[Callable[[Stage, int | None], None]]:
    """Show the stages on standard error: a live line at a terminal, with the time, else one line for each stage."""
    stages, waiting_for, began = list(Stage), -1, clock.now()
    status = output.errors.status("") if output.errors.is_terminal else None

    def show(stage: Stage, left: int | None) -> None:
        nonlocal waiting_for
        position = stages.index(stage)
        if status and position >= waiting_for:
            good = "" if left is None else f"; the link expires in {format_span(left)}"
            status.update(f"{stage} … {format_span(clock.now() - began)}{good}")
        if position <= waiting_for:
            return
        for passed in stages[max(waiting_for, 0) : position]:
            output.write_aside(f"✓ {_DONE_TEXTS[passed]}", "green")
        waiting_for = position
        if status:
            status.start()
        else:
            output.write_aside(f"{stage} …")

    try:
        yield show
    finally:
        if status:
            status.stop()
