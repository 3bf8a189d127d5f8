"""What a check says: its verdict, what it saw, and the command that fixes it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

#: An account's id, in ARNs and in the addresses of queues.
_ACCOUNT_ID = re.compile(r"(?<!\d)\d{12}(?!\d)")


class Verdict(StrEnum):
    """The verdicts, in the order of their urgency."""

    GREEN = "green"
    YELLOW = "yellow"
    UNKNOWN = "unknown"
    RED = "red"


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found.

    ``fix`` is a command, or says what to do. ``is_unasked`` marks a question that only a person can answer, and that
    was not asked or not answered.
    """

    verdict: Verdict
    seen: str
    fix: str = ""
    is_unasked: bool = False


def green(seen: str) -> Finding:
    """Found as it should be."""
    return Finding(Verdict.GREEN, seen)


def yellow(seen: str, fix: str) -> Finding:
    """Works, and may not for long."""
    return Finding(Verdict.YELLOW, seen, fix)


def red(seen: str, fix: str) -> Finding:
    """Does not work, or loses something when it is needed."""
    return Finding(Verdict.RED, seen, fix)


def unknown(seen: str, fix: str) -> Finding:
    """The check could not look."""
    return Finding(Verdict.UNKNOWN, seen, fix)


def unasked(seen: str, fix: str) -> Finding:
    """Only a person can tell, and none did."""
    return Finding(Verdict.UNKNOWN, seen, fix, is_unasked=True)


@dataclass(frozen=True, slots=True)
class Result:
    """The finding of a check, with the check's name and why it matters."""

    check: str
    why: str
    finding: Finding

    @property
    def verdict(self) -> Verdict:
        return self.finding.verdict


def summarize_results(stack: str, region: str, results: Sequence[Result]) -> str:
    """Say in one line what is red, or else what is not known."""
    where = f"{stack} in {region}"
    for verdict, words in ((Verdict.RED, "needs action"), (Verdict.UNKNOWN, "not known"), (Verdict.YELLOW, "watch")):
        names = [result.check for result in results if result.verdict is verdict]
        if names:
            return f"{where}: {len(names)} of {len(results)} checks {verdict} ({words}): {', '.join(names)}."
    return f"{where}: all {len(results)} checks are green."


def build_document(stack: str, region: str, version: str, results: Sequence[Result]) -> dict[str, Any]:
    """Build the document for a bug report. The account's id is left out; a finding holds no secret and no address."""
    return {
        "summary": summarize_results(stack, region, results),
        "version": version,
        "stack": stack,
        "region": region,
        "checks": [
            {
                "check": result.check,
                "verdict": str(result.verdict),
                "seen": hide_account(result.finding.seen),
                "why": result.why,
                "fix": hide_account(result.finding.fix),
            }
            for result in results
        ],
    }


def hide_account(text: str) -> str:
    """Replace each account id by ``ACCOUNT``."""
    return _ACCOUNT_ID.sub("ACCOUNT", text)
