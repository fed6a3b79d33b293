"""``hullwatch keys`` and ``hullwatch db``: maintenance of the stored data, also while a server runs."""

from pathlib import Path
from typing import Annotated, Any

import typer

from hullwatch.cli.output import CommandFailed, print_line, print_note
from hullwatch.cli.runner import run

keys = typer.Typer(no_args_is_help=True, help="The key that stored secrets are encrypted with.")
database = typer.Typer(no_args_is_help=True, help="Upgrade, copy and check the database.")


@keys.callback()
def _keys() -> None:
    """The key that stored secrets are encrypted with."""


@keys.command("rotate")
def _rotate() -> None:
    """Make a new key and encrypt every stored secret with it. Safe to interrupt and run again."""
    settings = _settings()
    run(_rotate_keys(settings))


async def _rotate_keys(settings: Any) -> None:
    from hullwatch.storage.rotation import rotate

    await _require_current(settings.database)
    report = await rotate(settings.database, _present_keys(settings), progress=print_note)
    print_line(f"Every stored secret is encrypted with the new key; {report.rewritten} were rewritten.")
    for what in report.unreadable:
        print_note(f"No key decrypts the {what}. It was unreadable before.")
    if report.advice:
        print_line(report.advice)


@database.command("upgrade")
def _upgrade() -> None:
    """Upgrade the database to this version, or create it."""
    from hullwatch.app import make_data_dir

    settings = _settings()
    make_data_dir(settings.data_dir)
    run(_upgrade_database(settings.database))


async def _upgrade_database(url: str) -> None:
    from hullwatch.storage.upgrade import is_current, upgrade

    was_current = _exists(url) and await is_current(url)
    await upgrade(url)
    print_line("The database is already up to date." if was_current else "The database is up to date now.")


@database.command("backup")
def _backup(file: Annotated[Path, typer.Argument(metavar="FILE", help="New file to copy to.")]) -> None:
    """Copy the database in a consistent state, also while a server runs. The copy does not contain the key."""
    run(_back_up(_settings().database, file))


async def _back_up(url: str, file: Path) -> None:
    from hullwatch.storage.maintenance import backup

    _require_existing(url)
    print_note("Copying …")
    await backup(url, file)
    print_line(f"Copied the database to {file}. Keep a copy of the key file too, in another place.")


@database.command("check")
def _check() -> None:
    """Check that the database is intact and every secret can be decrypted. Changes nothing."""
    run(_check_database(_settings()))


async def _check_database(settings: Any) -> None:
    from hullwatch.storage.cipher import Cipher
    from hullwatch.storage.maintenance import check

    _require_existing(settings.database)
    print_note("Checking …")
    report = await check(settings.database, Cipher(_present_keys(settings)))
    for problem in report.problems:
        print_line(problem)
    if not report.is_good:
        many = len(report.problems)
        raise CommandFailed(f"The database has {many} problem{'s' if many > 1 else ''}.")
    print_line(f"The database is intact and all {report.secrets} stored secrets can be decrypted.")


def _settings() -> Any:
    from hullwatch.runtime.logs import configure_logging
    from hullwatch.settings import read_settings

    configure_logging(level="ERROR")
    return read_settings()


def _present_keys(settings: Any) -> Any:
    """Return the existing keys. Unlike a start of the server this makes no new one."""
    from hullwatch.storage.keys import keys_of

    return keys_of(settings.encryption_keys.get_secret_value(), settings.data_dir)


def _exists(url: str) -> bool:
    """Whether there is a database; a PostgreSQL database counts as existing until it is opened."""
    from hullwatch.storage.address import read_url, sqlite_file

    file = sqlite_file(read_url(url))
    return file is None or file.exists()


def _require_existing(url: str) -> None:
    if not _exists(url):
        raise CommandFailed(
            "There is no database yet. Run hullwatch db upgrade or hullwatch serve to create it."
        )


async def _require_current(url: str) -> None:
    from hullwatch.storage.upgrade import is_current

    _require_existing(url)
    if not await is_current(url):
        raise CommandFailed("The database is not up to date. Run hullwatch db upgrade first.")
