"""``hullwatch users``: accounts, on the database itself; a server that runs beside it notices within seconds."""

import getpass
import re
import sys
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hullwatch.cli.output import (
    CommandFailed,
    ask,
    in_ist,
    iso,
    note,
    print_json,
    print_table,
    read_line,
    say,
)
from hullwatch.cli.runner import application_for_command, run
from hullwatch.domain.failures import NotFound
from hullwatch.domain.sessions.connection import Connection, DisconnectReason, LoginState
from hullwatch.domain.users.accounts import Role, User

if TYPE_CHECKING:
    from hullwatch.services.users.accounts import AccountService

ACTOR = "command-line"
"""Who did it, in the audit trail."""
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_LONGEST = timedelta(days=3650)

users = typer.Typer(no_args_is_help=True, help="Add, list, disconnect and remove users.")
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
UserName = Annotated[str, typer.Argument(metavar="USER", help="E-mail address or id.")]


def parse_duration(text: str) -> timedelta:
    """Read a duration like 30m, 24h or 7d from the command line; anything else is wrong usage."""
    found = re.fullmatch(r"([0-9]{1,6})([smhdw])", text.strip(), re.ASCII)
    if not found:
        raise typer.BadParameter("write a duration like 30m, 24h or 7d")
    duration = timedelta(**{_UNITS[found[2]]: int(found[1])})
    if not timedelta() < duration <= _LONGEST:
        raise typer.BadParameter(f"a duration is longer than nothing and at most {_LONGEST.days}d")
    return duration


@users.command("add")
def _add(
    email: Annotated[str, typer.Argument(help="E-mail address to log in with.")],
    role: Annotated[Role, typer.Option(help="What the user may do.")] = Role.TRADER,
    name: Annotated[
        str, typer.Option(help="Full name; the part before the @ unless given.", show_default=False)
    ] = "",
) -> None:
    """Add a user; asks for the password twice, or reads one line from standard input."""
    password = _new_password()  # outside the event loop, which would swallow the first Ctrl-C
    run(_add_user(email, role, name or email.strip().partition("@")[0], password))


async def _add_user(email: str, role: Role, name: str, password: str) -> None:
    async with application_for_command() as house:
        user = await house.services.accounts.add(email, password, name, role=role, actor=ACTOR)
        say(f"Added {user.email} as {user.role.value}, id {user.id}.")
        if not any(other.role is Role.ADMIN for other in await house.services.accounts.list_all()):
            note("There is no admin yet: add one with --role admin.")


def _new_password() -> str:
    """Ask twice on a terminal, where it is not shown; else read one line."""
    if not sys.stdin.isatty():
        line = read_line()
        if line is None:
            raise CommandFailed("There is no password on standard input.")
        return line
    try:
        password = getpass.getpass("Password: ")
        again = getpass.getpass("Once more: ")
    except EOFError:
        raise CommandFailed("There was no password.") from None
    if password != again:
        raise CommandFailed("The two passwords differ; nothing was added.")
    return password


@dataclass(frozen=True, slots=True)
class _Line:
    user: User
    connection: Connection


@users.command("list")
def _list(
    only_disconnected: Annotated[
        bool, typer.Option("--disconnected", help="Only users whose Fyers session has ended.")
    ] = False,
    since: Annotated[
        timedelta | None,
        typer.Option(
            "--disconnected-since",
            parser=parse_duration,
            metavar="24h",
            help="Only users who are disconnected and whose session ended within this time.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List users and how their Fyers sessions stand, oldest account first."""
    lines = run(_lines())
    if only_disconnected or since:
        lines = [line for line in lines if line.connection.state is LoginState.DISCONNECTED]
    if since:
        earliest = datetime.now(UTC) - since
        lines = [line for line in lines if _ended_at(line.connection) >= earliest]
    if as_json:
        print_json([_as_json(line) for line in lines])
        return
    columns = ("E-mail", "Name", "Role", "Fyers", "Reason", "Ended / ends", "Fyers id", "Id")
    print_table(columns, [_as_row(line) for line in lines])


async def _lines() -> list[_Line]:
    async with application_for_command() as house, house.services.context.store.begin(read_only=True) as work:
        found = await work.users.list_all()
        stored = {connection.user_id: connection for connection in await work.connections.list_all()}
    now = datetime.now(UTC)
    return [_Line(user, as_of(stored.get(user.id) or Connection(user.id), now)) for user in found]


def as_of(connection: Connection, now: datetime) -> Connection:
    """Return a stored connection as it is by now: no server may have been there to note that its known end passed."""
    if not connection.has_session or connection.expires_at is None or now < connection.expires_at:
        return connection
    return replace(
        connection,
        state=LoginState.DISCONNECTED,
        reason=DisconnectReason.EXPIRED,
        last_disconnect_at=connection.expires_at,
    )


def _ended_at(connection: Connection) -> datetime:
    return connection.last_disconnect_at or datetime.min.replace(tzinfo=UTC)


def _as_row(line: _Line) -> tuple[str, ...]:
    user, connection = line.user, line.connection
    moment = connection.expires_at if connection.has_session else connection.last_disconnect_at
    return (
        user.email,
        user.full_name,
        user.role.value,
        connection.state.value,
        connection.reason.value if connection.reason else "-",
        in_ist(moment),
        connection.fyers_id or "-",
        user.id,
    )


def _as_json(line: _Line) -> dict[str, Any]:
    user = line.user
    return {
        "id": user.id,
        "email": user.email,
        "fullName": user.full_name,
        "role": user.role.value,
        "createdAt": iso(user.created_at),
        "connection": connection_json(line.connection),
    }


def connection_json(connection: Connection) -> dict[str, Any]:
    """Return the connection object of the HTTP API."""
    from hullwatch.web.payloads import ConnectionPayload

    return ConnectionPayload.of(connection).model_dump(mode="json")


async def find_user(accounts: "AccountService", name: str) -> User:
    """Return the user with this e-mail address or id.

    Raises:
        NotFound: There is none; the sentence names what was asked for.
    """
    try:
        return await (accounts.by_email(name) if "@" in name else accounts.get(name))
    except NotFound:
        raise NotFound(f"There is no user {name!r}.") from None


@users.command("disconnect")
def _disconnect(user: UserName) -> None:
    """End a user's Fyers session; the user is told and can log in to Fyers again."""
    run(_disconnect_user(user))


async def _disconnect_user(name: str) -> None:
    from hullwatch.app import new_id
    from hullwatch.services.sessions.stored_disconnects import disconnect_stored

    async with application_for_command() as house:
        user = await find_user(house.services.accounts, name)
        change = await disconnect_stored(
            house.services.context.store,
            user.id,
            actor=ACTOR,
            now=house.services.context.clock.now(),
            new_id=new_id,
        )
        if change is None:
            say(f"{user.email} has no Fyers session; nothing was changed.")
        else:
            say(f"Disconnected {user.email}; a running server notices within seconds.")


@users.command("remove")
def _remove(
    user: UserName,
    is_sure: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Remove a user with watchlist, signals and everything else that is the user's own."""
    found = run(_found(user))
    if not is_sure:
        _make_sure(found)
    run(_remove_user(found))


async def _found(name: str) -> User:
    async with application_for_command() as house:
        return await find_user(house.services.accounts, name)


async def _remove_user(user: User) -> None:
    async with application_for_command() as house:
        await house.services.accounts.remove(user.id, actor=ACTOR)
    say(f"Removed {user.email}.")


def _make_sure(user: User) -> None:
    if not sys.stdin.isatty():
        raise CommandFailed("Removing a user cannot be undone: repeat the command with --yes.")
    if ask(f"Remove {user.email} with everything that is theirs? [y/N]").lower() not in ("y", "yes"):
        raise CommandFailed("Nothing was removed.")
