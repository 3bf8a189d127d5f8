"""Protects the count of modules that a plain refresh touches: `.venv/bin/python -m scripts.module_changes`."""

from __future__ import annotations

import re

import pytest

from evergrant.names import check_client, check_provider
from evergrant.times import format_rfc3339
from scripts import module_changes


def test_calls_are_recorded_in_their_order() -> None:
    def act() -> None:
        check_client("keap")
        format_rfc3339(0)
        check_provider("keap")

    called = module_changes.record_modules(act)
    assert list(dict.fromkeys(called)) == ["names", "times"]
    assert module_changes.count_changes(called) == 3


def test_only_the_package_is_recorded() -> None:
    assert module_changes.record_modules(lambda: re.escape("x")) == []


def test_a_module_belongs_to_the_room_of_its_package() -> None:
    assert [module_changes.find_room(name) for name in ("names", "adapters.aws.records")] == ["evergrant", "adapters"]


def test_a_plain_refresh_is_counted(capsys: pytest.CaptureFixture[str]) -> None:
    """It prints modules and their changes, then rooms and theirs."""
    module_changes.main()
    counts = re.fullmatch(
        r"modules: (\d+) touched, (\d+) changes\nrooms: (\d+) touched, (\d+) changes\n", capsys.readouterr().out
    )
    assert counts
    modules, changes, rooms, room_changes = map(int, counts.groups())
    assert 5 < modules < 30 <= changes < 150, "the way of a refresh through the code gets longer"
    assert 1 < rooms < modules
    assert rooms <= room_changes < changes
    assert {"oauth", "record", "rotation"} <= set(map(module_changes.find_room, module_changes.record_refresh()))
