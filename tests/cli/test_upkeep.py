"""`hullwatch keys` and `hullwatch db`: maintenance of the stored data."""

import sqlite3
from collections.abc import Callable
from pathlib import Path

from typer.testing import Result

from cli.install import TOKEN, session_of, stored, user_named
from hullwatch.storage.keys import load_keys

Command = Callable[..., Result]


def test_upgrade_creates_a_database_and_can_be_repeated(command: Command, home: Path) -> None:
    """Only the owner can read the new database; the second run reports that it is up to date."""
    first, second = command("db", "upgrade"), command("db", "upgrade")

    file = home / "data" / "hullwatch.db"
    assert (first.exit_code, second.exit_code) == (0, 0)
    assert "already" not in first.stdout
    assert "already" in second.stdout
    assert file.stat().st_mode & 0o077 == 0


def test_check_passes_an_intact_database(command: Command, home: Path) -> None:
    """`check` decrypts every secret and prints their number."""
    stored(home, (user_named("asha"), session_of(user_named("asha"))))

    result = command("db", "check")

    assert result.exit_code == 0, result.stderr
    assert "intact" in result.stdout


def test_check_reports_a_secret_that_cannot_be_decrypted(command: Command, home: Path) -> None:
    """With the wrong key `check` names the row, not the secret, and exits 1."""
    stored(home, (user_named("asha"), session_of(user_named("asha"))))
    (home / "data" / "encryption.keys").unlink()
    load_keys("", home / "data")

    result = command("db", "check")

    assert result.exit_code == 1
    assert "usr_asha" in result.stdout
    assert TOKEN not in result.output


def test_backup_writes_a_complete_new_file(command: Command, home: Path) -> None:
    """Only the owner can read the copy. An existing file is refused and not changed."""
    stored(home, (user_named("asha"), session_of(user_named("asha"))))
    copy = home / "copy.db"

    done = command("db", "backup", str(copy))
    taken = copy.read_bytes()
    again = command("db", "backup", str(copy))
    nowhere = command("db", "backup", str(home / "missing" / "copy.db"))

    with sqlite3.connect(copy) as database:
        emails = database.execute("SELECT email FROM users").fetchall()
    database.close()
    assert done.exit_code == 0, done.stderr
    assert emails == [("asha@example.com",)]
    assert copy.stat().st_mode & 0o077 == 0
    assert (again.exit_code, nowhere.exit_code) == (1, 1)
    assert copy.read_bytes() == taken


def test_rotating_keys_keeps_every_secret_readable(command: Command, home: Path) -> None:
    """The key file then contains one new key, which decrypts every secret."""
    stored(home, (user_named("asha"), session_of(user_named("asha"))))
    key_file = home / "data" / "encryption.keys"
    before = key_file.read_text()

    result = command("keys", "rotate")

    after = key_file.read_text()
    keys = [line for line in after.splitlines() if not line.startswith("#")]
    assert result.exit_code == 0, result.stderr
    assert len(keys) == 1
    assert keys[0] not in before
    assert key_file.stat().st_mode & 0o777 == 0o600
    assert command("db", "check").exit_code == 0
    assert keys[0] not in result.output


def test_keys_in_a_setting_are_rotated_by_hand(command: Command, home: Path, monkeypatch) -> None:
    """`keys rotate` cannot change a setting, so it names the setting for the user to change."""
    monkeypatch.setenv("HULLWATCH_ENCRYPTION_KEYS", "QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE=")
    command("db", "upgrade")

    result = command("keys", "rotate")

    assert result.exit_code == 1
    assert "HULLWATCH_ENCRYPTION_KEYS" in result.stderr
