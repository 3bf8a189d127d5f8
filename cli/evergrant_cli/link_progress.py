"""Waiting for somebody to use a link, and showing how far they are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum

from evergrant.connect.links import read_progress
from evergrant.ports import Authorizations, Clock, Records
from evergrant.record.connection import Connection

from .output import Output, format_span

#: Often enough to feel immediate, seldom enough to cost nothing (seconds).
_POLL_SECONDS = 1.0
#: After the grant is saved, publication is a matter of seconds; beyond this the schedule sees to it.
_MAX_PUBLICATION_SECONDS = 60


class Stage(StrEnum):
    """What is being waited for."""

    OPENING = "waiting for the link to be opened"
    CONSENT = "waiting for consent at the provider"
    PUBLICATION = "publishing the token"


_DONE_TEXTS = {
    Stage.OPENING: "opened",
    Stage.CONSENT: "consented, and the grant is saved",
    Stage.PUBLICATION: "published",
}


#: Problems of an attempt that no other attempt cures, until the operator has done something.
_FINAL_PROBLEMS = frozenset(
    {"unknown_client", "invalid_client_entry", "invalid_variable", "unknown_profile", "link_invalid"}
)


class TicketExpired(Exception):
    """Nobody finished in time."""


class AttemptFailed(Exception):
    """Somebody tried and could not succeed; ``code`` is the problem's."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


def wait_until_connected(
    records: Records,
    authorizations: Authorizations,
    clock: Clock,
    before: Connection,
    ticket: str,
    expires_at: int,
    show: Callable[[Stage, int | None], None],
    tell: Callable[[str], None],
) -> Connection:
    """Wait until the grant is saved and its token can be read. Returns the record.

    Parameters
    ----------
    before
        The record as it was when the ticket was issued: a new authorization id tells the new grant from the old.
    expires_at
        When the ticket expires (epoch seconds). Somebody who is at the provider by then may still finish.
    show
        Called at each look with what is waited for, and for how many seconds the link is good yet.
    tell
        Called with the code of each problem that ended an attempt, where another attempt may succeed.

    Raises
    ------
    TicketExpired, AttemptFailed
    """
    stage = Stage.OPENING
    told: str | None = None
    while True:
        record = records.get(before.name) or before
        if record.authorization_id not in (None, before.authorization_id):
            break
        progress, problem = read_progress(authorizations, ticket)
        if progress == "opened":
            stage = Stage.CONSENT
        show(stage, max(int(expires_at - clock.now()), 0))
        if problem in _FINAL_PROBLEMS:
            raise AttemptFailed(problem)
        if problem and problem != told:
            tell(problem)
        told = problem
        if clock.now() >= expires_at:
            raise TicketExpired(f"The link has expired, and {before.name} was not connected.")
        clock.sleep(_POLL_SECONDS)
    show(Stage.PUBLICATION, None)
    return wait_until_published(records, clock, record)


def wait_until_published(records: Records, clock: Clock, record: Connection) -> Connection:
    """Wait until a saved grant's token can be read, but not for ever. Returns the record as it then is."""
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
            good = "" if left is None else f"; the link is good for another {format_span(left)}"
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
