"""What the local run says while it works: a live display on a terminal, plain lines anywhere else."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console

Say = Callable[[str], None]
"""Tells what a step is doing right now."""

PLAIN_LINE_SECONDS = 10.0
"""How often, at most, a step's progress makes a line of its own where lines cannot be redrawn."""


class Steps:
    """Shows one step of the run after another, with the time each took."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False)
        self._started = time.monotonic()

    @property
    def live(self) -> bool:
        """Whether what is shown can be redrawn."""
        return self.console.is_terminal

    def line(self, text: str) -> None:
        """Say something that stays."""
        self.console.print(text, soft_wrap=True)

    @contextmanager
    def step(self, title: str) -> Iterator[Say]:
        """Show that a step is under way until its block ends."""
        begun = time.monotonic()
        with self._spinner(title) if self.live else self._plain(title) as say:
            yield say
        self.line(f"[green]✓[/] {title} [dim]({time.monotonic() - begun:.0f} s)[/]")

    @contextmanager
    def _spinner(self, title: str) -> Iterator[Say]:
        with self.console.status(f"{title} …") as status:
            yield lambda detail: status.update(f"{title} … [dim]{detail[: self.console.width - len(title) - 8]}[/]")

    @contextmanager
    def _plain(self, title: str) -> Iterator[Say]:
        said = time.monotonic()
        self.line(f"… {title}")

        def say(detail: str) -> None:
            nonlocal said
            if time.monotonic() - said >= PLAIN_LINE_SECONDS:
                said = time.monotonic()
                self.line(f"    {detail}")

        yield say

    @property
    def elapsed(self) -> float:
        """Seconds since the run began."""
        return time.monotonic() - self._started
