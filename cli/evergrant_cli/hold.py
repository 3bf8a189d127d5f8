"""``evergrant hold`` and ``evergrant release``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from .run import AsJson, Run, get_run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from evergrant.record.circuit import Circuit
    from evergrant.record.connection import Connection


def hold(
    context: typer.Context,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why. `evergrant status` shows it.")] = "",
    as_json: AsJson = False,
) -> None:
    """Send no refresh for any connection until `evergrant release`.

    Tokens are served until they expire. The schedule is switched off, too, so that
    the alarm TicksStopped fires. Use it before a restored table is taken up.

    [bold]Example[/]
      evergrant hold --reason "restoring the records of 10:00"
    """
    from evergrant.errors import Conflict
    from evergrant.record.circuit import HOLD_KEY

    run = get_run(context)
    deployment = run.deployment
    changes = {"opened_at": run.now, "code": reason or None, "detail": deployment.records.table}
    try:
        circuit = deployment.circuits.change(HOLD_KEY, changes, only_if={"opened_at": None})
        first = "No refresh is sent from now on. Undo it with `evergrant release`."
    except Conflict as conflict:
        circuit, first = conflict.current, "Refreshes are held already. Undo it with `evergrant release`."
    problem = deployment.switch_schedule(on=False)
    _write(run, {**build_view(circuit), "schedule": _describe_schedule(problem, on=False)}, first, problem)


def release(
    context: typer.Context,
    restored: Annotated[
        bool, typer.Option("--restored", help="The record table was restored, although its name is the same.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Refresh again, after `evergrant hold`, and switch the schedule on.

    Where the record table is another one than when the hold began, each record is
    compared with what was published from it. One that is older is never refreshed:
    its refresh token has been used since, and its owner has to authorize again.

    [bold]Example[/]
      evergrant release
    """
    from evergrant.connect.operator_actions import require_authorization_of_stale
    from evergrant.record.circuit import HOLD_KEY

    run = get_run(context)
    deployment = run.deployment
    circuit = deployment.circuits.get(HOLD_KEY)
    if not circuit.is_open:
        problem = deployment.switch_schedule(on=True)
        document = {"held": False, "stale": [], "schedule": _describe_schedule(problem, on=True)}
        _write(run, document, "Nothing is held, and the schedule is on.", problem)
        return
    stale = []
    if restored or circuit.detail != deployment.records.table:
        for record in _find_stale(run):
            require_authorization_of_stale(deployment.records, record.name, deployment.clock)
            stale.append(record.name)
            run.output.write_aside(f"{record.name} is stale: its owner has to authorize it again.", "yellow")
    # Only now: what is stale must not be refreshed in between.
    deployment.circuits.change(HOLD_KEY, {"opened_at": None, "code": None, "detail": None}, only_if={})
    problem = deployment.switch_schedule(on=True)
    schedule = _describe_schedule(problem, on=True)
    first = "Refreshes go on; what fell due meanwhile is refreshed by the next ticks."
    _write(run, {"held": False, "stale": stale, "schedule": schedule}, first, problem)


def build_view(circuit: Circuit) -> dict[str, Any]:
    """Build the JSON of the hold. The time in RFC 3339 UTC."""
    from evergrant.times import format_rfc3339

    if circuit.opened_at is None:
        return {"held": False}
    return {"held": True, "since": format_rfc3339(circuit.opened_at), "reason": circuit.code}


def describe(circuit: Circuit, now: int) -> str:
    """Say in one line that refreshes are held."""
    from .output import format_until

    why = f" ({circuit.code})" if circuit.code else ""
    return f"All refreshes are held{why}, since {format_until(circuit.opened_at, now)}. `evergrant release` ends it."


def _find_stale(run: Run) -> Iterator[Connection]:
    from evergrant.connect.operator_actions import is_stale
    from evergrant.errors import UnknownProfile

    deployment = run.deployment
    for record in sorted(deployment.records.all(), key=lambda found: found.name):
        try:
            rotates = deployment.profiles.load_pinned(record.profile_hash).rotation.rotates
        except UnknownProfile:
            continue  # without its profile it is not refreshed
        version = deployment.vault.find_current(record.name) if record.direct_read else None
        if is_stale(record, version, run.now, rotates=rotates):
            yield record


def _describe_schedule(problem: str | None, *, on: bool) -> str:
    return problem or ("enabled" if on else "disabled")


def _write(run: Run, document: dict[str, Any], first: str, problem: str | None) -> None:
    if run.output.as_json:
        run.output.write_document(document)
        return
    run.output.write(first, "green")
    if problem:
        run.output.write(f"The schedule could not be switched ({problem}). Held, its ticks do nothing.", "yellow")
