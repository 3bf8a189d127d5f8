"""What is tested beside what, where several processes share the tests ("--dist loadfile"); and no test has a deadline.

The tests of a file stay together, since they share what it sets up. But each situation of the proof by exhaustion is a
unit of its own: some take as long as whole files do. And all that is tested on one deployed stack stays together, since
a second stack costs more CPU time than its tests.
"""

from __future__ import annotations

from typing import Any

import hypothesis
import pytest
from xdist.scheduler import LoadFileScheduling  # type: ignore[import-untyped]

# How long an example takes is the machine's affair.
hypothesis.settings.register_profile("evergrant", deadline=None)
hypothesis.settings.load_profile("evergrant")

#: Their tests have a local AWS of their own, or none.
WITHOUT_THE_STACK = ("test_torture.py", "test_stopping.py")
ON_THEIR_OWN = ("::test_two_faults_", "::test_one_fault_at_any_call_loses_no_token_however_")


class ByFile(LoadFileScheduling):  # type: ignore[misc]
    def _split_scope(self, nodeid: str) -> str:
        if any(name in nodeid for name in ON_THEIR_OWN):
            return nodeid
        directory, _, file = nodeid.partition("::")[0].rpartition("/")
        if directory == "tests/stack" and file not in WITHOUT_THE_STACK:
            return directory
        return str(super()._split_scope(nodeid))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: Any, log: Any) -> ByFile | None:
    return ByFile(config, log) if config.getvalue("dist") == "loadfile" else None
