"""The expiry warning; `hullwatch.services.sessions.expiry`."""

from datetime import UTC, date, datetime, time, timedelta

from hullwatch.domain.market.calendar import IST
from hullwatch.domain.notifications.notifications import NotificationKind
from hullwatch.domain.sessions.connection import LoginState
from services.environment import ALICE, BOB, MONDAY, Environment

EXPIRING = NotificationKind.SESSION_EXPIRING


def ist(text: str, day: date = MONDAY) -> datetime:
    """Return a time of a day, IST, as the environment keeps it."""
    return datetime.combine(day, time.fromisoformat(text), IST).astimezone(UTC)


async def watched_until(end: str, *, now: str = "10:00") -> Environment:
    """Let Alice, who wants monitoring, and Bob, who does not, log in for a session that ends then."""
    env = Environment(now=ist(now))
    await env.start()
    for user_id in (ALICE, BOB):
        await env.add_user(user_id)
        await env.log_in(user_id, lifetime=ist(end) - ist(now))
        await env.watch(user_id)
    await env.monitoring.start(ALICE)
    return env


async def test_an_expiry_in_market_hours_is_announced_half_an_hour_before() -> None:
    """Only a user who wants monitoring gets the warning, once."""
    env = await watched_until("11:20")
    await env.clock.advance_to(ist("10:49"))
    assert env.notices(ALICE, EXPIRING) == []

    await env.clock.advance_to(ist("11:10"))

    [notice] = env.notices(ALICE, EXPIRING)
    assert notice.created_at == ist("10:50")
    assert "expires at 11:20 IST" in notice.title
    assert env.notices(BOB, EXPIRING) == []
    assert env.connections.connection(BOB).state is LoginState.EXPIRING


async def test_change_and_notice_are_stored_together() -> None:
    """A crash at any moment leaves both or none."""
    env = await watched_until("11:20")
    found = []

    async def record() -> None:
        stored = env.stored(ALICE)
        assert stored is not None
        found.append((stored.state is LoginState.EXPIRING, bool(env.notices(ALICE, EXPIRING))))

    env.store.after_commit = record
    await env.clock.advance_to(ist("10:51"))

    assert (True, True) in found
    assert all(is_near == is_notified for is_near, is_notified in found)


async def test_an_expiry_after_the_close_and_the_daily_one_have_no_warning() -> None:
    """The first costs nothing, and before the daily expiry a new login would not help."""
    late = await watched_until("15:30")
    await late.clock.advance_to(ist("15:31"))
    assert late.notices(ALICE, EXPIRING) == []

    daily = await watched_until("06:00", now="05:00")
    await daily.clock.advance_to(ist("06:01"))
    assert daily.notices(ALICE, EXPIRING) == []
    assert daily.connections.connection(ALICE).state is LoginState.DISCONNECTED


async def test_an_expiry_that_neared_while_stopped_is_announced_at_start() -> None:
    """Whether monitoring is wanted is read from the database."""
    env = await watched_until("11:20")
    env = await env.kill()
    await env.clock.advance_to(ist("11:00"))

    await env.start()
    await env.clock.advance(1)

    assert len(env.notices(ALICE, EXPIRING)) == 1
    assert env.notices(BOB, EXPIRING) == []


async def test_a_restart_in_the_last_half_hour_repeats_no_warning() -> None:
    """The state *expiring* is stored."""
    env = await watched_until("11:20")
    await env.clock.advance_to(ist("10:55"))
    env = await env.kill()

    await env.start()
    await env.clock.advance(timedelta(minutes=10).total_seconds())

    assert len(env.notices(ALICE, EXPIRING)) == 1
