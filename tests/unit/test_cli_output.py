"""Protects what is printed: links stay whole, nothing is read as markup, colour is for terminals only."""

from __future__ import annotations

import io
import json

import pytest
from rich.console import Console

from evergrant_cli.link_progress import Stage, show_stages
from evergrant_cli.output import Output, format_span, format_until
from evergrant_cli.problems import Problem
from tests.unit.memory import FakeClock


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (-5, "0 s"),
        (59, "59 s"),
        (60, "1 min"),
        (75, "1 min 15 s"),
        (610, "10 min"),
        (3600, "1 h"),
        (12_000, "3 h 20 min"),
        (86_400, "1 d"),
        (100_000, "1 d 3 h"),
        (3_888_000, "45 days"),
    ],
)
def test_a_span_is_said_by_its_two_largest_units(seconds: int, said: str) -> None:
    assert format_span(seconds) == said


def test_a_moment_is_said_as_seen_from_now() -> None:
    assert (format_until(160, 100), format_until(40, 100), format_until(None, 100)) == ("in 1 min", "1 min ago", "")


def test_a_long_link_is_neither_folded_nor_read_as_markup(capsys: pytest.CaptureFixture[str]) -> None:
    link = "https://a.example/connect/" + "x" * 300 + "[red]:smile:"
    Output().write(link)
    assert capsys.readouterr().out == f"{link}\n"


def test_cells_are_plain_text_and_rows_one_line_when_piped(capsys: pytest.CaptureFixture[str]) -> None:
    Output().write_table(("name", "pattern"), [("host", "[a-z]+ " * 20)])
    _, row = capsys.readouterr().out.splitlines()
    assert row.startswith("host   [a-z]+ [a-z]+")


ROWS = [("wealthyhood/customer-4711", "awaiting_authorization", "", "in 23 h 59 min"), ("keap/main", "active", "", "")]


def at_a_terminal(width: int) -> list[str]:
    output, text = Output(), io.StringIO()
    output.console = Console(file=text, force_terminal=True, color_system=None, width=width)
    output.write_table(("connection", "state", "refresh token dies", "token expires"), ROWS)
    return [line.rstrip() for line in text.getvalue().splitlines()]


def test_a_table_has_no_column_without_cells_and_cuts_none() -> None:
    head, first, second = at_a_terminal(80)
    assert head.split() == ["connection", "state", "token", "expires"]
    assert first.split("   ") == ["wealthyhood/customer-4711", "awaiting_authorization", "in 23 h 59 min"]
    assert second.split() == ["keap/main", "active"]


def test_a_narrow_terminal_folds_the_header_first_and_then_shows_blocks() -> None:
    folded = at_a_terminal(66)
    assert [line.split() for line in folded[:2]] == [["connection", "state", "token"], ["expires"]]
    assert folded[2].split("  ") == ["wealthyhood/customer-4711", "awaiting_authorization", "in 23 h 59 min"]
    assert at_a_terminal(40) == [
        "wealthyhood/customer-4711",
        "  state: awaiting_authorization",
        "  token expires: in 23 h 59 min",
        "keap/main",
        "  state: active",
    ]


def test_waiting_shows_at_a_terminal_only() -> None:
    for terminal in (False, True):
        output, text = Output(), io.StringIO()
        output.errors = Console(file=text, force_terminal=terminal, width=80)
        with output.show_busy("refreshing keap/main"):
            pass
        assert ("refreshing keap/main" in text.getvalue()) is terminal


def test_facts_without_a_value_are_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    Output().write_facts([("here", "[b]1[/b]"), ("not here", "")])
    assert capsys.readouterr().out.split() == ["here", "[b]1[/b]"]


def test_no_colour_leaves_for_a_pipe(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    output = Output()
    output.write("fine", "green")
    output.write_problem(Problem("code", "broken", "fix it"))
    assert capsys.readouterr() == ("fine\n", "broken\nfix it\n")


def test_a_failure_is_a_document_when_json_was_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    output = Output()
    output.as_json = True
    output.write_problem(Problem("code", "broken ü"))
    said, aside = capsys.readouterr()
    assert json.loads(said) == {"error": {"code": "code", "message": "broken ü"}}
    assert aside == ""


@pytest.mark.parametrize("terminal", [False, True])
def test_each_step_that_is_passed_is_ticked_off_once(terminal: bool) -> None:
    text = io.StringIO()
    output = Output()
    output.errors = Console(file=text, force_terminal=terminal, width=80)
    with show_stages(output, FakeClock()) as show:
        for stage in (Stage.OPENING, Stage.OPENING, Stage.PUBLICATION, Stage.CONSENT):
            show(stage, 60)
    assert [text.getvalue().count(f"✓ {step}") for step in ("opened", "consented", "published")] == [1, 1, 0]
    assert Stage.PUBLICATION in text.getvalue()
