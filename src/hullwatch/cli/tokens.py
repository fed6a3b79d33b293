"""``hullwatch tokens``: validating sessions with Fyers."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from hullwatch.cli.output import iso, print_json, print_line, print_table, progress, time_cell
from hullwatch.cli.runner import application_for_command, run
from hullwatch.cli.users import AsJson, connection_json, find_user
from hullwatch.domain.users.accounts import User

if TYPE_CHECKING:
    from hullwatch.app import Application
    from hullwatch.services.sessions.validation import Validation, ValidationTotals

tokens = typer.Typer(no_args_is_help=True, help="Check the Fyers sessions of users.")


@tokens.callback()
def _group() -> None:
    """Check the Fyers sessions of users."""


@tokens.command("validate")
def _validate(
    users: Annotated[
        list[str] | None, typer.Argument(metavar="[USER]...", help="E-mail addresses or ids.")
    ] = None,
    all_users: Annotated[
        bool, typer.Option("--all", help="All users who have ever linked a Fyers account.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Validate sessions with Fyers now. Prints a row per account and the totals."""
    if bool(users) == all_users:
        raise typer.BadParameter("name users, or use --all", param_hint="USER")
    run(_validate_and_print(users or [], as_json=as_json))


async def _validate_and_print(names: list[str], *, as_json: bool) -> None:
    async with application_for_command() as application:
        users = await _selected_users(application, names)
        await application.services.connections.load()
        if not names:
            users = [
                user for user in users if application.services.connections.connection(user.id).generation
            ]
        found: dict[str, Validation] = {}
        with progress("Validating", len(users)) as show_progress:

            def on_progress(validation: "Validation") -> None:
                found[validation.user_id] = validation
                show_progress(len(found))

            totals = await application.services.validation.validate_users(
                # The process ends after this call, so a refused session is decided now or never.
                [user.id for user in users],
                on_progress=on_progress,
                until_decided=True,
            )
        await application.services.connections.store_observations()
    if as_json:
        print_json(_as_json(users, found, totals))
    else:
        _print(users, found, totals)


async def _selected_users(application: "Application", names: list[str]) -> list[User]:
    if not names:
        return await application.services.accounts.list_all()
    users = [await find_user(application.services.accounts, name) for name in names]
    return list({user.id: user for user in users}.values())


def _print(users: list[User], found: "dict[str, Validation]", totals: "ValidationTotals") -> None:
    rows = []
    for user in users:
        validation = found.get(user.id)
        if validation is None:
            rows.append((user.email, "error", "-", "-", "-"))
            continue
        connection = validation.connection
        reason = connection.reason.value if connection.reason else "-"
        at = connection.expires_at if connection.has_session else connection.last_disconnect_at
        rows.append((user.email, validation.result.value, connection.state.value, reason, time_cell(at)))
    print_table(("E-mail", "Session", "State", "Reason", "Disconnected / expires"), rows)
    print_line(
        f"{totals.total} account{'' if totals.total == 1 else 's'}: {totals.valid} valid, "
        f"{totals.invalid} invalid, {totals.unverified} unverified, {totals.errors} errors, in {totals.duration_ms} ms."
    )


def _as_json(users: list[User], found: "dict[str, Validation]", totals: "ValidationTotals") -> dict[str, Any]:
    accounts = []
    for user in users:
        validation = found.get(user.id)
        accounts.append(
            {
                "userId": user.id,
                "email": user.email,
                "result": validation.result.value if validation else "error",
                "checkedAt": iso(validation.checked_at) if validation else None,
                "connection": connection_json(validation.connection) if validation else None,
            }
        )
    results = {
        "total": totals.total,
        "valid": totals.valid,
        "invalid": totals.invalid,
        "unverified": totals.unverified,
        "errors": totals.errors,
        "durationMs": totals.duration_ms,
    }
    return {"accounts": accounts, "results": results}
