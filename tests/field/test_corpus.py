"""Protects what real answers of providers lead to: each case of the corpus, through the real HTTP client and readers.

A failing case says what was expected and what was read, in that order. ``README.md`` says how to add one.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from evergrant.adapters.http import GuardedHttp
from tests.field.callback_path import come_back
from tests.field.case_format import FOLDER, KINDS, PUBLIC, list_cases, list_sources, read_case
from tests.field.discovery_path import discover
from tests.field.http_path import fetch, find_differences, read
from tests.field.import_path import read_entry, read_file
from tests.field.server import FieldServer, serving

HTTP = GuardedHttp(allow_loopback=True)


def each(kind: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("file", list_cases(kind), ids=lambda file: file.stem)


@pytest.fixture(scope="module")
def server() -> Iterator[FieldServer]:
    with serving() as running:
        yield running


@each("answers")
def test_an_answer_is_read_as_what_it_is(file: Path, server: FieldServer) -> None:
    case = read_case(file)
    assert find_differences(case.expect, read(case, fetch(case, server, HTTP))) == {}, case.title


@each("callbacks")
def test_a_callback_leads_to_the_right_page(file: Path, server: FieldServer) -> None:
    case = read_case(file)
    assert find_differences(case.expect, come_back(case, server, HTTP)) == {}, case.title


@each("imports")
def test_a_file_is_imported_or_its_fault_is_named(file: Path) -> None:
    case = read_case(file)
    got = read_file(case)
    if not case.expect.error_names:
        assert "error" not in got, case.title
        assert find_differences(case.expect, {**got, "error_names": []}) == {}, case.title
    else:
        assert [name for name in case.expect.error_names if name not in got.get("error", "")] == [], case.title


@each("discovery")
def test_a_server_is_described_by_what_it_publishes(file: Path, server: FieldServer) -> None:
    case = read_case(file)
    assert find_differences(case.expect, discover(case, server, HTTP)) == {}, case.title


@each("clients")
def test_an_entry_is_trimmed_or_its_fault_is_named(file: Path) -> None:
    case = read_case(file)
    got = read_entry(case)
    assert case.expect.field in got["said"], case.title
    assert got.get("refused") or find_differences(case.expect, {**got, "field": case.expect.field}) == {}, case.title


def test_the_corpus_has_150_cases_from_public_reports() -> None:
    """And nothing lies among the cases that no test reads."""
    files = [file for kind in KINDS for file in list_cases(kind)]
    assert {file for file in FOLDER.rglob("*") if file.is_file()} == set(files)
    assert len([file for file in files if any(PUBLIC.match(source) for source in list_sources(file))]) >= 150
