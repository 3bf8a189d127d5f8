"""Protects what a real answer leads to within a day: status, minutes without a token, requests, and who was asked.

The answers come to some connections of one client; each other connection of that client is to notice nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from evergrant.adapters.http import GuardedHttp
from tests.field.case_format import list_cases, read_case
from tests.field.day_path import find_faults, live_a_day
from tests.field.http_path import fetch
from tests.field.server import FieldServer, serving

HTTP = GuardedHttp(allow_loopback=True)
FILES = [file for file in list_cases("answers") if read_case(file).day]


@pytest.fixture(scope="module")
def server() -> Iterator[FieldServer]:
    with serving() as running:
        yield running


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_day_of_an_answer_ends_as_it_should(file: Path, server: FieldServer) -> None:
    case = read_case(file)
    got = live_a_day(case, fetch(case, server, HTTP))
    assert find_faults(case.day.expect, case.day.hit, got) == {}, case.title
