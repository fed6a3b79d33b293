"""``hullwatch keys`` and ``hullwatch db``: upkeep of what is stored, also while a server runs."""

from pathlib import Path
from typing import Annotated, Any

import typer

from hullwatch.cli.output import CommandFailed, note, say
from hullwatch.cli.runner import run

keys = typer.Typer(no_args_is_help=True, help="The key that stored secrets are encrypted with.")
database = typer.Typer(no_args_is_help=True, help="Upgrade, copy and check the database.")


@keys.callback()
def _keys() -> None:
    """The key that stored secrets are encrypted with."""


@keys.command("rotate")
def _rotate() -> None:
    """Bring a new key into use and rewrite every stored secret; safe to interrupt and run again."""
    settings = _settings()
    run(_rotate_keys(settings))


async def _rotate_keys(settings: Any) -> None:
    from hullwatch.storage.rotation import rotate

    await _need_current(settings.database)
    report = await rotate(settings.database, _present_keys(settings), progress=note)
    say(f"Every stored secret is sealed with the new key; rewritten: {report.rewritten}.")
    for what in report.unreadable:
        note(f"No key opens the {what}; it was unreadable before.")
    if report.advice:
        say(report.advice)


@database.command("upgrade")
def _upgrade() -> None:
    """Bring the database to the form this version needs, creating it if there is none."""
    from hullwatch.app import make_data_dir

    settings = _settings()
    make_data_dir(settings.data_dir)
    run(_upgrade_database(settings.database))


async def _upgrade_database(url: str) -> None:
    from hullwatch.storage.upgrade import is_current, upgrade

    was_current = _exists(url) and await is_current(url)
    await upgrade(url)
    say(
        "The database was in its newest form already."
        if was_current
        else "The database is in its newest form."
    )


@database.command("backup")
def _backup(file: Annotated[Path, typer.Argument(metavar="FILE", help="New file to copy to.")]) -> None:
    """Copy the database as it is at one moment, also while a server runs; without the key no secret in it can be read."""
    run(_back_up(_settings().database, file))


async def _back_up(url: str, file: Path) -> None:
    from hullwatch.storage.maintenance import backup

    _need_existing(url)
    note("Copying …")
    await backup(url, file)
    say(f"Copied the database to {file}; keep the key file too, but elsewhere.")


@database.command("check")
def _check() -> None:
    """Check that the database is sound and every secret readable; changes nothing."""
    run(_check_database(_settings()))


async def _check_database(settings: Any) -> None:
    from hullwatch.storage.cipher import Cipher
    from hullwatch.storage.maintenance import check

    _need_existing(settings.database)
    note("Checking …")
    report = await check(settings.database, Cipher(_present_keys(settings)))
    for problem in report.problems:
        say(problem)
    if not report.is_good:
        many = len(report.problems)
        raise CommandFailed(f"The database has {many} problem{'s' if many > 1 else ''}.")
    say(f"The database is sound and all {report.secrets} stored secrets are readable.")


def _settings() -> Any:
    from hullwatch.runtime.logs import configure_logging
    from hullwatch.settings import read_settings

    configure_logging(level="ERROR")
    return read_settings()


def _present_keys(settings: Any) -> Any:
    """Return the keys as they are; unlike a start of the server this makes none."""
    from hullwatch.storage.keys import KEY_FILE, FixedKeys, KeyFile

    text = settings.encryption_keys.get_secret_value()
    return FixedKeys.parse(text) if text.strip() else KeyFile(settings.data_dir / KEY_FILE)


def _exists(url: str) -> bool:
    """Whether there is a database; of PostgreSQL only the server can tell."""
    from hullwatch.storage.address import read_url, sqlite_file

    file = sqlite_file(read_url(url))
    return file is None or file.exists()


def _need_existing(url: str) -> None:
    if not _exists(url):
        raise CommandFailed("There is no database yet; hullwatch serve or hullwatch db upgrade makes one.")


async def _need_current(url: str) -> None:
    from hullwatch.storage.upgrade import is_current

    _need_existing(url)
    if not await is_current(url):
        raise CommandFailed("The database is not in its newest form: run hullwatch db upgrade first.")
