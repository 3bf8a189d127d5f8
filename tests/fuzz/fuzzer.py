"""libFuzzer over one target, in this process, until it finds something or its time is over. See __main__."""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["evergrant", "httpcore", "h11", "tomllib", "json", "email"]):
    from tests.fuzz.targets import TARGETS

atheris.Setup(sys.argv[1:], TARGETS[sys.argv[1]].run)
atheris.Fuzz()
