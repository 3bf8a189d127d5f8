"""Protects what editors and the commit hook do: the same as `make lint`, and what the files already keep to."""

from __future__ import annotations

import re
from configparser import ConfigParser

import yaml

from tests.unit.repository import ROOT, list_text_files


def test_the_commit_hook_runs_make_lint_and_nothing_else() -> None:
    """One hook that calls the target, so that the hook and CI cannot differ; no code of another repository runs."""
    (repository,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text("utf-8"))["repos"]
    assert repository["repo"] == "local"
    (hook,) = repository["hooks"]
    assert (hook["entry"], hook["language"]) == ("make lint", "system")
    assert hook["pass_filenames"] is False
    assert hook["always_run"] is True


def test_ci_begins_with_what_the_commit_hook_runs() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    assert re.search(r"^lint:", makefile, re.MULTILINE)
    assert re.search(r"^test: lint\b", makefile, re.MULTILINE)
    assert (ROOT / ".ci" / "run").read_text("utf-8").splitlines()[-1] == "make test"


def test_every_file_keeps_to_the_editors_configuration() -> None:
    text = (ROOT / ".editorconfig").read_text("utf-8")
    configuration = ConfigParser()
    configuration.read_string(f"[top]\n{text}")
    everywhere = configuration["*"]
    assert configuration["top"]["root"] == "true"
    assert (everywhere["charset"], everywhere["end_of_line"]) == ("utf-8", "lf")
    assert (everywhere["insert_final_newline"], everywhere["trim_trailing_whitespace"]) == ("true", "true")
    for path in list_text_files():
        content = path.read_text("utf-8")  # fails where it is not UTF-8
        assert "\r" not in content, path
        assert not content or content.endswith("\n"), path
        assert not re.search(r"[ \t]$", content, re.MULTILINE), path
        if path.name != "Makefile":
            assert not re.search(r"^ *\t", content, re.MULTILINE), path


def test_the_line_length_is_the_formatters() -> None:
    formatter = re.search(r"^line-length = (\d+)$", (ROOT / "pyproject.toml").read_text("utf-8"), re.MULTILINE)
    editor = re.search(r"^max_line_length = (\d+)$", (ROOT / ".editorconfig").read_text("utf-8"), re.MULTILINE)
    assert formatter is not None
    assert editor is not None
    assert formatter[1] == editor[1]
