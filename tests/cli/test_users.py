"""`hullwatch users`: user accounts in the database."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from typer.testing import Result

from cli.install import PASSWORD, TOKEN, in_database, session_of, stored, user_named
from hullwatch.cli.users import as_of
from hullwatch.domain.sessions.connection import Connection, DisconnectReason, LoginState
from hullwatch.domain.users.accounts import Role
from hullwatch.storage.store import UnitOfWork

Command = Callable[..., Result]


def listed(command: Command, *options: str) -> list[str]:
    """Return the e-mail addresses in the list."""
    result = command("users", "list", "--json", *options)
    assert result.exit_code == 0, result.stderr
    return [row["email"] for row in json.loads(result.stdout)]


def secret_count(command: Command) -> int:
    """Return how many secrets the database contains."""
    return int(command("db", "check").stdout.split(" stored secrets")[0].rsplit(" ", 1)[1])


def test_an_added_user_is_listed(command: Command) -> None:
    """`add` reads the password from standard input; `list --json` does not contain it."""
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


def test_name_and_role_have_defaults(command: Command) -> None:
    """The name is the part before the @, the role is trader, and a note says that there is no admin."""
    result = command("users", "add", "ravi@example.com", stdin=PASSWORD)

    (row,) = json.loads(command("users", "list", "--json").stdout)
    assert (row["fullName"], row["role"]) == ("ravi", "trader")
    assert "no admin" in result.stderr


def test_a_bad_or_missing_password_is_refused(command: Command) -> None:
    """No input, an empty line, a short and a very long password add no user."""
    for stdin in (None, "", "\n", "short\n", "x" * 20_000):
        result = command("users", "add", "asha@example.com", stdin=stdin)

        assert result.exit_code == 1
        assert result.stderr.startswith("hullwatch: ")
    assert listed(command) == []


def test_an_address_cannot_be_added_twice(command: Command) -> None:
    """Upper and lower case make no difference."""
    command("users", "add", "asha@example.com", stdin=PASSWORD)

    result = command("users", "add", "ASHA@example.com", stdin=PASSWORD)

    assert result.exit_code == 1
    assert "exists already" in result.stderr


def test_list_can_be_limited_to_disconnected_users(command: Command, home: Path) -> None:
    """`--disconnected-since` also excludes users who were disconnected earlier."""
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


def test_list_prints_a_table(command: Command, home: Path) -> None:
    """One line per user with state, reason and time in IST, and no token."""
    stored(home, (user_named("asha"), session_of(user_named("asha"))))

    result = command("users", "list")

    header, line = result.stdout.splitlines()
    assert header.split()[:2] == ["E-mail", "Name"]
    assert "asha@example.com" in line
    assert "connected" in line
    assert "IST" in line
    assert TOKEN not in result.output


def test_an_expiry_without_a_running_server_counts() -> None:
    """A stored session whose expiry has passed is shown as expired at that time."""
    expires_at = datetime(2026, 6, 17, 0, 30, tzinfo=UTC)
    session = session_of(user_named("asha"), expires_at=expires_at)

    after = as_of(session, expires_at)

    assert as_of(session, expires_at - timedelta(seconds=1)) is session
    assert (after.state, after.reason, after.last_disconnect_at) == (
        LoginState.DISCONNECTED,
        DisconnectReason.EXPIRED,
        expires_at,
    )
    assert as_of(Connection("usr_new"), expires_at) == Connection("usr_new")


def test_a_new_password_ends_all_logins_of_the_user(command: Command, home: Path) -> None:
    """The old logins could be somebody else's. An easy password and an unknown user change nothing."""
    stored(home, (user_named("asha"), None), (user_named("ravi"), None))
    at = datetime.now(UTC)

    async def sign_in(work: UnitOfWork) -> None:
        for user_id in ("usr_asha", "usr_ravi"):
            await work.logins.add_browser(user_id, user_id, created_at=at, expires_at=at + timedelta(days=1))

    async def signed_in(work: UnitOfWork) -> None:
        found.extend(
            [await work.logins.browser_user(user_id, now=at) for user_id in ("usr_asha", "usr_ravi")]
        )
        found.append(await work.users.password_hash("usr_asha"))

    found: list[str | None] = []
    in_database(home, sign_in)
    easy = command("users", "password", "asha@example.com", stdin="password12\n")
    unknown = command("users", "password", "who@example.com", stdin=f"{PASSWORD}\n")
    in_database(home, signed_in)
    done = command("users", "password", "ASHA@example.com", stdin=f"{PASSWORD}\n")
    in_database(home, signed_in)

    assert (easy.exit_code, unknown.exit_code, done.exit_code) == (1, 1, 0)
    assert "too easy" in easy.stderr
    assert found[:3] == ["usr_asha", "usr_ravi", "no hash"]
    assert found[3:5] == [None, "usr_ravi"]
    assert found[5] != "no hash"
    assert PASSWORD not in done.output


def test_disconnect_removes_the_stored_token(command: Command, home: Path) -> None:
    """The session is stored as disconnected `by_admin`; a second call changes nothing."""
    stored(home, (user_named("asha"), session_of(user_named("asha"))))

    command("users", "list")  # the first command stores a value of its own
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


def test_remove_needs_a_confirmation(command: Command, home: Path) -> None:
    """Without a terminal for the question, only `--yes` removes a user."""
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


def test_the_last_admin_cannot_be_removed(command: Command, home: Path) -> None:
    """Otherwise nobody could administer the server."""
    stored(home, (user_named("boss", role=Role.ADMIN), None))

    result = command("users", "remove", "usr_boss", "--yes")

    assert result.exit_code == 1
    assert "admin" in result.stderr
    assert listed(command) == ["boss@example.com"]
