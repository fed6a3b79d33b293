"""A browser, and a stage for each test."""

import os
import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from browser.people import PATIENCE_MS, People
from browser.stage import DemoEnvironment
from hullwatch.web.built_pages import built_pages

FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
]  # fmt: skip


expect.set_options(timeout=PATIENCE_MS)


def missing(what: str) -> None:
    """Skip by name; where everything has to be there, fail."""
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
def shared_stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DemoEnvironment]:
    """Simulator and server for all tests that leave no mark on them: starting both takes seconds."""
    made = DemoEnvironment(tmp_path_factory.mktemp("stage"))
    yield made
    made.close()


@pytest.fixture
def stage(shared_stage: DemoEnvironment) -> Iterator[DemoEnvironment]:
    """Simulator and server, both well."""
    yield shared_stage
    shared_stage.control("DELETE", "/faults")


@pytest.fixture
def people(browser: Browser, stage: DemoEnvironment) -> Iterator[People]:
    """Whoever a test brings in, each with windows of their own."""
    made = People(browser, stage)
    yield made
    made.close()


@pytest.fixture
def fresh_stage(tmp_path: Path) -> Iterator[DemoEnvironment]:
    """Simulator and server that nobody has used: the first account becomes the admin."""
    made = DemoEnvironment(tmp_path)
    yield made
    made.close()


@pytest.fixture
def early_stage(tmp_path: Path) -> Iterator[DemoEnvironment]:
    """Simulator and server that nobody has used, at 08:50 on a trading day, as fast as life."""
    made = DemoEnvironment(tmp_path, speed=1.0, after_open=timedelta(minutes=-25))
    yield made
    made.close()


@pytest.fixture
def early_birds(browser: Browser, early_stage: DemoEnvironment) -> Iterator[People]:
    """Whoever a test brings in before the opening."""
    made = People(browser, early_stage)
    yield made
    made.close()


@pytest.fixture
def newcomers(browser: Browser, fresh_stage: DemoEnvironment) -> Iterator[People]:
    """Whoever a test brings in to a fresh stage."""
    made = People(browser, fresh_stage)
    yield made
    made.close()
