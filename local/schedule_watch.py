"""The demo's main part: the consumer calls, the display shows events and rotations, until there are enough."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any

from botocore.exceptions import BotoCoreError
from rich.console import Group
from rich.live import Live
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn

from local.consumer_stack import Consumer
from local.observation import Observation
from local.terminal import PLAIN_LINE_SECONDS, Steps
from local.tools import LocalRunError

# One invocation of the consumer: long enough to consist mostly of calls, short enough for current counts.
CONSUMER_SECONDS = 4.0
POLL_SECONDS = 1.0


def watch(
    consumer: Consumer,
    observation: Observation,
    targets: Sequence[Mapping[str, object]],
    steps: Steps,
    *,
    rotations: int,
    max_seconds: float,
) -> None:
    """Watch until every connection has had this many ``rotations``, or for ``max_seconds``.

    Raises
    ------
    LocalRunError
        The consumer's function failed.
    """
    enough = threading.Event()
    calling = _Calling(consumer, observation, targets, enough)
    calling.start()
    progress = Progress(TextColumn("rotations"), BarColumn(), TextColumn("{task.completed} of {task.total}"))
    bar = progress.add_task("", total=rotations * len(observation.observed))
    begun = said = time.monotonic()
    live = Live(console=steps.console, refresh_per_second=2, transient=True) if steps.live else nullcontext()
    try:
        with live as display:
            while (
                not observation.has_rotated(rotations) and time.monotonic() - begun < max_seconds and calling.is_alive()
            ):
                time.sleep(POLL_SECONDS)
                for event in consumer.receive_events():
                    steps.line(f"[dim]{time.monotonic() - begun:4.0f} s[/]  {escape(_describe_event(event))}")
                if display is not None:
                    progress.update(bar, completed=observation.count_rotations(rotations))
                    display.update(Group(progress, observation.build_table(final=False)))
                elif time.monotonic() - said >= PLAIN_LINE_SECONDS:
                    said = time.monotonic()
                    steps.line(
                        f"{said - begun:4.0f} s  {observation.count_rotations(rotations)} of "
                        f"{progress.tasks[bar].total:.0f} rotations, "
                        f"{observation.calls} calls, {observation.failed} failed"
                    )
    finally:
        enough.set()
    calling.join(timeout=CONSUMER_SECONDS + 30)
    if calling.failure is not None:
        raise LocalRunError(f"The consumer failed: {calling.failure}") from calling.failure


class _Calling(threading.Thread):
    """Invokes the consumer repeatedly and adds its counts to the observation."""

    def __init__(
        self,
        consumer: Consumer,
        observation: Observation,
        targets: Sequence[Mapping[str, object]],
        enough: threading.Event,
    ) -> None:
        super().__init__(name="consumer", daemon=True)
        self._consumer, self._observation, self._targets, self._enough = consumer, observation, targets, enough
        self.failure: LocalRunError | BotoCoreError | None = None

    def run(self) -> None:
        while not self._enough.is_set():
            try:
                tallies = self._consumer.call(self._targets, CONSUMER_SECONDS)
            except (LocalRunError, BotoCoreError) as error:
                self.failure = error
                return
            for seen in self._observation.observed:
                tally = tallies[seen.name]
                seen.calls += int(tally["calls"])
                seen.failed += int(tally["failed"])
                seen.reasons.update(tally["failures"])


def _describe_event(event: dict[str, Any]) -> str:
    detail = event["detail"]
    words = [str(event["detail-type"]), str(detail.get("connection", ""))]
    if "generation" in detail:
        words.append(f"generation {detail['generation']}")
    return "  ".join(words)
