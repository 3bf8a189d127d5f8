"""A real Chromium, the deployed stack behind the pages, and pictures of all of it for people to look at."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Playwright, expect, sync_playwright
from rich.console import Console

from local.terminal import Steps
from local.tools import STATE
from local.world import World, local_world
from tests.browser.operator import Operator
from tests.browser.pictures import Pictures

HOME = STATE / "browser-tests"


@pytest.fixture(scope="session")
def playwright() -> Iterator[Playwright]:
    # As long as a busy machine may take: what is expected is there at once as a rule.
    expect.set_options(timeout=20_000)
    with sync_playwright() as playwright:
        yield playwright


@pytest.fixture(scope="session")
def executable() -> str:
    """The browser that `scripts/find-browser` found, for `make browser`."""
    return os.environ.get("CHROMIUM") or pytest.fail("CHROMIUM is to say where the browser is: use `make browser`.")


@pytest.fixture(scope="session")
def sandbox() -> bool:
    """Chromium's own sandbox does not work for root, which is who CI is."""
    return os.geteuid() != 0


@pytest.fixture(scope="session")
def chromium(playwright: Playwright, executable: str, sandbox: bool) -> Iterator[Browser]:
    browser = playwright.chromium.launch(executable_path=executable, chromium_sandbox=sandbox)
    yield browser
    browser.close()


@pytest.fixture(scope="session")
def world() -> Iterator[World]:
    with local_world(HOME / "stack", Steps(Console(quiet=True)), enforce_iam=True) as world:
        yield world


@pytest.fixture(scope="session")
def operator(world: World) -> Iterator[Operator]:
    with Operator.of(world) as operator:
        yield operator


@pytest.fixture(scope="session")
def pictures() -> Pictures:
    directory = HOME / "pictures"
    shutil.rmtree(directory, ignore_errors=True)
    return Pictures(directory)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    index = HOME / "pictures" / "index.html"
    if index.exists():
        terminalreporter.write_line(f"Pictures of every page: {index}")
