"""Writes the table of answer classes in docs/rotation.md anew from the code.

Run it as `make answer-table`; a test fails when the table is stale.
"""

from __future__ import annotations

from pathlib import Path

from evergrant.oauth.answer_classes import ANSWER_TABLE
from evergrant.oauth.error_codes import REGISTERED_ERRORS, RefusalKind

PAGE = Path(__file__).parents[1] / "docs" / "rotation.md"
BEGIN, END = "<!-- answer classes: begin -->", "<!-- answer classes: end -->"
_HEAD = "| response | class | means | what follows |\n|---|---|---|---|"
_CODES_HEAD = "| registered code at the token endpoint | kind |\n|---|---|"


def render() -> str:
    """Return both tables in Markdown."""
    rows = [
        f"| {row.condition} | {row.answer_class.replace('_', ' ')} | {row.meaning} | {row.consequence} |"
        for row in ANSWER_TABLE
    ]
    return "\n".join([_HEAD, *rows, "", _CODES_HEAD, *(_render_codes(kind) for kind in _list_kinds())])


def insert(page: str) -> str:
    """Return the page with the present tables between its marks."""
    head, _, rest = page.partition(BEGIN)
    _, _, tail = rest.partition(END)
    return f"{head}{BEGIN}\n{render()}\n{END}{tail}"


def _list_kinds() -> list[RefusalKind]:
    return list(dict.fromkeys(REGISTERED_ERRORS.values()))


def _render_codes(kind: RefusalKind) -> str:
    codes = ", ".join(f"`{code}`" for code, meaning in REGISTERED_ERRORS.items() if meaning == kind)
    return f"| {codes} | `{kind}` |"


def main() -> None:
    PAGE.write_text(insert(PAGE.read_text("utf-8")), "utf-8")
    print(f"Wrote the table of answer classes in {PAGE.name}.")


if __name__ == "__main__":
    main()
