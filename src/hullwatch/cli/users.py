"""``hullwatch users``: user accounts. A running server notices changes of the database within seconds."""

import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hullwatch.cli.output import (
    CommandFailed,
    iso,
    print_json,
    print_line,
    print_note,
    print_table,
    time_cell,
)
from hullwatch.cli.prompts import ask, is_interactive, read_line
from hullwatch.cli.registration import NO_ADMIN
from hullwatch.cli.runner import application_for_command, run
from hullwatch.domain.failures import NotFound
from hullwatch.domain.sessions.connection import Connection, DisconnectReason, LoginState
from hullwatch.domain.users.accounts import Role, User

if TYPE_CHECKING:
    from hullwatch.services.users.accounts import AccountService

ACTOR = "command-line"
"""The actor in the audit trail."""
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_LONGEST = timedelta(days=3650)

users = typer.Typer(
    no_args_is_help=True, help="Add, list, disconnect and remove users, and give them new passwords."
)
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
UserName = Annotated[str, typer.Argument(metavar="USER", help="E-mail address or id.")]


def parse_duration(text: str) -> timedelta:
    """Read a duration like 30m, 24h or 7d from the command line."""
    found = re.fullmatch(r"([0-9]{1,6})([smhdw])", text.strip(), re.ASCII)
    if not found:
        raise typer.BadParameter("write a duration like 30m, 24h or 7d")
    duration = timedelta(**{_UNITS[found[2]]: int(found[1])})
    if not timedelta() < duration <= _LONGEST:
        raise typer.BadParameter(f"the duration must be longer than 0s and at most {_LONGEST.days}d")
    return duration


@users.command("add")
def _add(
    email: Annotated[str, typer.Argument(help="E-mail address to log in with.")],
    role: Annotated[Role, typer.Option(help="What the user may do.")] = Role.TRADER,
    name: Annotated[
        str, typer.Option(help="Full name; the default is the part before the @.", show_default=False)
    ] = "",
) -> None:
    """Add a user. The command asks for the password twice, or reads it from standard input."""
    password = _new_password("No user was added.")
    run(_add_user(email, role, name or email.strip().partition("@")[0], password))


async def _add_user(email: str, role: Role, name: str, password: str) -> None:
    async with application_for_command() as application:
        user = await application.services.accounts.add(email, password, name, role=role, actor=ACTOR)
        print_line(f"Added {user.email} as {user.role.value}, id {user.id}.")
        if not await application.services.accounts.has_admin():
            print_note(NO_ADMIN)


@users.command("password")
def _password(user: UserName) -> None:
    """Give a user a new password, and end all logins of this user. A second factor stays on.

    The command asks for the password twice, or reads it from standard input.
    """
    found = run(_found(user))
    run(_set_password(found, _new_password("The password was not changed.")))


async def _set_password(user: User, password: str) -> None:
    async with application_for_command() as application:
        await application.services.accounts.set_password(user.id, password, actor=ACTOR)
    print_line(
        f"{user.email} has a new password. All logins, API tokens and login links of this user have ended."
    )


def _new_password(otherwise: str) -> str:
    if not is_interactive():
        line = read_line()
        if line is None:
            raise CommandFailed("There is no password on standard input.")
        return line
    password = ask("Password:", is_hidden=True)
    if ask("Password again:", is_hidden=True) != password:
        raise CommandFailed(f"The two passwords differ. {otherwise}")
    return password


@dataclass(frozen=True, slots=True)
class _Row:
    user: User
    connection: Connection


@users.command("list")
def _list(
    only_disconnected: Annotated[
        bool, typer.Option("--disconnected", help="Only users who are disconnected from Fyers.")
    ] = False,
    since: Annotated[
        timedelta | None,
        typer.Option(
            "--disconnected-since",
            parser=parse_duration,
            metavar="24h",
            help="Only users who were disconnected within this time and still are.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List users and the state of their Fyers sessions, oldest account first."""
    rows = run(_rows())
    if only_disconnected or since:
        rows = [row for row in rows if row.connection.state is LoginState.DISCONNECTED]
    if since:
        earliest = datetime.now(UTC) - since
        rows = [row for row in rows if _disconnected_at(row.connection) >= earliest]
    if as_json:
        print_json([_as_json(row) for row in rows])
        return
    columns = ("E-mail", "Name", "Role", "Fyers", "Reason", "Disconnected / expires", "Fyers id", "Id")
    print_table(columns, [_cells(row) for row in rows])


async def _rows() -> list[_Row]:
    async with (
        application_for_command() as application,
        application.services.context.store.begin(read_only=True) as work,
    ):
        found = await work.users.list_all()
        stored = {connection.user_id: connection for connection in await work.connections.list_all()}
    now = datetime.now(UTC)
    return [_Row(user, as_of(stored.get(user.id) or Connection(user.id), now)) for user in found]


def as_of(connection: Connection, now: datetime) -> Connection:
    """Return a stored connection as it is now: expired if no server was running to record its expiry."""
    if not connection.has_session or connection.expires_at is None or now < connection.expires_at:
        return connection
    return replace(
        connection,
        state=LoginState.DISCONNECTED,
        reason=DisconnectReason.EXPIRED,
        last_disconnect_at=connection.expires_at,
    )


def _disconnected_at(connection: Connection) -> datetime:
    return connection.last_disconnect_at or datetime.min.replace(tzinfo=UTC)


def _cells(row: _Row) -> tuple[str, ...]:
    user, connection = row.user, row.connection
    moment = connection.expires_at if connection.has_session else connection.last_disconnect_at
    return (
        user.email,
        user.full_name,
        user.role.value,
        connection.state.value,
        connection.reason.value if connection.reason else "-",
        time_cell(moment),
        connection.fyers_id or "-",
        user.id,
    )


def _as_json(row: _Row) -> dict[str, Any]:
    user = row.user
    return {
        "id": user.id,
        "email": user.email,
        "fullName": user.full_name,
        "role": user.role.value,
        "createdAt": iso(user.created_at),
        "connection": connection_json(row.connection),
    }


def connection_json(connection: Connection) -> dict[str, Any]:
    """Return the connection object of the HTTP API."""
    from hullwatch.web.payloads import ConnectionPayload

    return ConnectionPayload.of(connection).model_dump(mode="json")


async def find_user(accounts: "AccountService", name: str) -> User:
    """Return the user with this e-mail address or id.

    Raises:
        NotFound: There is no such user; the text names the argument.
    """
    try:
        return await (accounts.by_email(name) if "@" in name else accounts.get(name))
    except NotFound:
        raise NotFound(f"There is no user {name!r}.") from None


@users.command("disconnect")
def _disconnect(user: UserName) -> None:
    """Disconnect a user from Fyers. The user is notified and can log in to Fyers again."""
    run(_disconnect_user(user))


async def _disconnect_user(name: str) -> None:
    async with application_for_command() as application:
        services = application.services
        user = await find_user(services.accounts, name)
        async with services.context.store.begin(read_only=True) as work:
            stored = await work.connections.get(user.id)
        if stored is None or not stored.has_session:
            print_line(f"{user.email} has no Fyers session; nothing was changed.")
            return
        await services.validation.mark_user_as_disconnected(user.id, DisconnectReason.BY_ADMIN, actor=ACTOR)
        print_line(f"Disconnected {user.email}. A running server notices within seconds.")


@users.command("remove")
def _remove(
    user: UserName,
    is_confirmed: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
) -> None:
    """Remove a user with the watchlist, the signals and all other data of that user."""
    found = run(_found(user))
    if not is_confirmed:
        _confirm(found)
    run(_remove_user(found))


async def _found(name: str) -> User:
    async with application_for_command() as application:
        return await find_user(application.services.accounts, name)


async def _remove_user(user: User) -> None:
    async with application_for_command() as application:
        await application.services.accounts.remove(user.id, actor=ACTOR)
    print_line(f"Removed {user.email}.")


def _confirm(user: User) -> None:
    if not is_interactive():
        raise CommandFailed("Removing a user cannot be undone. Repeat the command with --yes to confirm.")
    if ask(f"Remove {user.email} and all data of this user? [y/N]").lower() not in ("y", "yes"):
        raise CommandFailed("Nothing was removed.")
