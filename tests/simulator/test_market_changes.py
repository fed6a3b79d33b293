"""Control calls that change prices and candles."""

from datetime import datetime

import pytest

from hullwatch.simulator.feed import Feed
from hullwatch.simulator.market.calendar import day_of, to_date

SBIN = "NSE:SBIN-EQ"
TODAY = "2026-11-23"


def at(clock: str, day: str = TODAY) -> str:
    """Return a time of a day in ISO form."""
    return f"{day}T{clock}+05:30"


def epoch(clock: str, day: str = TODAY) -> int:
    """Return a time of a day as a candle's opening."""
    return int(datetime.fromisoformat(at(clock, day)).timestamp())


async def change(simulator, kind, **fields):
    """Change candles of SBIN; return the id of the change."""
    body = {"kind": kind, "symbol": SBIN, **fields}
    status, answer = await simulator.control("POST", "/candles", body)
    assert status == 200, answer
    return answer["id"]


async def give_prices(simulator, **fields):
    """Give SBIN prices."""
    status, answer = await simulator.control("POST", "/prices", {"symbol": SBIN, **fields})
    assert status == 200, answer
    return answer


async def candle(simulator, token, clock, resolution="5", day=TODAY):
    """Return one candle of SBIN, or nothing."""
    rows = await simulator.candles(token, day, resolution)
    return next((row for row in rows if row[0] == epoch(clock, day)), None)


async def advance_to(simulator, clock, day=TODAY):
    """Move the simulated time forward, to the second."""
    simulator.time.value += epoch(clock, day) - simulator.server.broker.clock.epoch()


# ---------------------------------------------------------------- prices


async def test_a_price_is_set_everywhere_at_once(simulator):
    """Quote, depth and the forming candle have it; closed candles keep their values."""
    token = await simulator.person()
    before = (await simulator.candles(token, TODAY))[:-1]

    answer = await give_prices(simulator, price=900)
    after = await simulator.candles(token, TODAY)
    _, depth = await simulator.call(f"/data/depth?symbol={SBIN}", token)

    assert answer == {"symbol": SBIN, "ltp": 900.0}
    assert (await simulator.quote(token))["lp"] == depth["d"][SBIN]["ltp"] == after[-1][4] == 900
    assert after[:-1] == before
    simulator.time.value += 600
    assert (await candle(simulator, token, "10:10:00"))[1:5] == [900, 900, 900, 900]


async def test_a_path_has_straight_lines_and_gaps(simulator):
    """From 900 at 10:10 to 910 at 10:14, then at once to 850 at 10:17."""
    token = await simulator.person()
    path = [
        {"at": at("10:10:00"), "price": 900}, {"at": at("10:14:00"), "price": 910},
        {"at": at("10:17:00"), "price": 850, "gap": True},
    ]  # fmt: skip
    own = await simulator.quote(token)
    await give_prices(simulator, path=path)
    assert await simulator.quote(token) == own
    await advance_to(simulator, "10:12:00")
    between = await simulator.quote(token)
    simulator.time.value += 3600

    assert between["lp"] == 905
    assert (await candle(simulator, token, "10:10:00"))[1:5] == [900, 910, 900, 910]
    assert (await candle(simulator, token, "10:15:00"))[1:5] == [910, 910, 850, 850]
    assert (await candle(simulator, token, "10:12:00", "1"))[1:5] == [905, 907.5, 905, 907.5]


async def test_after_a_path_the_market_goes_on_from_there(simulator):
    """With `follow`, each change is in proportion to the market's own; deleted, the own prices are back."""
    token = await simulator.person()
    own = await simulator.quote(token)
    await give_prices(simulator, price=2 * own["lp"], then="follow")
    simulator.time.value += 1800
    doubled = (await simulator.quote(token))["lp"]
    await simulator.control("DELETE", f"/prices?symbol={SBIN}")
    single = (await simulator.quote(token))["lp"]

    assert doubled == pytest.approx(2 * single, abs=0.1)
    assert single != own["lp"]
    assert (await simulator.control("GET", "/prices"))[1] == {"prices": []}


async def test_points_in_the_past_give_a_known_history(simulator):
    """A test can so compute an average by hand."""
    token = await simulator.person()
    await give_prices(simulator, path=[{"at": at("09:15:00", "2026-11-20"), "price": 500}])

    closes = {row[4] for row in await simulator.candles(token, "2026-11-20")}

    assert closes == {500}
    assert (await simulator.quote(token))["prev_close_price"] == 500


async def test_a_given_price_moves_the_data_stream(simulator):
    """Although the clock stands still, the values of the second are made anew."""
    broker = simulator.server.broker
    feed = Feed(broker.market)
    topic = feed.topic("sf|nse_cm|3045", broker.clock.epoch())
    before = feed.values(topic, broker.clock.epoch())

    await give_prices(simulator, price=900)

    assert feed.values(topic, broker.clock.epoch())[0] == 90_000 != before[0]


# ---------------------------------------------------------------- candles


async def test_a_candle_is_revised_from_now_on(simulator):
    """Other resolutions and the quote keep the true values; after `secondsActive` they are back."""
    token = await simulator.person()
    true = await candle(simulator, token, "10:00:00")
    await change(
        simulator,
        "revise",
        candle=at("10:00:00"),
        resolution="5",
        close=true[2] + 5,
        afterSeconds=10,
        secondsActive=60,
    )
    assert await candle(simulator, token, "10:00:00") == true
    simulator.time.value += 10
    revised = await candle(simulator, token, "10:00:00")
    simulator.time.value += 60

    assert revised == [true[0], true[1], true[2] + 5, true[3], true[2] + 5, true[5]]
    assert await candle(simulator, token, "10:00:00") == true


async def test_all_candles_from_a_moment_are_revised(simulator):
    """`factor` and `shift` change every price."""
    token = await simulator.person()
    true = await simulator.candles(token, TODAY)
    await change(simulator, "revise", **{"from": at("09:45:00")}, factor=2, shift=1)

    seen = await simulator.candles(token, TODAY)

    assert seen[:6] == true[:6]
    assert [row[4] for row in seen[6:]] == pytest.approx([2 * row[4] + 1 for row in true[6:]])


@pytest.mark.parametrize(
    ("until", "hidden_at", "shown_at"),
    [
        ({"seconds": 70}, "10:11:09", "10:11:10"), ({"successors": 2}, "10:19:59", "10:20:00"),
        ({}, "15:00:00", None),
    ],
)  # fmt: skip
async def test_a_candle_is_withheld(simulator, until, hidden_at, shown_at):
    """For seconds after its close, until so many successors have closed, or for ever."""
    token = await simulator.person()
    await change(simulator, "withhold", candle=at("10:05:00"), resolution="5", **until)

    hidden_before = await candle(simulator, token, "10:05:00")
    await advance_to(simulator, hidden_at)
    hidden = await candle(simulator, token, "10:05:00")
    assert (hidden_before, hidden) == (None, None)
    assert (await simulator.candles(token, TODAY))[-1][0] > epoch("10:05:00")
    if shown_at is not None:
        await advance_to(simulator, shown_at)
        assert await candle(simulator, token, "10:05:00") is not None


async def test_the_final_close_comes_late(simulator):
    """Until three seconds after the close, the candle looks as it did twenty seconds before it."""
    token = await simulator.person()
    await advance_to(simulator, "10:09:40")
    earlier = await candle(simulator, token, "10:05:00")
    await change(simulator, "delay_close", seconds=3)
    seen = []
    for clock in ("10:09:59", "10:10:02", "10:10:03"):
        await advance_to(simulator, clock)
        seen.append(await candle(simulator, token, "10:05:00"))
    await simulator.control("DELETE", "/candles")

    assert seen[:2] == [earlier, earlier]
    assert seen[2] == await candle(simulator, token, "10:05:00") != earlier


async def test_a_change_without_a_symbol_concerns_all(simulator):
    """For a final close that is late everywhere."""
    token = await simulator.person()
    await simulator.control("POST", "/candles", {"kind": "empty"})

    answers = [await simulator.candles(token, TODAY, symbol=symbol) for symbol in (SBIN, "NSE:NIFTY50-INDEX")]
    await simulator.control("DELETE", "/candles")

    assert answers == [[], []]
    assert await simulator.candles(token, TODAY) != []


@pytest.mark.parametrize("rescales", [True, False])
async def test_a_split_divides_prices_from_its_day_on(simulator, rescales):
    """History re-scales the past on that day, or does not; the quote's previous close is comparable."""
    token = await simulator.person(lifetimeSeconds=10**6)
    old, own = await simulator.candles(token, "2026-11-20"), await simulator.quote(token)
    await change(simulator, "split", ratio=2, day=TODAY, rescalesPast=rescales)

    past, quote = await simulator.candles(token, "2026-11-20"), await simulator.quote(token)

    ratio = 2 if rescales else 1
    assert [row[4] for row in past] == pytest.approx([row[4] / ratio for row in old], abs=0.005)
    assert quote["lp"] == pytest.approx(own["lp"] / 2, abs=0.05)
    assert quote["prev_close_price"] == pytest.approx(own["prev_close_price"] / 2, abs=0.05)
    assert abs(quote["chp"] - own["chp"]) < 0.02


async def test_a_split_of_a_later_day_changes_nothing_before(simulator):
    """On its morning the past is divided."""
    token = await simulator.person(lifetimeSeconds=10**6)
    today = await simulator.candles(token, TODAY)
    await change(simulator, "split", ratio=2, day="2026-11-25")
    assert await simulator.candles(token, TODAY) == today
    await advance_to(simulator, "00:00:01", "2026-11-25")

    divided = await simulator.candles(token, TODAY)

    assert divided[0][4] == pytest.approx(today[0][4] / 2, abs=0.005)
    assert divided[0][5] == 2 * today[0][5]


async def test_history_is_empty_beside_a_quote_with_volume(simulator):
    """The answer is no_data; with `from`, candles of yesterday are there and those of today are not."""
    token = await simulator.person()
    await change(simulator, "empty", **{"from": at("00:00:00")}, secondsActive=60)
    assert (await simulator.candles(token, TODAY), len(await simulator.candles(token, "2026-11-20"))) == (
        [],
        73,
    )
    assert (await simulator.quote(token))["volume"] > 0
    simulator.time.value += 60
    assert await simulator.candles(token, TODAY) != []


async def test_prices_of_candles_can_be_zero(simulator):
    """Their times and volumes stay."""
    token = await simulator.person()
    true = await simulator.candles(token, TODAY)
    await change(simulator, "zero", **{"from": at("10:00:00")})

    seen = await simulator.candles(token, TODAY)

    assert seen[:-2] == true[:-2]
    assert [row[1:] for row in seen[-2:]] == [[0, 0, 0, 0, row[5]] for row in true[-2:]]


async def test_candles_can_open_off_the_grid(simulator):
    """Five minutes are counted from 09:16, and the values are those of these minutes."""
    token = await simulator.person()
    minutes = {row[0]: row for row in await simulator.candles(token, TODAY, "1")}
    await change(simulator, "off_grid", seconds=60, resolution="5")

    rows = await simulator.candles(token, TODAY)

    assert [row[0] for row in rows] == list(range(epoch("09:16:00"), epoch("10:07:00"), 300))
    assert all(row[4] == minutes[row[0] + 240][4] for row in rows[:-1])


async def test_nothing_trades_for_a_while(simulator):
    """The slot has no candle, and the quote stands still in it."""
    token = await simulator.person()
    await change(simulator, "no_trades", **{"from": at("10:10:00"), "to": at("10:15:00")})
    quotes = []
    for clock in ("10:10:00", "10:14:59", "10:16:00"):
        await advance_to(simulator, clock)
        quotes.append(await simulator.quote(token))

    assert await candle(simulator, token, "10:10:00") is None
    assert await candle(simulator, token, "10:15:00") is not None
    assert quotes[0] == quotes[1]
    assert quotes[2]["volume"] > quotes[1]["volume"]


async def test_a_change_ends_when_it_is_deleted(simulator):
    """An unknown one is 404; the list has the body of each."""
    token = await simulator.person()
    true = await simulator.candles(token, TODAY)
    change_id = await change(simulator, "empty")
    _, listed = await simulator.control("GET", "/candles")
    deleted = await simulator.control("DELETE", f"/candles/{change_id}")

    assert [one["body"] for one in listed["changes"]] == [{"kind": "empty", "symbol": SBIN}]
    assert deleted[0] == 200
    assert (await simulator.control("DELETE", f"/candles/{change_id}"))[0] == 404
    assert await simulator.candles(token, TODAY) == true


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/prices", {"symbol": "NSE:NOPE-EQ", "price": 5}, "symbol"),
        ("/prices", {"symbol": SBIN, "price": 0}, "price"),
        ("/prices", {"symbol": SBIN, "price": "5"}, "price"),
        ("/prices", {"symbol": SBIN, "price": 5, "colour": "red"}, "colour"),
        ("/prices", {"symbol": SBIN, "path": [{"price": 5}]}, "path"),
        ("/prices", {"symbol": SBIN, "path": []}, "path"),
        ("/prices", {"symbol": SBIN, "path": [{"at": "10:05", "price": 5}]}, "path"),
        (
            "/prices",
            {"symbol": SBIN, "path": [{"afterSeconds": 9, "price": 5}, {"afterSeconds": 8, "price": 5}]},
            "path",
        ),
        ("/candles", {}, "kind"),
        ("/candles", {"kind": "vanish", "symbol": SBIN}, "kind"),
        ("/candles", {"kind": "split", "ratio": 2, "day": TODAY}, "symbol"),
        ("/candles", {"kind": "empty", "symbol": "NSE:NOPE-EQ"}, "symbol"),
        ("/candles", {"kind": "revise", "symbol": SBIN, "close": -1}, "close"),
        ("/candles", {"kind": "revise", "symbol": SBIN, "candle": "yesterday", "close": 1}, "candle"),
        ("/candles", {"kind": "revise", "symbol": SBIN, "candle": 1795146300, "close": 1}, "candle"),
        ("/candles", {"kind": "zero", "symbol": SBIN, "resolution": "weekly"}, "resolution"),
        ("/candles", {"kind": "delay_close", "symbol": SBIN}, "seconds"),
        ("/candles", {"kind": "off_grid", "symbol": SBIN, "seconds": 61}, "seconds"),
        ("/candles", {"kind": "no_trades", "symbol": SBIN, "to": at("10:00:00")}, "from"),
        ("/candles", {"kind": "split", "symbol": SBIN, "ratio": 0, "day": TODAY}, "ratio"),
        ("/candles", {"kind": "split", "symbol": SBIN, "ratio": 2, "day": "23-11-2026"}, "day"),
        ("/candles", {"kind": "withhold", "symbol": SBIN, "successors": 0}, "successors"),
    ],
)
async def test_wrong_input_is_refused_by_field(simulator, path, body, field):
    """The status is 422 and nothing changes."""
    status, answer = await simulator.control("POST", path, body)

    assert (status, answer["field"]) == (422, field), answer
    assert (await simulator.control("GET", "/candles"))[1] == {"changes": []}
    assert (await simulator.control("GET", "/prices"))[1] == {"prices": []}


@pytest.mark.parametrize("ratio", [1_000, 0.001])
async def test_extreme_values_are_answered(simulator, ratio):
    """Many splits and tiny prices overflow nothing and divide by nothing."""
    token = await simulator.person()
    await give_prices(simulator, path=[{"at": at("09:15:00", "2026-11-20"), "price": 1e-9}])
    for _ in range(200):
        await change(simulator, "split", ratio=ratio, day="2026-11-18")

    answers = [await simulator.call(f"/data/quotes?symbols={SBIN}", token)]
    answers.append(await simulator.control("GET", "/prices"))
    await simulator.control("DELETE", "/prices")
    answers.append(await simulator.call(f"/data/quotes?symbols={SBIN}", token))

    assert [status for status, _ in answers] == [200, 200, 200]
    assert await simulator.candles(token, "2026-11-20") != []


# ---------------------------------------------------------------- seconds


@pytest.mark.parametrize("seconds", [5, 10, 15, 30, 45])
async def test_candles_of_seconds_add_up_to_their_minutes(simulator, seconds):
    """Open, extremes, close and volume of a closed day are those of its minutes."""
    token = await simulator.person()
    minutes = await simulator.candles(token, "2026-11-20", "1")

    rows = await simulator.candles(token, "2026-11-20", f"{seconds}S")

    assert {(row[0] - epoch("09:15:00", "2026-11-20")) % seconds for row in rows} == {0}
    span = 180  # a multiple of a minute and of 45 seconds
    for start in range(rows[0][0], rows[0][0] + 30 * span, span):
        fine = [row for row in rows if start <= row[0] < start + span]
        coarse = [row for row in minutes if start <= row[0] < start + span]
        assert (fine[0][1], fine[-1][4]) == (coarse[0][1], coarse[-1][4])
        assert max(row[2] for row in fine) == max(row[2] for row in coarse)
        assert min(row[3] for row in fine) == min(row[3] for row in coarse)
        assert sum(row[5] for row in fine) == sum(row[5] for row in coarse)


async def test_candles_of_seconds_exist_for_thirty_trading_days(simulator):
    """The forming one is included, with the quote's last price."""
    token = await simulator.person()
    today = day_of(epoch("10:00:00"))
    days = simulator.server.broker.market.source.days(SBIN, today - 90, today)[-31:-29]
    texts = [to_date(day).isoformat() for day in days]

    counts = [len(await simulator.candles(token, text, "45S")) for text in texts]
    now = await simulator.candles(token, TODAY, "5S")

    assert [count > 0 for count in counts] == [False, True]
    assert now[-1][0] == epoch("10:07:30")
    assert now[-2][4] == (await simulator.quote(token))["lp"]
