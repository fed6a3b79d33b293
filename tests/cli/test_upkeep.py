"""`hullwatch keys` and `hullwatch db`: upkeep of what is stored."""

import sqlite3
from collections.abc import Callable
from pathlib import Path

from typer.testing import Result

from cli.install import TOKEN, session_of, stored, user_named
from hullwatch.storage.keys import load_keys

Command = Callable[..., Result]


def test_upgrade_makes_a_database_and_says_when_there_is_nothing_to_do(command: Command, home: Path) -> None:
    """The first run makes the database, readable by its owner only; the second finds it current."""
    first, second = command("db", "upgrade"), command("db", "upgrade")

    file = home / "data" / "hullwatch.db"
    assert (first.exit_code, second.exit_code) == (0, 0)
    assert "already" not in first.stdout
    assert "already" in second.stdout
    assert file.stat().st_mode & 0o077 == 0


def test_a_sound_database_is_said_to_be_sound(command: Command, home: Path) -> None:
    """`check` opens every secret and says how many there were."""
    stored(home, (user_named("asha"), session_of(user_named("asha"))))

    result = command("db", "check")

    assert result.exit_code == 0, result.stderr
    assert "sound" in result.stdout


def test_a_secret_that_cannot_be_read_is_found(command: Command, home: Path) -> None:
    """`check` with the wrong key names what cannot be read, not the secret, and exits 1."""
    stored(home, (user_named("asha"), session_of(user_named("asha"))))
    (home / "data" / "encryption.keys").unlink()
    load_keys("", home / "data")

    result = command("db", "check")

    assert result.exit_code == 1
    assert "usr_asha" in result.stdout
    assert TOKEN not in result.output


def test_a_backup_is_a_whole_database_and_overwrites_nothing(command: Command, home: Path) -> None:
    """`backup` makes a private copy that stands on its own; an existing file is refused and left alone."""
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
    """After `keys rotate` the key file holds one other key, and every secret opens with it."""
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


def test_keys_of_a_setting_are_rotated_by_hand(command: Command, home: Path, monkeypatch) -> None:
    """With one key in the setting, `keys rotate` says what a person has to do first."""
    monkeypatch.setenv("HULLWATCH_ENCRYPTION_KEYS", "QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE=")
    command("db", "upgrade")

    result = command("keys", "rotate")

    assert result.exit_code == 1
    assert "HULLWATCH_ENCRYPTION_KEYS" in result.stderr
