"""Writes the state diagram in docs/concepts.md anew from the state machine's table.

Run it as `make state-diagram`; a test fails when the diagram is stale.
"""

from __future__ import annotations

from pathlib import Path

from evergrant.record.state_machine import INITIAL_STATUS, TRANSITIONS
from evergrant.record.status import EventType

PAGE = Path(__file__).parents[1] / "docs" / "concepts.md"
BEGIN, END = "<!-- state diagram: begin -->", "<!-- state diagram: end -->"


def render() -> str:
    """Return the diagram in Mermaid."""
    changes = [f"    {source} --> {target}" + _label(event) for (source, target), event in TRANSITIONS.items()]
    return "\n".join(["```mermaid", "stateDiagram-v2", f"    [*] --> {INITIAL_STATUS}", *changes, "```"])


def insert(page: str) -> str:
    """Return the page with the present diagram between its marks."""
    head, _, rest = page.partition(BEGIN)
    _, _, tail = rest.partition(END)
    return f"{head}{BEGIN}\n{render()}\n{END}{tail}"


def _label(event: EventType | None) -> str:
    return f": {event}" if event else ""


def main() -> None:
    PAGE.write_text(insert(PAGE.read_text("utf-8")), "utf-8")
    print(f"Wrote the state diagram in {PAGE.name}.")


if __name__ == "__main__":
    main()
