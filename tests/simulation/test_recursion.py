"""Protects the chains of messages that rotator makes: Lambda would stop them, unless the template allows them."""

from __future__ import annotations

import pytest

from tests.simulation.scenarios import HOUR, PROFILES, connect
from tests.simulation.world import World
from tests.unit.repository import ROOT


def test_the_simulation_allows_what_the_template_allows() -> None:
    template = (ROOT / "template.yaml").read_text("utf-8")
    rotator = template.partition("\n  RotatorFunction:\n")[2].partition("\n  CallbackFunction:\n")[0]
    with World(1) as world:
        assert world.queue.allows_recursion is ("RecursiveLoop: Allow" in rotator)


@pytest.mark.parametrize("allows", [True, False])
def test_tokens_of_a_minute_leave_dead_letters_only_if_chains_stop(allows: bool) -> None:
    """Each refresh sends the message of the next one, so that a chain never ends."""
    with World(2, reads_every=None) as world:
        world.queue.allows_recursion = allows
        connect(world, PROFILES["okta"], 2, lifetime=60, within=10)
        world.run(seconds=2 * HOUR)
        assert (world.queue.dead == []) is allows
