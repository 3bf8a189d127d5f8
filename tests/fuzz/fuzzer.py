"""libFuzzer over one target, in this process, until it finds something or its time is over. See __main__."""

from __future__ import annotations

import sys
from random import Random

import atheris

with atheris.instrument_imports(include=["evergrant", "h11", "httpcore", "tomllib", "json", "email"]):
    from tests.fuzz import mutations
    from tests.fuzz.targets import TARGETS

_MUTATIONS = {"answers": mutations.of_answer, "profiles": mutations.of_profile}


def _mutate(data: bytes, longest: int, seed: int) -> bytes:
    """Half of the time by what an input is, and else byte by byte."""
    random = Random(seed)
    if random.random() < 0.5:
        return bytes(atheris.Mutate(data, longest))
    return _MUTATIONS[sys.argv[1]](data, random)[:longest]


atheris.Setup(
    sys.argv[1:], TARGETS[sys.argv[1]].run, **({"custom_mutator": _mutate} if sys.argv[1] in _MUTATIONS else {})
)
atheris.Fuzz()
