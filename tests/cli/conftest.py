"""A separate install for each test, and commands that run in this process or as real processes."""

import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import structlog
from typer.testing import CliRunner, Result

from cli.install import Program
from hullwatch.cli.program import program


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder; the only setting is the data folder."""
    for name in os.environ:
        if name.startswith(("HULLWATCH_", "FYERS_")) and name != "HULLWATCH_TEST_DATA":
            monkeypatch.delenv(name)
    monkeypatch.setenv("HULLWATCH_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(autouse=True)
def _restored_logging() -> Iterator[None]:
    root, config = logging.getLogger(), structlog.get_config()
    handlers, level = tuple(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.configure(**config)


@pytest.fixture
def command(home: Path) -> Callable[..., Result]:
    """Run a command in this process."""

    def run(*arguments: str, stdin: str | None = None) -> Result:
        result = CliRunner().invoke(program, arguments, input=stdin, prog_name="hullwatch")
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result

    return run


@pytest.fixture
def start(home: Path) -> Iterator[Callable[..., Program]]:
    """Start a real process; it is killed at the end if it still runs."""
    programs: list[Program] = []

    def begin(*arguments: str, **environment: str) -> Program:
        folder = home / f"program-{len(programs)}"
        folder.mkdir()
        with (folder / "out").open("wb") as out, (folder / "err").open("wb") as err:
            process = subprocess.Popen(
                (sys.executable, "-m", "hullwatch", *arguments),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env={**os.environ, **environment},
                start_new_session=True,
            )
        programs.append(Program(process, folder))
        return programs[-1]

    yield begin
    for each in programs:
        if each.process.poll() is None:
            each.process.kill()
        each.process.wait()


@pytest.fixture
def served(start: Callable[..., Program]) -> Callable[..., tuple[Program, str]]:
    """Start `hullwatch serve` on a free port; return it and its address once it answers."""

    def begin(**environment: str) -> tuple[Program, str]:
        server = start("serve", "--port", "0", **environment)
        url = server.line("hullwatch is at").split("hullwatch is at ")[1].split(";")[0]
        return server, url

    return begin
