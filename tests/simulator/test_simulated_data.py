"""Quotes, depth, market status, history and symbol masters over HTTP."""

from datetime import datetime

import pytest

OPENING = int(datetime.fromisoformat("2026-11-23T09:15:00+05:30").timestamp())


async def test_quotes_have_every_field(simulator):
    """The fields are Fyers', consistent with each other and on the tick grid."""
    token = await simulator.person()

    value = await simulator.quote(token)

    assert value["low_price"] <= value["lp"] <= value["high_price"]
    assert value["low_price"] <= value["open_price"] <= value["high_price"]
    assert value["ch"] == pytest.approx(value["lp"] - value["prev_close_price"])
    assert value["chp"] == pytest.approx(100 * value["ch"] / value["prev_close_price"], abs=0.006)
    assert value["ask"] - value["bid"] == pytest.approx(0.05) == pytest.approx(value["spread"])
    assert round(value["lp"] / 0.05, 6).is_integer()
    assert value["volume"] > 0
    assert value["tt"] == str(OPENING + 52 * 60 + 30)
    assert value["fyToken"] == "10100000003045"
    assert {"short_name", "exchange", "description", "original_name", "symbol", "atp"} <= value.keys()


async def test_an_unknown_symbol_is_an_error_item_among_good_ones(simulator):
    """The envelope stays ok."""
    token = await simulator.person()

    status, answer = await simulator.call("/data/quotes?symbols=NSE%3AM%26M-EQ,NSE:NOPE-EQ", token)

    assert (status, answer["s"]) == (200, "ok")
    assert [item["s"] for item in answer["d"]] == ["ok", "error"]
    assert answer["d"][0]["n"] == "NSE:M&M-EQ"
    assert answer["d"][1]["v"]["code"] == -300


@pytest.mark.parametrize("symbols", ["", ",,", "SBIN", ",".join(["NSE:SBIN-EQ"] * 51)])
async def test_quotes_refuses_none_too_many_and_malformed(simulator, symbols):
    """No symbol, more than fifty or no well-formed one is answered with 400 and -50."""
    token = await simulator.person()

    status, answer = await simulator.call("/data/quotes", token, params={"symbols": symbols})

    assert (status, answer["code"], answer["message"]) == (400, -50, "Please provide valid inputs")


async def test_quotes_takes_a_posted_list(simulator):
    """The answer is that of the GET form."""
    token = await simulator.person()

    _, answer = await simulator.call("/data/quotes", token, "POST", json={"symbols": ["NSE:SBIN-EQ"]})

    assert answer["d"][0]["v"]["lp"] == (await simulator.quote(token))["lp"]


async def test_depth_surrounds_the_last_price(simulator):
    """Five bids fall and five offers rise from the quote's best prices."""
    token = await simulator.person()
    quote = await simulator.quote(token)

    _, answer = await simulator.call("/data/depth?symbol=NSE:SBIN-EQ&ohlcv_flag=1", token)
    book = answer["d"]["NSE:SBIN-EQ"]
    bids, offers = [level["price"] for level in book["bids"]], [level["price"] for level in book["ask"]]

    assert len(bids) == len(offers) == 5
    assert (bids[0], offers[0]) == (quote["bid"], quote["ask"])
    assert bids == sorted(bids, reverse=True)
    assert offers == sorted(offers)
    assert book["lower_ckt"] < book["l"] <= book["ltp"] <= book["h"] < book["upper_ckt"]


async def test_depth_of_an_unlisted_symbol_is_refused(simulator):
    """Quotes would return an error item instead."""
    token = await simulator.person()

    assert (await simulator.call("/data/depth?symbol=NSE:NOPE-EQ", token))[0] == 400


@pytest.mark.parametrize(
    ("clock", "status", "derivatives"),
    [
        ("08:00", "CLOSED", "CLOSED"), ("09:01", "PREOPEN", "CLOSED"), ("09:10", "PREOPEN_CLOSED", "CLOSED"),
        ("09:15", "OPEN", "OPEN"), ("15:29", "OPEN", "OPEN"), ("15:30", "CLOSED", "OPEN"), ("15:39", "CLOSED", "OPEN"),
        ("15:45", "CLOSED", "CLOSED"), ("15:50", "POSTCLOSE_START", "CLOSED"), ("18:00", "CLOSED", "CLOSED"),
    ],
)  # fmt: skip
async def test_market_status_follows_the_clock(simulator, clock, status, derivatives):
    """Derivatives trade ten minutes longer. The day is a Wednesday, since 24 November is a holiday."""
    moment = datetime.fromisoformat(f"2026-11-25T{clock}:00+05:30")
    simulator.time.value += moment.timestamp() - simulator.server.broker.clock.epoch()
    token = await simulator.person()

    _, answer = await simulator.call("/data/marketStatus", token)
    rows = {
        (row["exchange"], row["segment"], row["market_type"]): row["status"] for row in answer["marketStatus"]
    }

    assert rows[10, 10, "NORMAL"] == status
    assert rows[10, 11, "NORMAL"] == rows[12, 11, "NORMAL"] == derivatives


async def test_a_holiday_is_closed_all_day(simulator):
    """24 November 2026 is a holiday of NSE."""
    simulator.time.value += 24 * 3600
    token = await simulator.person()

    _, answer = await simulator.call("/data/marketStatus", token)

    assert {row["status"] for row in answer["marketStatus"]} == {"CLOSED"}


async def test_history_includes_the_forming_candle(simulator):
    """At 10:07:30 the last candle opened at 10:05, and its close is the quote's last price."""
    token = await simulator.person()

    candles = await simulator.candles(token, "2026-11-23")

    assert [candle[0] for candle in candles] == [OPENING + 300 * index for index in range(11)]
    assert candles[-1][4] == (await simulator.quote(token))["lp"]


async def test_a_range_that_ends_with_the_last_interval_has_closed_candles_only(simulator):
    """A candle that opens at range_to is given once it is closed."""
    token = await simulator.person()
    asked = {"date_format": "0", "range_from": str(OPENING), "range_to": str(OPENING + 50 * 60)}

    forming = await simulator.candles(token, "", **asked)
    simulator.time.value += 150
    closed = await simulator.candles(token, "", **asked)

    assert forming[-1][0] == OPENING + 45 * 60
    assert closed[-1][0] == OPENING + 50 * 60
    assert closed[:-1] == forming


async def test_a_closed_candle_never_changes(simulator):
    """It is the same an hour later and the next day."""
    token = await simulator.person()
    at_first = (await simulator.candles(token, "2026-11-23"))[:-1]

    simulator.time.value += 3600
    later = await simulator.candles(token, "2026-11-23")
    simulator.time.value += 24 * 3600
    next_day = await simulator.candles(await simulator.person(), "2026-11-23")

    assert later[: len(at_first)] == at_first
    assert next_day[: len(later) - 1] == later[:-1]
    assert len(next_day) == 73  # 72 until 15:15 and the closing auction


@pytest.mark.parametrize("resolution", ["5", "15", "60", "240"])
async def test_longer_candles_are_made_of_minutes(simulator, resolution):
    """Open, extremes, close and volume are those of the minutes, counted from 09:15."""
    token = await simulator.person()
    length = int(resolution) * 60
    minutes = await simulator.candles(token, "2026-11-20", "1")

    longer = await simulator.candles(token, "2026-11-20", resolution)

    assert len(minutes) == 361  # 360 until 15:15 and the closing auction
    for start, first, high, low, close, volume in longer:
        inside = [minute for minute in minutes if start <= minute[0] < start + length]
        assert (start - OPENING) % length == (-3 * 86_400) % length
        assert (first, close) == (inside[0][1], inside[-1][4])
        assert (high, low) == (max(minute[2] for minute in inside), min(minute[3] for minute in inside))
        assert volume == sum(minute[5] for minute in inside)


async def test_daily_candles_carry_midnight_utc(simulator):
    """Weekends and holidays have no candle; today's is forming."""
    token = await simulator.person()

    days = await simulator.candles(token, "", "1D", range_from="2026-11-06", range_to="2026-11-23")

    dates = [
        datetime.fromisoformat(f"2026-11-{day:02}T00:00:00+00:00")
        for day in (6, 9, 11, 12, 13, 16, 17, 18, 19)
    ]
    assert [day[0] for day in days][:9] == [int(date.timestamp()) for date in dates]
    assert days[-1][0] % 86_400 == 0
    assert days[-1][4] == (await simulator.quote(token))["lp"]


async def test_weeks_and_months_hold_their_days(simulator):
    """A week's candle starts on its Monday, a month's on its first day, wherever the range begins."""
    token = await simulator.person()
    days = await simulator.candles(token, "", "D", range_from="2026-11-16", range_to="2026-11-20")

    [week] = await simulator.candles(token, "", "1W", range_from="2026-11-16", range_to="2026-11-20")
    [month] = await simulator.candles(token, "", "1M", range_from="2026-11-16", range_to="2026-11-20")

    assert week[1:] == [
        days[0][1], max(day[2] for day in days), min(day[3] for day in days), days[-1][4],
        sum(day[5] for day in days),
    ]  # fmt: skip
    of_month = await simulator.candles(token, "", "D", range_from="2026-11-01", range_to="2026-11-23")
    assert (month[1], month[4], month[5]) == (
        of_month[0][1],
        of_month[-1][4],
        sum(day[5] for day in of_month),
    )
    [same] = await simulator.candles(token, "", "1W", range_from="2026-11-18", range_to="2026-11-18")
    assert same == week
    assert datetime.fromtimestamp(week[0]).astimezone().timestamp() == week[0]
    assert week[0] == days[0][0]
    assert month[0] == int(datetime.fromisoformat("2026-11-01T00:00:00+00:00").timestamp())


GOOD = {
    "symbol": "NSE:SBIN-EQ", "resolution": "5", "date_format": "1", "range_from": "2026-11-20", "range_to": "2026-11-23",
}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "code", "message"),
    [
        ({"symbol": "NSE:NOPE-EQ"}, -300, "Invalid symbol provided"),
        ({"symbol": ""}, -50, "Invalid input"),
        ({"resolution": "7"}, -50, "Invalid input"),
        ({"resolution": ""}, -50, "Invalid input"),
        ({"date_format": "2"}, -50, "Invalid input"),
        ({"range_from": "20-11-2026"}, -50, "Invalid input"),
        ({"range_from": "2026-02-30"}, -50, "Invalid input"),
        ({"range_from": "2026-11-24"}, -50, "Invalid input"),
        ({"range_from": "2026-08-01"}, -50, "Invalid input"),
        ({"range_from": "2025-11-01", "resolution": "D"}, -50, "Invalid input"),
        ({"cont_flag": "yes"}, -50, "Invalid input"),
        ({"date_format": "0", "range_from": "-5", "range_to": "10"}, -50, "Invalid input"),
    ],
)
async def test_history_refuses_with_422(simulator, change, code, message):
    """Unlisted symbols and every unusable parameter have their documented answer."""
    token = await simulator.person()

    status, answer = await simulator.call("/data/history", token, params=GOOD | change)

    assert (status, answer["code"], answer["message"]) == (422, code, message)


@pytest.mark.parametrize(
    "change",
    [
        {"range_from": "2026-11-21", "range_to": "2026-11-22"},
        {"range_from": "2026-11-25", "range_to": "2026-11-26"},
        {"range_from": "2016-01-01", "range_to": "2016-01-10"},
    ],
)
async def test_nothing_to_show_is_no_data(simulator, change):
    """Weekends, the future, and the time before 2017 are no_data with 200."""
    token = await simulator.person()

    status, answer = await simulator.call("/data/history", token, params=GOOD | change)

    assert status == 200
    assert answer == {"candles": [], "message": "", "s": "no_data"}


async def test_history_takes_a_hundred_days_of_minutes_and_a_year_of_days(simulator):
    """These are the longest documented ranges."""
    token = await simulator.person()

    minutes = await simulator.candles(token, "", "60", range_from="2026-08-16", range_to="2026-11-23")
    days = await simulator.candles(token, "", "1D", range_from="2025-11-23", range_to="2026-11-23")

    assert len(minutes) > 60 * 7
    assert 230 < len(days) < 260


async def test_open_interest_is_added_on_request(simulator):
    """oi_flag=1 adds a seventh column."""
    token = await simulator.person()

    assert {len(candle) for candle in await simulator.candles(token, "2026-11-20", oi_flag="1")} == {7}


async def test_symbol_tokens_come_with_or_without_the_app_id(simulator):
    """The stream's lookup accepts the bare token and every content type."""
    token = await simulator.person()
    body = b'{"symbols": ["NSE:SBIN-EQ", "NSE:NOPE-EQ", "NSE:NIFTY50-INDEX"]}'
    expected = {"NSE:SBIN-EQ": "10100000003045", "NSE:NIFTY50-INDEX": "101000000026000"}

    for header in (token, f"HULLWATCH-100:{token}"):
        headers = {"Authorization": header, "Content-Type": "application/x-www-form-urlencoded"}
        async with simulator.http.post("/data/symbol-token", data=body, headers=headers) as response:
            answer = await response.json()
        assert answer["validSymbol"] == expected
        assert answer["invalidSymbol"] == ["NSE:NOPE-EQ"]


async def test_the_cash_masters_list_what_is_quoted(simulator):
    """The shares and indices of both exchanges need no login."""
    tickers = set()
    for stem in ("NSE_CM", "BSE_CM"):
        _, text = await simulator.call(f"/sym_details/{stem}.csv")
        tickers |= {line.split(",")[9] for line in text.splitlines()}

    assert tickers == set(simulator.server.broker.market.instruments)


async def test_orders_are_refused(simulator):
    """The code is -50, with the text that real apps get, which names the app."""
    token = await simulator.person()

    status, answer = await simulator.call(
        "/api/v3/orders/sync", token, "POST", json={"symbol": "NSE:SBIN-EQ"}
    )

    assert (status, answer["code"]) == (400, -50)
    assert "Algo orders are not allowed from this app HULLWATCH-100" in answer["message"]
