"""Ctrl-C ends a command with exit code 130, without a traceback, and with a working terminal."""

import os
import re
import select
import socket
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from limits import PROCESS_LIMIT_S

from cli.install import session_of, stored, user_named

ADD = ("users", "add", "asha@example.com")
REMOVE = ("users", "remove", "asha@example.com")


class TerminalCommand:
    """A command with a pseudo-terminal as its controlling terminal; `press` types into it."""

    def __init__(self, *arguments: str, python_options: tuple[str, ...] = ()) -> None:
        self._controller, self._terminal = os.openpty()
        self.printed = ""
        self._process = subprocess.Popen(
            # The child opens the terminal once more: the first terminal a session leader opens becomes its
            # controlling terminal, to which Ctrl-C is sent.
            (sys.executable, *python_options, "-c", _TAKE_TERMINAL, os.ttyname(self._terminal), *arguments),
            stdin=self._terminal,
            stdout=self._terminal,
            stderr=self._terminal,
            start_new_session=True,
        )

    def wait_for(self, part: str) -> None:
        """Read until the command has printed this."""
        deadline = time.monotonic() + PROCESS_LIMIT_S
        while part not in self.printed:
            assert time.monotonic() < deadline, self.printed
            assert self._process.poll() is None or self._readable(), self.printed
            self._read()

    def press(self, keys: str) -> None:
        """Type keys."""
        os.write(self._controller, keys.encode())

    def exit_code(self) -> int:
        """Wait for the end of the command; its output is read meanwhile, so that it never waits for us."""
        deadline = time.monotonic() + PROCESS_LIMIT_S
        while self._process.poll() is None:
            assert time.monotonic() < deadline, f"still running: {self.printed}"
            self._read()
        while self._readable():
            self._read()
        return self._process.returncode

    @property
    def shows_typed_text(self) -> bool:
        """Whether the terminal shows what the user types."""
        return bool(termios.tcgetattr(self._terminal)[3] & termios.ECHO)

    def close(self) -> None:
        """Kill the command and close the terminal."""
        self._process.kill()
        self._process.wait()
        os.close(self._controller)
        os.close(self._terminal)

    def _readable(self, within_s: float = 0) -> bool:
        return bool(select.select([self._controller], [], [], within_s)[0])

    def _read(self) -> None:
        if self._readable(0.02):
            self.printed += os.read(self._controller, 4096).decode(errors="replace")


_TAKE_TERMINAL = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell ignores it in commands started with &
os.close(os.open(sys.argv.pop(1), os.O_RDWR))
from hullwatch.cli import main
main()
"""


@pytest.fixture
def on_terminal(home: Path) -> Iterator[Callable[..., TerminalCommand]]:
    """Start commands on a terminal; they are killed at the end."""
    commands: list[TerminalCommand] = []

    def begin(*arguments: str, **options: tuple[str, ...]) -> TerminalCommand:
        commands.append(TerminalCommand(*arguments, **options))
        return commands[-1]

    yield begin
    for each in commands:
        each.close()


@pytest.fixture
def hanging_server() -> Iterator[tuple[int, threading.Event]]:
    """The port of a server that never answers, and an event for its first connection."""
    accepted = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def accept() -> None:
            with suppress(OSError):  # the socket is shut down at the end
                connection, _ = listening.accept()
                accepted.set()
                with connection:
                    while connection.recv(4096):
                        pass

        thread = threading.Thread(target=accept)
        thread.start()
        yield listening.getsockname()[1], accepted
        listening.shutdown(socket.SHUT_RDWR)
        thread.join()


def assert_interrupted(command: TerminalCommand) -> None:
    """The exit code is 130, no Python error was printed, and the terminal shows typed text."""
    assert command.exit_code() == 130, command.printed
    assert command.shows_typed_text
    for noise in ("Traceback", "ignored", "never awaited"):
        assert noise not in command.printed


@pytest.mark.parametrize("module", ["typer", "hullwatch.cli.output", "hullwatch.domain.users.accounts"])
def test_ctrl_c_while_the_program_is_imported(
    on_terminal: Callable[..., TerminalCommand], home: Path, module: str
) -> None:
    """Python prints each finished import, which gives the moments. The prompt never appears."""
    command = on_terminal(*ADD, python_options=("-X", "importtime"))
    command.wait_for(f" {module}\r\n")

    command.press("\x03")

    assert_interrupted(command)
    assert "Password" not in re.sub(r"import time:.*", "", command.printed)
    assert not (home / "data").exists()


def test_ctrl_c_at_the_password(on_terminal: Callable[..., TerminalCommand], home: Path) -> None:
    """One Ctrl-C is enough, as soon as the prompt is visible. Nothing is stored."""
    command = on_terminal(*ADD)
    command.wait_for("Password:")

    command.press("\x03")

    assert_interrupted(command)
    assert not (home / "data").exists()


def test_ctrl_c_at_the_second_password(on_terminal: Callable[..., TerminalCommand], home: Path) -> None:
    """The terminal hides both passwords; text after the prompt is not printed back."""
    command = on_terminal(*ADD)
    command.wait_for("Password:")
    command.press("correct horse battery\n")
    command.wait_for("Password again:")
    assert not command.shows_typed_text

    command.press("corr\x03")

    assert_interrupted(command)
    assert "horse" not in command.printed
    assert not (home / "data").exists()


def test_a_password_typed_twice_adds_the_user(on_terminal: Callable[..., TerminalCommand]) -> None:
    """After the prompts the terminal shows typed text again."""
    command = on_terminal(*ADD)
    for prompt in ("Password:", "Password again:"):
        command.wait_for(prompt)
        command.press("correct horse battery\n")

    assert command.exit_code() == 0, command.printed
    assert "Added asha@example.com" in command.printed
    assert "horse" not in command.printed
    assert command.shows_typed_text


def test_ctrl_d_at_the_password(on_terminal: Callable[..., TerminalCommand]) -> None:
    """The end of input is an explained failure."""
    command = on_terminal(*ADD)
    command.wait_for("Password:")

    command.press("\x04")

    assert command.exit_code() == 1
    assert "hullwatch: There was no answer." in command.printed
    assert command.shows_typed_text


def test_ctrl_c_at_a_question(
    on_terminal: Callable[..., TerminalCommand], home: Path, command: Callable[..., object]
) -> None:
    """The user is not removed."""
    stored(home, (user_named("asha"), session_of(user_named("asha"))))
    remove = on_terminal(*REMOVE)
    remove.wait_for("[y/N]")

    remove.press("\x03")

    assert_interrupted(remove)
    assert "asha@example.com" in command("users", "list").stdout


def test_ctrl_c_while_a_command_opens_the_application(
    on_terminal: Callable[..., TerminalCommand], home: Path
) -> None:
    """The import happens inside the event loop, which cancels the command."""
    command = on_terminal("users", "list", python_options=("-X", "importtime"))
    command.wait_for(" hullwatch.settings\r\n")

    command.press("\x03")

    assert_interrupted(command)


def test_ctrl_c_while_fyers_does_not_answer(
    on_terminal: Callable[..., TerminalCommand],
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    hanging_server: tuple[int, threading.Event],
) -> None:
    """The command does not wait for the time limit of its call."""
    port, accepted = hanging_server
    for name in ("BASE", "DATA", "PUBLIC"):
        monkeypatch.setenv(f"HULLWATCH_FYERS_{name}_URL", f"http://127.0.0.1:{port}")
    stored(home, (user_named("asha"), session_of(user_named("asha"))))
    command = on_terminal("tokens", "validate", "--all")
    assert accepted.wait(PROCESS_LIMIT_S)

    command.press("\x03")

    assert_interrupted(command)
