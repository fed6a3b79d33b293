"""`hullwatch users`: accounts on the database itself."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from typer.testing import Result

from cli.install import PASSWORD, TOKEN, session_of, stored, user_named
from hullwatch.cli.users import as_of
from hullwatch.domain.sessions.connection import Connection, DisconnectReason, LoginState
from hullwatch.domain.users.accounts import Role

Command = Callable[..., Result]


def listed(command: Command, *options: str) -> list[str]:
    """Return the e-mail addresses that a list names."""
    result = command("users", "list", "--json", *options)
    assert result.exit_code == 0, result.stderr
    return [row["email"] for row in json.loads(result.stdout)]


def secret_count(command: Command) -> int:
    """Return how many secrets the database holds."""
    return int(command("db", "check").stdout.split(" stored secrets")[0].rsplit(" ", 1)[1])


def test_an_added_user_is_listed(command: Command) -> None:
    """`add` reads one line as the password and makes an account; `list --json` gives it in camelCase, without the password."""
    added = command(
        "users", "add", " Asha@Example.com ", "--role", "admin", "--name", "Asha Iyer", stdin=f"{PASSWORD}\n"
    )
    result = command("users", "list", "--json")

    (row,) = json.loads(result.stdout)
    assert added.exit_code == 0
    assert (row["email"], row["fullName"], row["role"]) == ("asha@example.com", "Asha Iyer", "admin")
    assert row["connection"]["state"] == "never_connected"
    assert datetime.fromisoformat(row["createdAt"]).tzinfo is not None
    assert PASSWORD not in added.output + result.output


def test_a_name_is_not_needed(command: Command) -> None:
    """Without `--name` the part before the @ is the name, and without `--role` the user is a trader, with a word about admins."""
    result = command("users", "add", "ravi@example.com", stdin=PASSWORD)

    (row,) = json.loads(command("users", "list", "--json").stdout)
    assert (row["fullName"], row["role"]) == ("ravi", "trader")
    assert "no admin" in result.stderr


def test_a_bad_or_missing_password_adds_nobody(command: Command) -> None:
    """No input, an empty line and a short password are refused; nobody is added."""
    for stdin in (None, "", "\n", "short\n", "x" * 20_000):
        result = command("users", "add", "asha@example.com", stdin=stdin)

        assert result.exit_code == 1
        assert result.stderr.startswith("hullwatch: ")
    assert listed(command) == []


def test_an_address_is_added_once(command: Command) -> None:
    """Adding the same address again, however it is spelt, is refused."""
    command("users", "add", "asha@example.com", stdin=PASSWORD)

    result = command("users", "add", "ASHA@example.com", stdin=PASSWORD)

    assert result.exit_code == 1
    assert "exists already" in result.stderr


def test_lists_can_be_narrowed_to_the_disconnected(command: Command, home: Path) -> None:
    """`--disconnected` gives those whose session has ended, `--disconnected-since` those of them within the time."""
    now = datetime.now(UTC).replace(microsecond=0)
    ended = {"state": LoginState.DISCONNECTED, "reason": DisconnectReason.REJECTED}
    entries = [(user_named("fresh"), None), (user_named("alive"), session_of(user_named("alive")))]
    for name, age in (("hour", timedelta(hours=1)), ("month", timedelta(days=30))):
        entries.append(
            (user_named(name), session_of(user_named(name), last_disconnect_at=now - age, **ended))
        )
    stored(home, *entries)

    assert listed(command) == [f"{name}@example.com" for name in ("alive", "fresh", "hour", "month")]
    assert listed(command, "--disconnected") == ["hour@example.com", "month@example.com"]
    assert listed(command, "--disconnected-since", "24h") == ["hour@example.com"]
    assert listed(command, "--disconnected-since", "30m") == []
    assert listed(command, "--disconnected", "--disconnected-since", "9w") == [
        "hour@example.com",
        "month@example.com",
    ]


def test_a_table_is_for_people(command: Command, home: Path) -> None:
    """Without `--json` there is a line per user with state, reason and time in IST; never a token."""
    stored(home, (user_named("asha"), session_of(user_named("asha"))))

    result = command("users", "list")

    header, line = result.stdout.splitlines()
    assert header.split()[:2] == ["E-mail", "Name"]
    assert "asha@example.com" in line
    assert "connected" in line
    assert "IST" in line
    assert TOKEN not in result.output


def test_an_end_that_no_server_noted_counts() -> None:
    """A stored session whose known end has passed is shown as expired at that end, whoever ran meanwhile."""
    ends_at = datetime(2026, 6, 17, 0, 30, tzinfo=UTC)
    session = session_of(user_named("asha"), expires_at=ends_at)

    after = as_of(session, ends_at)

    assert as_of(session, ends_at - timedelta(seconds=1)) is session
    assert (after.state, after.reason, after.last_disconnect_at) == (
        LoginState.DISCONNECTED,
        DisconnectReason.EXPIRED,
        ends_at,
    )
    assert as_of(Connection("usr_new"), ends_at) == Connection("usr_new")


def test_a_disconnected_user_is_told_and_loses_the_token(command: Command, home: Path) -> None:
    """`disconnect` ends the stored session as `by_admin`, once; the token leaves the database."""
    stored(home, (user_named("asha"), session_of(user_named("asha"))))

    command("users", "list")  # the first command leaves a mark of its own in the database
    before = secret_count(command)
    first = command("users", "disconnect", "asha@example.com")
    again = command("users", "disconnect", "usr_asha")

    (row,) = json.loads(command("users", "list", "--json", "--disconnected").stdout)
    assert (first.exit_code, again.exit_code) == (0, 0)
    assert "Disconnected" in first.stdout
    assert "nothing was changed" in again.stdout
    assert row["connection"]["reason"] == "by_admin"
    assert row["connection"]["incidentId"]
    assert secret_count(command) == before - 1


def test_removal_needs_a_yes(command: Command, home: Path) -> None:
    """Where nobody can be asked, only `--yes` removes; what is removed is gone."""
    stored(
        home,
        (user_named("asha"), session_of(user_named("asha"))),
        (user_named("boss", role=Role.ADMIN), None),
    )

    refused = command("users", "remove", "asha@example.com")
    done = command("users", "remove", "asha@example.com", "--yes")

    assert (refused.exit_code, done.exit_code) == (1, 0)
    assert "--yes" in refused.stderr
    assert listed(command) == ["boss@example.com"]


def test_the_last_admin_stays(command: Command, home: Path) -> None:
    """Removing the only admin is refused."""
    stored(home, (user_named("boss", role=Role.ADMIN), None))

    result = command("users", "remove", "usr_boss", "--yes")

    assert result.exit_code == 1
    assert "admin" in result.stderr
    assert listed(command) == ["boss@example.com"]


def test_ctrl_c_at_the_password_ends_at_once(home: Path) -> None:
    """On a terminal the password is asked for without an event loop in the way: one Ctrl-C ends the command with 130, silently."""
    controller, terminal = os.openpty()
    process = subprocess.Popen(
        (sys.executable, "-m", "hullwatch", "users", "add", "asha@example.com"),
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
    )
    os.close(terminal)
    said = b""
    try:
        while b"Password:" not in said:
            said += os.read(controller, 1024)
        process.send_signal(signal.SIGINT)
        code = process.wait(30)
    finally:
        process.kill()
        process.wait()
        os.close(controller)

    assert code == 130
    assert b"Traceback" not in said
    assert not (home / "data").exists()
