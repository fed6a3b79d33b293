"""The OpenAPI document and the page of the control calls, and the reset."""

import itertools
from datetime import UTC, datetime
from pathlib import Path

import jsonschema_rs
import orjson
import pytest

from hullwatch.simulator.control.openapi import document
from hullwatch.simulator.control.table import CALLS
from hullwatch.simulator.faults import FaultKind
from hullwatch.simulator.market.candle_changes import Change

SBIN = "NSE:SBIN-EQ"
KINDS = Change.__args__


@pytest.fixture
async def openapi(simulator):
    """Return the document as a client gets it."""
    status, answer = await simulator.control("GET", "/openapi.json")
    assert status == 200
    return answer


def validator(openapi, schema):
    """Return a validator of one schema of the document."""
    return jsonschema_rs.validator_for({**schema, "components": openapi["components"]})


async def test_the_document_has_every_call(openapi):
    """Each address and method once, and no other."""
    listed = {(path, method.upper()) for path, of_path in openapi["paths"].items() for method in of_path}

    assert listed == {(call.path, call.method) for call in CALLS}
    assert len(listed) == len(CALLS)


async def test_every_listed_address_exists(simulator, openapi):
    """A method that is not listed is 405; so routes and document are the same."""
    for path, of_path in openapi["paths"].items():
        address = path.removeprefix("/simulator").replace("{fyersId}", "XA00001").replace("{id}", "none")
        for method in ("GET", "POST", "DELETE", "PUT"):
            status, answer = await simulator.control(method, address)
            assert (status == 405) == (method.lower() not in of_path), (method, path, answer)
            assert status != 404 or "{" in path


async def test_every_example_is_valid_and_accepted(simulator, openapi):
    """Each body fits its schema, and each answer the schema of the answer."""
    await simulator.control("POST", "/accounts", {"fyersId": "XA00001"})
    for call in CALLS:
        operation = openapi["paths"][call.path][call.method.lower()]
        answers = validator(openapi, operation["responses"]["200"]["content"]["application/json"]["schema"])
        bodies = [None]
        if "requestBody" in operation:
            content = operation["requestBody"]["content"]["application/json"]
            bodies = [example["value"] for example in content["examples"].values()]
            for body in bodies:
                validator(openapi, content["schema"]).validate(body)
        for body in bodies:
            await simulator.control("POST", "/accounts", {"fyersId": "XA00001"})
            if "{fyersId}" in call.path:
                await simulator.person()
            address = await _address(simulator, call)
            status, answer = await simulator.control(call.method, address, body)
            assert status == 200, (call.path, body, answer)
            answers.validate(answer)


async def _address(simulator, call):
    """Return a call's path with an account, a fault or a change that exists."""
    path = call.path.removeprefix("/simulator").replace("{fyersId}", "XA00001")
    if "{id}" not in path:
        return path
    body = {"kind": "hang"} if "/faults/" in path else {"kind": "empty", "symbol": SBIN}
    _, made = await simulator.control("POST", path.removesuffix("/{id}"), body)
    return path.replace("{id}", made["id"])


async def test_refusals_have_the_documented_shape(simulator, openapi):
    """Error and field, as for every 4xx."""
    schema = openapi["paths"]["/simulator/clock"]["post"]["responses"]["4XX"]["content"]["application/json"][
        "schema"
    ]
    answers = [
        await simulator.control("POST", "/clock", {"speed": -1}),
        await simulator.control("DELETE", "/faults/none"),
        await simulator.control("PUT", "/clock"),
    ]

    for status, answer in answers:
        assert 400 <= status < 500
        validator(openapi, schema).validate(answer)


@pytest.mark.parametrize("path", ["/", "/simulator", "/simulator/"])
async def test_a_page_lists_the_calls(simulator, path):
    """So that a person who opens the address finds them."""
    async with simulator.http.get(path) as response:
        text = await response.text()

    assert (response.status, response.content_type) == (200, "text/html")
    assert all(call.path in text for call in CALLS)


def test_the_documentation_lists_every_call_and_kind():
    """`docs/simulator.md` has the path of each call, and each kind of fault and of change."""
    page = (Path(__file__).parents[2] / "docs" / "simulator.md").read_text(encoding="utf-8")
    addresses = [f"`{call.method} {call.path}" for call in CALLS]
    kinds = [kind.value for kind in FaultKind] + [
        each.model_fields["kind"].annotation.__args__[0] for each in KINDS
    ]

    assert [each for each in addresses if each not in page] == []
    assert [kind for kind in kinds if f"| `{kind}` |" not in page] == []


def test_no_two_operations_share_an_id():
    """Generators of clients need unique ids."""
    operations = itertools.chain(*(each.values() for each in orjson.loads(document())["paths"].values()))
    ids = [operation["operationId"] for operation in operations]

    assert len(ids) == len(set(ids))


# ---------------------------------------------------------------- the clock and the reset


async def test_the_clock_jumps_to_a_later_moment(simulator):
    """An earlier one is refused, because limits and tokens are in order of time."""
    later = await simulator.control("POST", "/clock", {"now": "2026-11-25T03:45:00Z", "speed": 2})
    earlier = await simulator.control("POST", "/clock", {"now": "2026-11-25T09:14:59+05:30"})

    assert later == (200, {"now": "2026-11-25T09:15:00+05:30", "speed": 2.0})
    assert (earlier[0], earlier[1]["field"]) == (422, "now")


async def test_a_reset_brings_everything_back(simulator):
    """Sessions, accounts, apps, faults, prices, candles, counts, limits and the clock are as at the start."""
    start = await simulator.control("GET", "/clock")
    token = await simulator.person()
    own, candles = await simulator.quote(token), await simulator.candles(token, "2026-11-23")
    await simulator.control("POST", "/prices", {"symbol": SBIN, "price": 5})
    await simulator.control("POST", "/candles", {"kind": "empty", "symbol": SBIN})
    await simulator.control("POST", "/faults", {"kind": "hang", "path": "/data/marketStatus"})
    await simulator.control("POST", "/refresh", {"isOffered": True})
    await simulator.control("POST", "/clock", {"advanceSeconds": 86_400, "speed": 60})
    for _ in range(12):
        await simulator.call("/api/v3/profile", token)

    assert await simulator.control("POST", "/reset") == start

    assert (await simulator.call("/data/marketStatus", token))[0] == 401
    assert (await simulator.control("GET", "/calls"))[1]["total"] == 1
    assert (await simulator.control("GET", "/accounts"))[1] == {"accounts": []}
    assert (await simulator.control("GET", "/refresh"))[1]["isOffered"] is False
    for path, name in (("/faults", "faults"), ("/prices", "prices"), ("/candles", "changes")):
        assert (await simulator.control("GET", path))[1] == {name: []}
    again = await simulator.person()
    assert await simulator.quote(again) == own
    assert await simulator.candles(again, "2026-11-23") == candles


async def test_a_reset_may_set_an_earlier_time(simulator):
    """It is the one call that goes back."""
    answer = await simulator.control("POST", "/reset", {"now": "2026-11-20T09:15:00+05:30", "speed": 0})
    wrong = await simulator.control("POST", "/reset", {"speed": -1})

    assert answer == (200, {"now": "2026-11-20T09:15:00+05:30", "speed": 0.0})
    assert (wrong[0], wrong[1]["field"]) == (422, "speed")
    assert simulator.server.broker.clock.now() == datetime(2026, 11, 20, 3, 45, tzinfo=UTC)


# ---------------------------------------------------------------- faults by symbol, service and code


@pytest.mark.parametrize("status", [200, 400, 403])
@pytest.mark.parametrize("code", [-8, -15, -16, -17, -403])
async def test_a_refusal_has_any_code_and_status(simulator, code, status):
    """The envelope is Fyers'; the session stays valid."""
    token = await simulator.person()
    await simulator.control(
        "POST", "/faults", {"kind": "refusal", "code": code, "status": status, "count": 1}
    )

    refused, answer = await simulator.call("/api/v3/profile", token)

    assert (refused, answer["s"], answer["code"]) == (status, "error", code)
    assert answer["message"]
    assert (await simulator.call("/api/v3/profile", token))[0] == 200


async def test_one_service_refuses_and_the_others_answer(simulator):
    """History is a service of its own, although it is under /data."""
    token = await simulator.person()
    await simulator.control(
        "POST", "/faults", {"kind": "auth_error_all", "service": "history", "status": 200}
    )
    history = (
        f"/data/history?symbol={SBIN}&resolution=5&date_format=1&range_from=2026-11-23&range_to=2026-11-23"
    )

    answers = {
        path: await simulator.call(path, token) for path in (history, "/data/marketStatus", "/api/v3/funds")
    }

    assert [answer[1]["s"] for answer in answers.values()] == ["error", "ok", "ok"]
    assert answers[history] == (
        200,
        {"code": -16, "message": "Could not authenticate the user", "s": "error"},
    )


async def test_a_fault_of_one_symbol_leaves_the_others(simulator):
    """Its history fails; among several quotes its item is an error."""
    token = await simulator.person()
    await simulator.control("POST", "/faults", {"kind": "http_error", "symbol": SBIN, "service": "history"})
    await simulator.control(
        "POST", "/faults", {"kind": "refusal", "symbol": SBIN, "code": -300, "service": "data"}
    )
    day = {"resolution": "5", "date_format": "1", "range_from": "2026-11-23", "range_to": "2026-11-23"}

    bad, _ = await simulator.call("/data/history", token, params={**day, "symbol": SBIN})
    good, _ = await simulator.call("/data/history", token, params={**day, "symbol": "NSE:TCS-EQ"})
    _, quotes = await simulator.call(f"/data/quotes?symbols={SBIN},NSE:TCS-EQ", token)

    assert (bad, good) == (500, 200)
    assert [(item["s"], item["v"].get("code")) for item in quotes["d"]] == [("error", -300), ("ok", None)]


async def test_a_fault_begins_later_and_ends_by_itself(simulator):
    """`afterSeconds` and `seconds` are simulated."""
    token = await simulator.person()
    body = {"kind": "html_page", "afterSeconds": 10, "seconds": 20}
    await simulator.control("POST", "/faults", body)
    seen = []
    for wait_s in (9, 1, 19, 1):
        simulator.time.value += wait_s
        seen.append((await simulator.call("/api/v3/profile", token))[0])

    assert seen == [200, 502, 502, 200]


async def test_prices_in_answers_can_be_nonsense(simulator):
    """The market itself keeps its prices, and so do other symbols."""
    token = await simulator.person()
    true = await simulator.quote(token)
    await simulator.control(
        "POST", "/faults", {"kind": "scaled_prices", "symbol": SBIN, "path": "/data/quotes"}
    )

    _, answer = await simulator.call(f"/data/quotes?symbols={SBIN},NSE:TCS-EQ", token)
    values = {item["n"]: item["v"] for item in answer["d"]}

    assert values[SBIN]["lp"] == pytest.approx(true["lp"] * 1e-9)
    assert values[SBIN]["volume"] == true["volume"]
    assert values["NSE:TCS-EQ"]["lp"] > 1
