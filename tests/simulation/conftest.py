"""Marks the tests of rules that the code does not keep yet (:mod:`tests.simulation.pending`)."""

from __future__ import annotations

import pytest

from tests.simulation import pending


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        reason = find_reason(item)
        if reason and "tests/simulation/" in item.nodeid:
            item.add_marker(pytest.mark.xfail(strict=True, reason=reason))


def find_reason(item: pytest.Item) -> str | None:
    """Return what is missing for a test, None where nothing is."""
    name, _, params = item.name.removesuffix("]").partition("[")
    if "test_refused_connections" in item.nodeid:
        kind = "hourly" if "hourly" in name else "short"
        names = (params, params.rpartition("-")[0], f"{kind} {params}")
        return next((pending.REFUSALS[name] for name in names if name in pending.REFUSALS), None)
    return pending.TESTS.get(item.name) or pending.TESTS.get(name)
