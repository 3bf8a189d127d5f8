"""Protects docs/lifecycle.md: its commands exist, in the AWS CLI, in `evergrant` and in the scripts."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer
from samtranslator.yaml_helper import yaml_parse

from evergrant.adapters.aws.sdk import client
from evergrant_cli.main import app
from scripts import take_up
from tests.adapters.test_doctor_checks import require_command

PAGE = (Path(__file__).parents[2] / "docs" / "lifecycle.md").read_text("utf-8")
SHELL = "\n".join(re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)).replace("\\\n", " ")
#: Without comments, and with a word for each quoted one.
PLAIN = re.sub(r"\"[^\"]*\"|'[^']*'", "VALUE", re.sub(r"\s#.*", "", SHELL))
AWS_COMMANDS = re.findall(r"\baws [^|;)\n]*", PLAIN)


def test_the_page_has_commands_of_the_aws_cli() -> None:
    assert len(AWS_COMMANDS) >= 15


@pytest.mark.parametrize("command", AWS_COMMANDS)
def test_a_command_of_the_aws_cli_has_these_options(aws: None, command: str) -> None:
    program, service, verb, *rest = shlex.split(command)
    if verb == "wait":
        assert rest[0] in {name.replace("_", "-") for name in client(service).waiter_names}
        return
    require_command(program, service, verb, *(re.sub(r"^--no-", "--", word) for word in rest))


def test_a_command_of_evergrant_has_these_options() -> None:
    root: Any = typer.main.get_command(app)
    found = re.findall(r"^evergrant (\w+)(.*)$", PLAIN, re.MULTILINE)
    assert {"hold", "release", "doctor", "disconnect"} <= {verb for verb, _ in found}
    for verb, rest in found:
        known = {option for parameter in root.commands[verb].params for option in parameter.opts}
        assert set(re.findall(r"--[\w-]+", rest)) <= known


def test_the_way_back_names_all_that_stays(tmp_path: Path) -> None:
    (shown,) = re.findall(r"-m scripts\.take_up (.*)", SHELL)
    files = [f"--template={tmp_path / 't'}", f"--resources={tmp_path / 'r'}"]
    assert take_up.main([*files, *shlex.split(shown)]) == 0
    imported = json.loads((tmp_path / "r").read_text("utf-8"))
    kept = take_up.find_kept(yaml_parse(take_up.TEMPLATE.read_text("utf-8")))
    assert {each["LogicalResourceId"] for each in imported} == set(kept)
