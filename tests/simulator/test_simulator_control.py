"""The control calls: clock, counter, faults, and answers to hostile input."""

import asyncio
import io
import json

import aiohttp
import pytest


async def test_the_clock_runs_at_its_speed_and_jumps(simulator):
    """Both start from the present simulated moment."""
    simulator.time.value += 10
    first = await simulator.control("GET", "/clock")
    await simulator.control("POST", "/clock", {"speed": 60})
    simulator.time.value += 10
    second = await simulator.control("POST", "/clock", {"advanceSeconds": 3600})

    assert first == (200, {"now": "2026-11-23T10:07:40+05:30", "speed": 1.0})
    assert second == (200, {"now": "2026-11-23T11:17:40+05:30", "speed": 60.0})


@pytest.mark.parametrize(
    "body",
    [
        {}, {"advanceSeconds": -1}, {"speed": -1}, {"speed": "fast"}, {"speed": True}, {"advanceSeconds": None},
        {"now": "2026-01-01T00:00:00Z"}, [], {"speed": 1e9}, {"advanceSeconds": 1e18}, {"speed": 5, "advanceSeconds": -1},
    ],
)  # fmt: skip
async def test_the_clock_never_goes_back(simulator, body):
    """Unusable settings are refused and change nothing."""
    before = await simulator.control("GET", "/clock")

    status, answer = await simulator.control("POST", "/clock", body)

    assert status == 422
    assert answer["error"]
    assert await simulator.control("GET", "/clock") == before


async def test_calls_are_counted_by_account_path_and_status(simulator):
    """A refused call counts for the account in its token; control calls do not count."""
    token, other = await simulator.person("XA00001"), await simulator.person("XA00002")
    await simulator.call("/api/v3/profile", token)
    await simulator.call("/api/v3/profile", other)
    await simulator.control("POST", "/accounts/XA00001/expire")
    simulator.time.value += 61
    await simulator.call("/api/v3/profile", token)
    await simulator.call("/data/marketStatus", token)
    await simulator.call("/data/marketStatus", token + "x")

    _, mine = await simulator.control("GET", "/calls?fyersId=XA00001")
    _, profile = await simulator.control("GET", "/calls?path=/api/v3/profile")
    _, data = await simulator.control("GET", "/calls?fyersId=XA00001&path=/data/")

    assert mine == {
        "total": 4, "byPath": {"/api/v3/profile": 2, "/data/marketStatus": 2}, "byStatus": {"200": 1, "401": 3},
        "perMinuteMax": 3,
    }  # fmt: skip
    assert (profile["total"], profile["perMinuteMax"]) == (3, 1)
    assert (data["total"], data["byStatus"]) == (2, {"401": 2})


async def test_the_counter_is_reset(simulator):
    """After DELETE no call is counted."""
    await simulator.call("/api/v3/profile", await simulator.person())

    await simulator.control("DELETE", "/calls")

    _, answer = await simulator.control("GET", "/calls")
    assert answer == {"total": 0, "byPath": {}, "byStatus": {}, "perMinuteMax": 0}


async def fault(simulator, kind, **fields):
    """Add a fault and return its id."""
    status, answer = await simulator.control("POST", "/faults", {"kind": kind, **fields})
    assert status == 200, answer
    return answer["id"]


async def test_an_http_error_is_sent_as_given(simulator):
    """Status, body, type and headers are those of the fault."""
    token = await simulator.person()
    await fault(
        simulator,
        "http_error",
        status=418,
        body="<p>tea</p>",
        contentType="text/x-tea",
        headers={"Retry-After": "7"},
    )

    async with simulator.http.get(
        "/api/v3/profile", headers={"Authorization": f"HULLWATCH-100:{token}"}
    ) as response:
        assert response.status == 418
        assert response.headers["Content-Type"] == "text/x-tea"
        assert response.headers["Retry-After"] == "7"
        assert await response.text() == "<p>tea</p>"


async def test_a_fault_may_answer_a_json_object(simulator):
    """A body given as JSON is sent as JSON."""
    await fault(simulator, "http_error", status=500, body={"s": "error", "code": -99, "message": "Something"})

    answer = await simulator.call("/api/v3/profile", await simulator.person())

    assert answer == (500, {"s": "error", "code": -99, "message": "Something"})


@pytest.mark.parametrize(
    ("order", "status", "start"),
    [
        ({"kind": "html_page"}, 502, "<!DOCTYPE html>"),
        ({"kind": "html_page", "status": 403}, 403, "<!DOCTYPE html>"),
        ({"kind": "address_ban"}, 429, "<!DOCTYPE html>"),
        ({"kind": "rate_limit"}, 429, '{"message":"request limit reached"'),
        ({"kind": "rate_limit", "contentType": "text/html"}, 429, "<!DOCTYPE html>"),
        ({"kind": "rate_limit", "body": "<html></html>"}, 429, "<!DOCTYPE html>"),
        ({"kind": "empty_body"}, 200, ""),
        ({"kind": "auth_error"}, 401, '{"message":"Please provide valid token"'),
        ({"kind": "auth_error_all"}, 401, '{"message":"Please provide valid token"'),
    ],
)
async def test_faults_that_answer_instead_of_the_broker(simulator, order, status, start):
    """Each kind has its status and its body."""
    token = await simulator.person()
    await simulator.control("POST", "/faults", order)

    async with simulator.http.get(
        "/data/marketStatus", headers={"Authorization": f"HULLWATCH-100:{token}"}
    ) as response:
        assert response.status == status
        assert (await response.text()).startswith(start)


async def test_malformed_json_cannot_be_parsed(simulator):
    """The body ends early although its length is right."""
    token = await simulator.person()
    await fault(simulator, "malformed_json")

    async with simulator.http.get(
        "/data/marketStatus", headers={"Authorization": f"HULLWATCH-100:{token}"}
    ) as response:
        text = await response.text()

    assert response.status == 200
    with pytest.raises(json.JSONDecodeError):
        json.loads(text)


async def test_wrong_types_keep_the_shape_of_an_answer(simulator):
    """The envelope is still ok; its values have other types."""
    token = await simulator.person()
    await fault(simulator, "wrong_types")

    status, answer = await simulator.call("/data/quotes?symbols=NSE:SBIN-EQ", token)

    assert (status, answer["s"]) == (200, "ok")
    assert isinstance(answer["d"], dict)
    assert answer["d"]["0"]["v"]["lp"] == "n/a"


@pytest.mark.parametrize("kind", ["reset", "drop_after_bytes", "hang"])
async def test_a_fault_can_break_the_connection(simulator, kind):
    """The client's connection breaks, and the counter has a call without an answer."""
    token = await simulator.person()
    await fault(simulator, kind, latencyMs=1)

    with pytest.raises((aiohttp.ClientError, ConnectionError)):
        await simulator.call("/api/v3/profile", token)

    _, calls = await simulator.control("GET", "/calls")
    assert set(calls["byStatus"]) == {"0"}


async def test_a_hanging_call_ends_with_its_caller_or_the_simulator(simulator):
    """It gets no answer, and the simulator stops without waiting for it."""
    token = await simulator.person()
    await fault(simulator, "hang", count=1)
    waiting = asyncio.ensure_future(simulator.call("/api/v3/profile", token))
    while (await simulator.control("GET", "/faults"))[1]["faults"][0]["left"] != 0:
        pass

    await simulator.server.stop()

    with pytest.raises((aiohttp.ClientError, ConnectionError)):
        await waiting


async def test_latency_delays_the_true_answer(simulator):
    """The answer after the delay is the ordinary one."""
    token = await simulator.person()
    await fault(simulator, "latency", latencyMs=5)

    assert (await simulator.call("/api/v3/profile", token))[0] == 200


async def test_an_auth_error_happens_once(simulator):
    """By default one call is refused, and the session stays valid."""
    token = await simulator.person()
    await fault(simulator, "auth_error", fyersId="XA00001")

    assert [(await simulator.call("/api/v3/profile", token))[0] for _ in range(2)] == [401, 200]


async def test_faults_choose_by_account_path_and_count(simulator):
    """The path is a beginning, and the count is used up."""
    one, other = await simulator.person("XA00001"), await simulator.person("XA00002")
    await fault(simulator, "html_page", fyersId="XA00001", path="/data/", count=2)

    async def statuses(token, path):
        return [(await simulator.call(path, token))[0] for _ in range(3)]

    assert await statuses(one, "/api/v3/profile") == [200, 200, 200]
    assert await statuses(other, "/data/marketStatus") == [200, 200, 200]
    assert await statuses(one, "/data/marketStatus") == [502, 502, 200]


async def test_faults_end_on_the_simulated_clock_or_when_deleted(simulator):
    """`seconds` are simulated; a deleted fault ends at once, an unknown one is 404."""
    token = await simulator.person()
    await fault(simulator, "html_page", seconds=60)
    during = (await simulator.call("/api/v3/profile", token))[0]
    simulator.time.value += 60
    after = (await simulator.call("/api/v3/profile", token))[0]
    fault_id = await fault(simulator, "html_page")
    deleted = await simulator.control("DELETE", f"/faults/{fault_id}")
    again = await simulator.control("DELETE", f"/faults/{fault_id}")
    await fault(simulator, "html_page")
    await simulator.control("DELETE", "/faults")

    assert (during, after, deleted[0], again[0]) == (502, 200, 200, 404)
    assert (await simulator.call("/api/v3/profile", token))[0] == 200


async def test_probability_is_drawn_from_the_seed(simulator):
    """About half the calls are hit, and more than none."""
    token = await simulator.person()
    await fault(simulator, "html_page", probability=0.5)
    seen = []
    for _ in range(60):
        simulator.time.value += 1
        seen.append((await simulator.call("/api/v3/profile", token))[0])

    assert 15 < seen.count(502) < 45


async def test_a_clock_skew_shows_in_dates_tokens_and_quotes(simulator):
    """The broker's own time is not shifted."""
    token = await simulator.person()
    right = int((await simulator.quote(token))["tt"])
    await fault(simulator, "clock_skew", skewSeconds=-600)

    async with simulator.http.get(
        "/api/v3/profile", headers={"Authorization": f"HULLWATCH-100:{token}"}
    ) as response:
        date = response.headers["Date"]

    assert date == "Mon, 23 Nov 2026 04:27:30 GMT"
    assert int((await simulator.quote(token))["tt"]) == right - 600


@pytest.mark.parametrize(
    ("order", "name"),
    [
        ({}, "kind"),
        ({"kind": "earthquake"}, "kind"),
        ({"kind": "hang", "probability": 2}, "probability"),
        ({"kind": "hang", "count": 0}, "count"),
        ({"kind": "hang", "count": 1.5}, "count"),
        ({"kind": "hang", "seconds": "long"}, "seconds"),
        ({"kind": "http_error", "status": 99}, "status"),
        ({"kind": "hang", "path": "quotes"}, "path"),
        ({"kind": "hang", "fyersId": 5}, "fyersId"),
        ({"kind": "http_error", "headers": {"X\n": "1"}}, "headers"),
        ({"kind": "http_error", "headers": {"Content-Length": "1"}}, "headers"),
        ({"kind": "http_error", "contentType": "a\r\nb"}, "contentType"),
        ({"kind": "hang", "colour": "red"}, "colour"),
    ],
)
async def test_a_wrong_fault_names_its_field(simulator, order, name):
    """An invalid fault is not added."""
    status, answer = await simulator.control("POST", "/faults", order)

    assert (status, answer["field"]) == (422, name)
    assert (await simulator.control("GET", "/faults"))[1] == {"faults": []}


@pytest.mark.parametrize(
    ("method", "path", "body", "expected"),
    [
        ("POST", "/simulator/accounts", b"{", 400),
        ("POST", "/simulator/accounts", b"\xff\xfe", 400),
        ("POST", "/simulator/accounts", b"[1]", 422),
        ("POST", "/simulator/accounts", b'{"fyersId": "<b>"}', 422),
        ("POST", "/simulator/apps", b'{"appId": "X"}', 422),
        ("POST", "/simulator/accounts/NOBODY/token", b"", 404),
        ("POST", "/simulator/accounts/%2e%2e/token", b"", 404),
        ("POST", "/simulator/accounts/XA00001/expire", b"", 409),
        ("POST", "/simulator/accounts/XA00001/token", b'{"lifetimeSeconds": -1}', 422),
        ("POST", "/simulator/accounts/XA00001/token", b'{"appId": "NONE-100"}', 422),
        ("GET", "/simulator/nothing", b"", 404),
        ("PUT", "/simulator/clock", b"", 405),
        ("POST", "/api/v3/validate-authcode", b"{", 400),
        ("POST", "/api/v3/validate-authcode", b"[]", 400),
        ("POST", "/api/v3/validate-authcode", b'"\\ud800"', 400),
        ("POST", "/api/v3/validate-authcode", b"x" * (1024 * 1024 + 1), 413),
        ("GET", "/api/v3/nothing", b"", 404),
        ("POST", "/api/v3/profile", b"", 405),
        ("GET", "/data/quotes?symbols=%ff%00", b"", 401),
        ("GET", "/api/v3/generate-authcode?client_id=%ed%a0%80", b"", 400),
    ],
)
async def test_hostile_input_is_answered_with_4xx_json(simulator, method, path, body, expected):
    """The requests are broken, huge or nonsensical."""
    await simulator.control("POST", "/accounts", {"fyersId": "XA00001", "name": "Asha"})

    async with simulator.http.request(method, path, data=io.BytesIO(body)) as response:
        assert response.status == expected
        assert isinstance(await response.json(), dict)


async def test_an_unreadable_token_counts_for_no_account(simulator):
    """The call is refused."""
    await simulator.call("/data/marketStatus", "a.b.c")
    await simulator.call("/data/marketStatus", "x.eyJmeV9pZCI6MX0.y")

    _, answer = await simulator.control("GET", "/calls")
    assert answer["byStatus"] == {"401": 2}


async def test_a_body_with_a_wrong_encoding_is_refused(simulator):
    """A body declared as gzip that is none is 4xx."""
    async with simulator.http.post(
        "/api/v3/validate-authcode", data=b"not gzip", headers={"Content-Encoding": "gzip"}
    ) as response:
        assert 400 <= response.status < 500


async def test_the_clock_does_not_pass_the_year_2200(simulator):
    """Later dates would overflow."""
    statuses = {(await simulator.control("POST", "/clock", {"advanceSeconds": 316e6}))[0] for _ in range(20)}

    assert statuses == {200, 422}
    assert (await simulator.control("GET", "/clock"))[1]["now"].startswith("219")


async def test_bytes_that_are_no_http_are_answered_400(simulator, caplog):
    """The log has no traceback."""
    reader, writer = await asyncio.open_connection("127.0.0.1", simulator.server.port)
    writer.write(b"GET /\xb2?x HTTP/1.1\r\nHost: x\r\n\r\n\x00\x01nonsense\r\n\r\n")
    answer = await reader.readline()
    writer.close()

    assert answer.startswith(b"HTTP/1.0 400") or b" 40" in answer
    assert caplog.records == []
