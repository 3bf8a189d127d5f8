"""What the contract tests hold: the functions by name, and the sample events."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from local.aws import LocalAws
from tests.contract.emulated_lambda import EmulatedLambda
from tests.template.stack import ROOT

PREFIX = "evergrant"


def event(name: str) -> dict[str, Any]:
    """One of the sample events under ``events/``."""
    found: dict[str, Any] = json.loads((ROOT / "events" / f"{name}.json").read_text())
    return found


@dataclass(frozen=True)
class Contract:
    """The functions by name, and the AWS behind them."""

    aws: LocalAws
    names: Mapping[str, str]
    #: By the function's name, with environment variables in place of the template's.
    start: Callable[..., EmulatedLambda]

    @cached_property
    def scheduler(self) -> EmulatedLambda:
        return self.start("Scheduler")

    @cached_property
    def rotator(self) -> EmulatedLambda:
        return self.start("Rotator")

    @cached_property
    def callback(self) -> EmulatedLambda:
        return self.start("Callback")

    @cached_property
    def getter(self) -> EmulatedLambda:
        return self.start("Getter")
