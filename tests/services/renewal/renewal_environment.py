"""An environment with an operator who offers renewals and users who consent."""

from datetime import UTC, datetime, timedelta

from fakes.broker import Call

from hullwatch.app.options import ServiceOptions
from hullwatch.domain.audit import AuditEntry
from hullwatch.domain.secrets import AccessToken, RefreshToken
from hullwatch.domain.sessions.connection import Connection
from hullwatch.domain.sessions.tokens import FreshLogin, next_daily_expiry
from services.environment import ALICE, Environment, fyers_id

PIN = "1234"
EARLY = datetime(2026, 11, 23, 23, 30, tzinfo=UTC)
"""05:00 IST: an hour before all sessions end."""


async def renewing(*user_ids: str, **options) -> Environment:
    """Return a running environment whose broker accepts refresh tokens and whose users have consented and logged in."""
    options = {"now": EARLY, **options}
    env = await Environment(options=ServiceOptions(offers_renewal=True), **options).start(
        with_monitoring=False
    )
    env.broker.takes_refresh_tokens = True
    for user_id in user_ids or (ALICE,):
        await env.add_user(user_id)
        await env.renewal_consents.opt_in(user_id, PIN)
        await log_in_by_hand(env, user_id)
    return env


async def log_in_by_hand(
    env: Environment,
    user_id: str = ALICE,
    *,
    lifetime: timedelta | None = None,
    token: RefreshToken | None = None,
) -> Connection:
    """Log a user in as a login through Fyers does."""
    before = env.connections.connection(user_id).fyers_id
    connection = await env.log_in(user_id, lifetime=lifetime)
    token = token or env.broker.issue_refresh_token(fyers_id(user_id))
    login = FreshLogin(AccessToken("access"), token)
    await env.hook.logged_in(connection, login, linked_before=before)
    return connection


def end_of_day(env: Environment) -> datetime:
    """Return the next 06:00 IST."""
    return next_daily_expiry(env.clock.now())


def tries(env: Environment) -> list[Call]:
    """Return the requests for a renewal that reached Fyers."""
    return [call for call in env.broker.calls if call.name == "renew_access_token"]


def lines(env: Environment, kind: str, user_id: str = ALICE) -> list[AuditEntry]:
    """Return a user's audit entries of one kind, oldest first."""
    return [entry for entry in env.store.tables.audit if (entry.kind, entry.user_id) == (kind, user_id)]
