"""Protects the commands that guides, help and messages show: the command's own parser accepts each."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.unit.command_line import parse_command
from tests.unit.repository import ROOT, list_text_files

#: History, whose commands were right when it was written.
EXEMPT = ("CHANGELOG.md", "docs/decisions/")
#: Values that a message fills in, where a connection's name would not do.
STAND_INS = {"allowed": "--host api.example.com"}
SHELL_BLOCK = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)
OTHER_BLOCK = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
#: A command of a shell line ends at a comment, a pipe, a redirection or a bracket.
SHELL_COMMAND = re.compile(r"(?:^|[|(;]) *(evergrant .*?)(?= +#| *[|<>;)]|$)", re.MULTILINE)
INLINE = re.compile(r"`(evergrant [^`<>|]+)|\[bold\](evergrant [^\[]+)\[/\]")


@dataclass(frozen=True)
class Shown:
    """A command as it is shown; a mention may leave its arguments out."""

    place: str
    text: str
    is_mention: bool


def find_in_page(place: str, text: str) -> Iterator[Shown]:
    for block in SHELL_BLOCK.findall(text):
        yield from (Shown(place, command, False) for command in SHELL_COMMAND.findall(block))
    yield from (Shown(place, first or second, True) for first, second in INLINE.findall(OTHER_BLOCK.sub("", text)))


def read_strings(source: str) -> Iterator[str]:
    """Read a module's strings, each value of an f-string replaced by what it may be."""
    tree = ast.parse(source)
    parts = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(
                str(part.value)
                if isinstance(part, ast.Constant)
                else STAND_INS.get(ast.unparse(part).strip("f'{}\""), "keap/main")
                for part in node.values
            )
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in parts:
            yield node.value


def find_in_module(place: str, source: str) -> Iterator[Shown]:
    for text in read_strings(source):
        yield from (Shown(place, first or second, True) for first, second in INLINE.findall(text))
        if "[bold]Example" in text:
            examples = text.partition("[bold]Example")[2]
            yield from (Shown(place, command, False) for command in SHELL_COMMAND.findall(examples))


def find_shown() -> Iterator[Shown]:
    for path in list_text_files():
        place = path.relative_to(ROOT).as_posix()
        if place.startswith(EXEMPT):
            continue
        if path.suffix == ".md":
            yield from find_in_page(place, path.read_text("utf-8"))
        elif path.suffix == ".py" and place.startswith(("cli/", "layers/evergrant/")):
            yield from find_in_module(place, path.read_text("utf-8"))


def find_fault(shown: Shown) -> str | None:
    """Parse a command in the current directory, where its files are made to exist."""
    for word in shlex.split(shown.text):
        if word == "FILE" or word.endswith(".toml"):
            Path(word).touch()
    try:
        parse_command(shown.text.strip())
    except Exception as error:  # noqa: BLE001  # the parser's own, whose package typer hides
        is_incomplete = type(error).__name__ in ("MissingParameter", "NoArgsIsHelpError", "Exit")
        return None if is_incomplete and shown.is_mention else f"{shown.place}: {shown.text}: {error!r}"
    return None


def test_every_command_that_is_shown_parses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guides, help and messages name only verbs, options and arguments that there are."""
    shown = [command for command in find_shown() if "COMMAND" not in command.text]
    monkeypatch.chdir(tmp_path)
    assert [fault for fault in map(find_fault, shown) if fault] == []
    for part in (
        "README.md",
        "docs/operating.md",
        "cli/evergrant_cli/status.py",
        "layers/evergrant/evergrant/errors.py",
    ):
        assert any(command.place == part for command in shown), part


@pytest.mark.parametrize(
    "page", ["```sh\nevergrant fix keap/main\n```", "```sh\nevergrant connect  # all\n```", "`evergrant status --fix`"]
)
def test_a_wrong_command_of_a_page_is_found(page: str) -> None:
    (shown,) = find_in_page("page.md", page)
    assert find_fault(shown)


def test_a_wrong_command_of_a_message_is_found() -> None:
    (shown,) = find_in_module("module.py", 'hint = f"Run `evergrant client forget {name}`."')
    assert (shown.text, bool(find_fault(shown))) == ("evergrant client forget keap/main", True)


def test_a_verb_may_be_mentioned_without_its_arguments() -> None:
    (shown,) = find_in_page("page.md", "See `evergrant connect`.")
    assert find_fault(shown) is None
