"""Protects the way in for people: links lead somewhere, and what the contributor's guide names exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import evergrant
from evergrant.record.status import EventType, Status

ROOT = Path(__file__).parents[2]
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.md")]
MAX_CHARACTERS = 500
GUIDES = [*(ROOT / "docs").glob("*.md"), *(ROOT / f"{guide}.md" for guide in ("README", "CONTRIBUTING", "SECURITY"))]

DECISIONS = ROOT / "docs" / "decisions"
RECORDS = sorted(DECISIONS.glob("[0-9]*.md"))


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def without_code(text: str) -> str:
    return re.sub(r"```.*?```", "", text, flags=re.DOTALL)


def anchors(page: Path) -> set[str]:
    """The anchors that the hosting platform makes of a page's headings."""
    headings = re.findall(r"^#+ (.*)$", without_code(page.read_text("utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_source_file_that_a_page_names_exists(page: Path) -> None:
    """By its path from the root, from the page, or from the package (`record/connection.py`)."""
    roots = (ROOT, page.parent, Path(evergrant.__file__).parent)
    named = set(re.findall(r"`([\w.-]+(?:/[\w.-]+)*/[\w.-]+\.py)`", page.read_text("utf-8")))
    assert {file for file in named if not any((root / file).exists() for root in roots)} == set()


def paragraphs(text: str) -> list[str]:
    """Running text by paragraph, each item of a list one of its own; without tables, headings, code and comments."""
    found = [""]
    for line in re.sub(r"<!--.*?-->", "", without_code(text), flags=re.DOTALL).splitlines():
        if not line.strip() or re.match(r"\s*(\||#)", line):
            found.append("")
        elif re.match(r"\s*([-*]|\d+\.) ", line):
            found.append(line.strip())
        else:
            found[-1] = f"{found[-1]} {line.strip()}".strip()
    return [paragraph for paragraph in found if paragraph]


@pytest.mark.parametrize("page", GUIDES, ids=name)
def test_no_paragraph_is_longer_than_500_characters(page: Path) -> None:
    """A longer one holds several ideas: make it a list, a table or two paragraphs."""
    long = [paragraph for paragraph in paragraphs(page.read_text("utf-8")) if len(paragraph) > MAX_CHARACTERS]
    assert [f"{len(paragraph)}: {paragraph[:60]}" for paragraph in long] == []


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_link_between_the_pages_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", without_code(page.read_text("utf-8"))):
        if "://" in target or target.startswith("mailto:"):
            continue
        address, _, anchor = target.partition("#")
        linked = (page.parent / address).resolve() if address else page
        assert linked.exists(), target
        if anchor and linked.suffix == ".md":
            assert anchor in anchors(linked), target


def test_the_pages_name_every_status_and_every_event() -> None:
    concepts = (ROOT / "docs" / "concepts.md").read_text("utf-8")
    assert re.findall(r"^\| `(\w+)` \|", concepts, re.MULTILINE) == [status.value for status in Status]
    statuses = (ROOT / "docs" / "statuses.md").read_text("utf-8")
    table = statuses.partition("| event | when |")[2].partition("\n\n")[0]
    assert set(re.findall(r"`([^`]+)`", table)) == {event.value for event in EventType} | {"refresh_expires_at"}


def test_the_guide_places_every_kind_of_test() -> None:
    """The table of CONTRIBUTING.md names each folder below tests/ once, and only targets that the Makefile has."""
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    table = re.findall(r"^\| \w+ \| `tests/(\w+)` \| ([^|]*)\|", text, re.MULTILINE)
    assert [folder for folder, _ in table] == list(dict.fromkeys(folder for folder, _ in table))
    kinds = {path.parent.relative_to(ROOT / "tests").parts[0] for path in (ROOT / "tests").rglob("test_*.py")}
    assert {folder for folder, _ in table} == kinds
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    assert set(re.findall(r"`make ([a-z-]+)", text)) <= targets


def test_the_changelog_keeps_to_its_form() -> None:
    """Keep a Changelog 1.1.0: unreleased changes first, then versions with a date, in kinds with fixed names."""
    text = (ROOT / "CHANGELOG.md").read_text("utf-8")
    releases = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert releases[0] == "[Unreleased]"
    assert all(re.fullmatch(r"\[\d+\.\d+\.\d+\] - \d{4}-\d{2}-\d{2}", release) for release in releases[1:])
    if len(releases) > 1:
        assert releases[1].startswith(f"[{evergrant.__version__}]")
    kinds = set(re.findall(r"^### (.*)$", text, re.MULTILINE))
    assert kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


@pytest.mark.parametrize("record", RECORDS, ids=name)
def test_a_decision_has_context_decision_and_consequences(record: Path) -> None:
    text = record.read_text("utf-8")
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == ["Context", "Decision", "Consequences"]
    assert re.search(r"^Status: (accepted|superseded by \[\d{4}\]|accepted; to be superseded)", text, re.MULTILINE)
    assert 15 <= len(text.splitlines()) <= 40


def test_the_index_lists_every_decision_by_its_title() -> None:
    index = (DECISIONS / "README.md").read_text("utf-8")
    listed = re.findall(r"^\| \[(\d{4})\]\((\S+)\) \| (.*?) \|", index, re.MULTILINE)
    titles = {record.name: record.read_text("utf-8").splitlines()[0] for record in RECORDS}
    assert [number for number, _, _ in listed] == [record.name[:4] for record in RECORDS]
    assert {file: f"# {number}. {title}" for number, file, title in listed} == titles
    assert [int(record.name[:4]) for record in RECORDS] == list(range(1, len(RECORDS) + 1))
