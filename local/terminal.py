"""The progress display of a local run: live on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console

Say = Callable[[str], None]
"""Shows what a step is doing now."""

PLAIN_LINE_SECONDS = 10.0
"""The least time between two lines of a step's progress, where lines cannot be redrawn."""


class Steps:
    """Shows the steps of a run in order, with the time of each."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False)
        self._started = time.monotonic()

    @property
    def live(self) -> bool:
        """Whether lines can be redrawn."""
        return self.console.is_terminal

    def line(self, text: str) -> None:
        """Print a permanent line."""
        self.console.print(text, soft_wrap=True)

    @contextmanager
    def step(self, title: str) -> Iterator[Say]:
        """Show a step until its block ends."""
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
