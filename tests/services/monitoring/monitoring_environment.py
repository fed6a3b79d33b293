"""An environment whose market moves, for the tests of monitoring."""

from datetime import datetime

from hullwatch.domain.failures import BrokerService
from hullwatch.domain.monitoring.watches import WatchStatus
from hullwatch.domain.signals.signals import Rule
from services.environment import ALICE, FIVE, INFY, SBIN, Environment, candles_of, quote

MARKET = candles_of(days=2)
DATA, TRADING = BrokerService.DATA, BrokerService.TRADING


def environment(**arguments) -> Environment:
    """Return an environment whose market moves."""
    env = Environment(**arguments)
    env.broker.serve_candles(SBIN, FIVE, MARKET)
    env.broker.serve_candles(INFY, FIVE, candles_of(seed=2, days=2))
    env.broker.serve_quotes([quote(SBIN), quote(INFY)])
    return env


async def watching(env: Environment, *user_ids: str, rule: Rule = Rule.CROSS) -> Environment:
    """Start the jobs and have these users watch SBIN."""
    await env.start()
    for user_id in user_ids:
        await env.watch(user_id, rule=rule)
        await env.monitoring.start(user_id)
    await env.clock.settle()
    return env


def status(env: Environment, user_id: str = ALICE) -> WatchStatus:
    """Return the monitoring status of a user."""
    return env.monitoring.state(user_id).status


def names(env: Environment, user_id: str = ALICE) -> list[str]:
    """Return the names of the calls of a user."""
    return [call.name for call in env.broker.calls_of(user_id)]


async def stretches(env: Environment, user_id: str = ALICE) -> list[tuple[str, datetime, datetime]]:
    """Return today's blind stretches."""
    day = await env.monitoring.coverage(user_id)
    return [(one.reason.value, one.began_at, one.ended_at) for one in day.stretches]
