"""The browser, and a simulator and server for each test."""

import os
import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from limits import ANSWER_LIMIT_S
from playwright.sync_api import Browser, expect, sync_playwright

from browser.environment import BrowserEnvironment
from browser.users import BrowserUsers
from hullwatch.web.built_pages import built_pages

FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
]  # fmt: skip


expect.set_options(timeout=ANSWER_LIMIT_S * 1000)


def missing(what: str) -> None:
    """Skip with the name of the missing part; under CI a missing part is a failure."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{what} is missing")
    pytest.skip(f"{what} is missing")


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Debian's Chromium, without a window."""
    executable = shutil.which("chromium")
    if executable is None:
        missing("Chromium (Debian package chromium)")
    if built_pages() is None:
        missing("the built dashboard (make install builds it)")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=executable, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def shared_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrowserEnvironment]:
    """Simulator and server for all tests that leave them unchanged, because a start takes seconds."""
    made = BrowserEnvironment(tmp_path_factory.mktemp("environment"))
    yield made
    made.close()


@pytest.fixture
def environment(shared_environment: BrowserEnvironment) -> Iterator[BrowserEnvironment]:
    """The shared simulator and server; faults are removed after the test."""
    yield shared_environment
    shared_environment.control("DELETE", "/faults")


@pytest.fixture
def users(browser: Browser, environment: BrowserEnvironment) -> Iterator[BrowserUsers]:
    """Creates the users of a test, each with browser windows of their own."""
    made = BrowserUsers(browser, environment)
    yield made
    made.close()


@pytest.fixture
def fresh_environment(tmp_path: Path) -> Iterator[BrowserEnvironment]:
    """An unused simulator and server: the first account becomes the admin."""
    made = BrowserEnvironment(tmp_path)
    yield made
    made.close()


@pytest.fixture
def early_environment(tmp_path: Path) -> Iterator[BrowserEnvironment]:
    """An unused simulator and server at 08:50 on a trading day, at the speed of real time."""
    made = BrowserEnvironment(tmp_path, speed=1.0, after_open=timedelta(minutes=-25))
    yield made
    made.close()


@pytest.fixture
def early_users(browser: Browser, early_environment: BrowserEnvironment) -> Iterator[BrowserUsers]:
    """Creates users before the market opens."""
    made = BrowserUsers(browser, early_environment)
    yield made
    made.close()


@pytest.fixture
def new_users(browser: Browser, fresh_environment: BrowserEnvironment) -> Iterator[BrowserUsers]:
    """Creates users on an unused server."""
    made = BrowserUsers(browser, fresh_environment)
    yield made
    made.close()
