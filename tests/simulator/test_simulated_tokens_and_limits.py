"""Refused tokens and rate limits of each endpoint, on the simulated clock."""

import pytest

TRADING = ["/api/v3/funds", "/api/v3/holdings", "/api/v3/positions", "/api/v3/orders", "/api/v3/tradebook"]
DATA = ["/data/quotes?symbols=NSE:SBIN-EQ", "/data/depth?symbol=NSE:SBIN-EQ", "/data/marketStatus"]
HISTORY = (
    "/data/history?symbol=NSE:SBIN-EQ&resolution=5&date_format=1&range_from=2026-11-23&range_to=2026-11-23"
)
EXPIRED = {"s": "error", "code": -8, "message": "Your token has expired. Please generate a token"}
NOT_TRADING = {"code": -16, "message": "Could not authenticate the user", "s": "error"}
NOT_DATA = {"message": "Please provide valid token", "code": -15, "s": "error"}


async def refusals(simulator, token):
    """Return each kind of endpoint's answer to a token."""
    profile = await simulator.call("/api/v3/profile", token)
    trading = [await simulator.call(path, token) for path in [*TRADING, HISTORY]]
    data = [await simulator.call(path, token) for path in DATA]
    return profile, trading, data


@pytest.mark.parametrize(
    ("ending", "profile_answer"),
    [
        ("expire", EXPIRED),
        ("revoke", {"s": "error", "code": -17, "message": "Could not authenticate the user"}),
    ],
)
async def test_each_service_refuses_a_token_with_its_code(simulator, ending, profile_answer):
    """The codes are -8 or -17, -16 and -15, always with 401."""
    token = await simulator.person()
    await simulator.control("POST", f"/accounts/XA00001/{ending}")

    profile, trading, data = await refusals(simulator, token)
    simulator.time.value += 2
    logout = await simulator.call("/api/v3/logout", token, "POST", json=None)

    assert profile == (401, profile_answer)
    assert trading == [(401, NOT_TRADING)] * 6
    assert data == [(401, NOT_DATA)] * 3
    assert logout == (401, {"s": "error", "code": -16, "message": "Token is Invalid or Expired"})


async def test_a_token_expires(simulator):
    """It is refused from the moment of its expiry."""
    token = await simulator.person(lifetimeSeconds=60)

    simulator.time.value += 59.9
    before = await simulator.call("/api/v3/profile", token)
    simulator.time.value += 0.1
    after = await simulator.call("/api/v3/profile", token)

    assert before[0] == 200
    assert after == (401, EXPIRED)


async def test_profile_may_accept_a_revoked_token(simulator):
    """A recorded run of the real service shows this."""
    token = await simulator.person()
    await simulator.control("POST", "/accounts/XA00001/revoke", {"profileStillAnswers": True})

    profile, trading, data = await refusals(simulator, token)

    assert profile[0] == 200
    assert {answer[0] for answer in trading + data} == {401}


async def test_expire_and_revoke_end_the_newest_session_only(simulator):
    """An older token of the same person stays valid."""
    older, newer = await simulator.person(), await simulator.person()
    await simulator.control("POST", "/accounts/XA00001/revoke")

    assert (await simulator.call("/api/v3/profile", older))[0] == 200
    assert (await simulator.call("/api/v3/profile", newer))[0] == 401


async def test_logout_ends_its_own_token(simulator):
    """Another session of the person stays valid."""
    one, other = await simulator.person(), await simulator.person()

    answer = await simulator.call("/api/v3/logout", one, "POST", data=b"null")

    assert answer[1]["message"] == "you are successfully logged out"
    assert (await simulator.call("/api/v3/funds", one))[1]["code"] == -16
    assert (await simulator.call("/api/v3/funds", other))[0] == 200


@pytest.mark.parametrize(
    ("header", "profile_code"),
    [("", -209), ("{token}", -209), ("NOBODY-100:{token}", -352), ("HULLWATCH-100:garbage", -17)],
)
async def test_a_wrong_header_is_refused(simulator, header, profile_code):
    """/profile names the defect of the header; the data service does not."""
    token = await simulator.person()
    headers = {"Authorization": header.format(token=token)}

    async with simulator.http.get("/api/v3/profile", headers=headers) as response:
        profile = response.status, (await response.json())["code"]
    async with simulator.http.get("/data/marketStatus", headers=headers) as response:
        data = response.status, (await response.json())["code"]

    assert profile == (401, profile_code)
    assert data == (401, -15)


async def test_a_token_belongs_to_its_app(simulator):
    """It is refused with another app's id."""
    await simulator.control(
        "POST", "/apps", {"appId": "OTHER-100", "secret": "s", "redirectUri": "http://localhost/x"}
    )
    token = await simulator.person(appId="OTHER-100")

    assert (await simulator.call("/api/v3/profile", token))[1]["code"] == -352


async def burst(simulator, token, count, path="/api/v3/funds"):
    """Make this many calls in one simulated moment and return their statuses."""
    return [(await simulator.call(path, token))[0] for _ in range(count)]


async def test_ten_calls_a_second_and_no_more(simulator):
    """The eleventh is refused; calls of the next second are answered."""
    token = await simulator.person()

    first = await burst(simulator, token, 11)
    simulator.time.value += 1
    later = await burst(simulator, token, 1)

    assert first == [200] * 10 + [429]
    assert later == [200]


async def test_each_service_has_its_own_429(simulator):
    """There are three forms of 429."""
    token = await simulator.person()
    await burst(simulator, token, 10)

    assert await simulator.call("/data/marketStatus", token) == (
        429, {"message": "request limit reached", "code": 429, "s": "error"},
    )  # fmt: skip
    assert await simulator.call("/api/v3/funds", token) == (
        429, {"s": "error", "code": -429, "message": "Request limit reached, refresh after few mins"},
    )  # fmt: skip
    assert (await simulator.call("/api/v3/profile", token))[1]["code"] == -353


async def test_limits_are_per_person(simulator):
    """The calls of one person do not limit another."""
    token, other = await simulator.person("XA00001"), await simulator.person("XA00002")
    await burst(simulator, token, 10)

    assert await burst(simulator, other, 1) == [200]


async def test_refused_calls_use_the_limit(simulator):
    """A client that repeats a refused token gets 401 and then 429."""
    token = await simulator.person()
    await simulator.control("POST", "/accounts/XA00001/expire")

    assert await burst(simulator, token, 11) == [401] * 10 + [429]


async def test_the_fourth_exceeded_minute_blocks_until_midnight(simulator):
    """Three are tolerated (Fyers API v3 docs, rate limits)."""
    limits, now = simulator.server.broker.limits, simulator.server.broker.clock.epoch()
    token = await simulator.person()
    seen = []
    for minute in range(4):
        for call in range(200):
            limits.admit("HULLWATCH-100", "XA00001", now + 61 * minute + call * 0.11)
        simulator.time.value += 30
        seen.append(await burst(simulator, token, 1))
        simulator.time.value += 31
    simulator.time.value += 3600
    blocked = await burst(simulator, token, 1)
    simulator.time.value += 14 * 3600
    next_day = await burst(simulator, token, 1)

    assert seen == [[429]] * 4
    assert blocked == [429]
    assert next_day[0] in {200, 401}
    assert next_day != [429]
