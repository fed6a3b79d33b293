"""When accounts ask, with many of them; `hullwatch.services.monitoring.rhythm` and `runner`."""

from services.environment import FIVE, SBIN, Environment, candles_of, quote

USERS = [f"usr_{number:02d}" for number in range(20)]


async def test_a_close_that_wakes_all_at_once_leaves_each_its_own_rhythm() -> None:
    """At a candle's close everybody asks for it in the same second; afterwards they ask spread over the interval, as before."""
    env = await Environment().start()
    env.broker.serve_candles(SBIN, FIVE, candles_of(days=2))
    env.broker.serve_quotes([quote(SBIN)])
    await env.with_sessions(*USERS)
    for user_id in USERS:
        await env.watch(user_id)
        await env.monitoring.start(user_id)
    await env.clock.advance(5 * 60)

    busy_seconds = []
    for _ in range(5):
        before = len(env.broker.calls)
        await env.clock.advance(1)
        busy_seconds.append(len(env.broker.calls) - before)

    assert sum(busy_seconds) == len(USERS)
    assert max(busy_seconds) < len(USERS) / 2
