"""When accounts ask, with many of them; `hullwatch.services.monitoring.rhythm` and `runner`."""

from services.building import FIVE, SBIN, House, candles_of, quote

USERS = [f"usr_{number:02d}" for number in range(20)]


async def test_a_close_that_wakes_all_at_once_leaves_each_its_own_rhythm() -> None:
    """At a candle's close everybody asks for it in the same second; afterwards they ask spread over the interval, as before."""
    house = await House().start()
    house.broker.serve_candles(SBIN, FIVE, candles_of(days=2))
    house.broker.serve_quotes([quote(SBIN)])
    await house.with_sessions(*USERS)
    for user_id in USERS:
        await house.watch(user_id)
        await house.monitoring.start(user_id)
    await house.clock.advance(5 * 60)

    busy_seconds = []
    for _ in range(5):
        before = len(house.broker.calls)
        await house.clock.advance(1)
        busy_seconds.append(len(house.broker.calls) - before)

    assert sum(busy_seconds) == len(USERS)
    assert max(busy_seconds) < len(USERS) / 2
