"""The verb ``evergrant doctor``."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated

import typer

from ..run import AsJson, Run, get_run, is_interactive

if TYPE_CHECKING:
    from .verdicts import Result

_NEEDS_ACTION_STATUS = 3
_NOT_KNOWN_STATUS = 4
_STYLES = {"green": "green", "yellow": "yellow", "red": "red", "unknown": "magenta"}


def doctor(
    context: typer.Context,
    no_alert: Annotated[bool, typer.Option("--no-alert", help="Send no test alert.")] = False,
    as_json: AsJson = False,
) -> None:
    """Examine the deployed stack and its account.

    Each check is green, yellow, red or unknown. A check that could not look is
    unknown, and never green. What is not green comes with the command that fixes it.

    It changes nothing. It sends a test alert to the subscribers of the alert
    topic, and asks at a terminal whether it came, and whether the redirect URI is
    registered. With --json it asks nothing; the document holds no secret, and
    neither the account's id nor an address, so that it fits into a bug report.

    The exit status is 0 if all is green or yellow, 3 if a check is red, and 4 if
    none is red and a check could not look. Questions that were not asked do not
    count.

    [bold]Examples[/]
      evergrant doctor
      evergrant doctor --no-alert --json | jq '.checks[] | select(.verdict != "green")'
    """
    from evergrant import __version__

    from .examination import examine
    from .patient import Patient, ask_no_person
    from .verdicts import Verdict, build_document, summarize_results

    run = get_run(context)
    can_ask = is_interactive() and not run.output.as_json
    patient = Patient(run.deployment, _ask if can_ask else ask_no_person, not no_alert, run.profile)
    _require_stack(run)
    results = examine(patient, run.output.show_busy("examining …"))
    if run.output.as_json:
        run.output.write_document(build_document(run.deployment.stack, patient.region, __version__, results))
    else:
        _write(run, summarize_results(run.deployment.stack, patient.region, results), results)
    if any(result.verdict is Verdict.RED for result in results):
        raise typer.Exit(_NEEDS_ACTION_STATUS)
    if any(result.verdict is Verdict.UNKNOWN and not result.finding.is_unasked for result in results):
        raise typer.Exit(_NOT_KNOWN_STATUS)


def _require_stack(run: Run) -> None:
    """Raise if there is no such stack, or no identity to look with. Other troubles are for the checks to show."""
    from botocore.exceptions import ClientError, HTTPClientError

    with suppress(ClientError, HTTPClientError):
        _ = run.deployment.outputs


def _ask(question: str) -> bool | None:
    """Ask at the terminal; anything but yes and no is no answer."""
    answer = typer.prompt(f"{question} [y/n, Enter if you do not know]", default="", show_default=False, err=True)
    return {"y": True, "yes": True, "n": False, "no": False}.get(answer.strip().lower())


def _write(run: Run, summary: str, results: Sequence[Result]) -> None:
    from .verdicts import Verdict

    worst = max((result.verdict for result in results), key=list(Verdict).index)
    run.output.write(summary, _STYLES[worst])
    run.output.write()
    width = max(len(result.check) for result in results)
    for result in results:
        line = f"{result.verdict:<7}  {result.check:<{width}}  {result.finding.seen}"
        run.output.write(line, _STYLES[result.verdict])
        if result.verdict is not Verdict.GREEN:
            run.output.write(f"{'':<9}{result.why}")
            run.output.write(f"{'':<9}→ {result.finding.fix}")
