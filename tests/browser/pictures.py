"""Pictures of the pages, and a sheet with all of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from html import escape
from pathlib import Path

from playwright.sync_api import Page

_SHEET = """<!doctype html><html lang="en"><meta charset="utf-8"><title>The connect pages</title><style>
body {{ font: 1rem/1.5 system-ui, sans-serif; margin: 2rem; background: #888; color: #000; }}
section {{ display: flex; flex-wrap: wrap; gap: 1rem; align-items: start; margin-bottom: 3rem; }}
h2 {{ width: 100%; margin: 0; }} figure {{ margin: 0; }} img {{ display: block; max-height: 40rem; max-width: 44rem; }}
</style><h1>The connect pages</h1>{sections}</html>
"""


@dataclass
class Pictures:
    """Keeps a picture of a page by what it shows and how; ``index.html`` grows with them."""

    directory: Path
    taken: dict[str, list[str]] = field(default_factory=dict)

    def take(self, page: Page, what: str, how: str) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        name = f"{what}-{how}.png"
        page.screenshot(path=self.directory / name, full_page=True)
        self.taken.setdefault(what, []).append(name)
        sections = "".join(
            f"<section><h2>{escape(title)}</h2>"
            + "".join(f'<figure><img src="{name}" alt=""><figcaption>{name}</figcaption></figure>' for name in names)
            + "</section>"
            for title, names in self.taken.items()
        )
        (self.directory / "index.html").write_text(_SHEET.format(sections=sections), encoding="utf-8")
