"""What faults do to the true body of an answer."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

import orjson

from hullwatch.simulator.answers import Answer
from hullwatch.simulator.faults import Fault, FaultKind

_PRICES = frozenset({
    "lp", "bid", "ask", "spread", "ch", "open_price", "high_price", "low_price", "prev_close_price", "atp",
    "o", "h", "l", "c", "ltp", "price", "lower_ckt", "upper_ckt", "ltpch", "fp", "fpch",
})  # fmt: skip


def changed_answer(answer: Answer, fault: Fault, symbols: frozenset[str]) -> Answer:
    """Return the answer as the fault leaves it; `symbols` are those that the call asks for."""
    if fault.kind is FaultKind.MALFORMED_JSON:
        return replace(answer, body=answer.body[: len(answer.body) // 2])
    with suppress(orjson.JSONDecodeError):
        body = orjson.loads(answer.body)
        if fault.kind is FaultKind.WRONG_TYPES:
            return replace(answer, body=orjson.dumps(_wrong_types(body)))
        if fault.kind is FaultKind.SCALED_PRICES and isinstance(body, dict):
            _scale(body, fault.given.factor, fault.given.symbol, symbols)
            return replace(answer, body=orjson.dumps(body))
        if fault.kind is FaultKind.REFUSAL and isinstance(body, dict):
            _refuse_item(body, fault)
            return replace(answer, body=orjson.dumps(body))
    return answer


def _wrong_types(value: object, key: str = "") -> object:
    if isinstance(value, dict):
        return {name: _wrong_types(inner, name) for name, inner in value.items()}
    if isinstance(value, list):
        return {str(index): _wrong_types(inner) for index, inner in enumerate(value[:3])}
    if isinstance(value, str):
        return value if key == "s" else 0
    return "n/a"


def _scale(body: dict[str, Any], factor: float, symbol: str | None, symbols: frozenset[str]) -> None:
    if symbol is None or symbols == {symbol}:
        for candle in body.get("candles") or ():
            candle[1:5] = [price * factor for price in candle[1:5]]
    for values in _of_symbol(body, symbol):
        _scale_values(values, factor)


def _of_symbol(body: dict[str, Any], symbol: str | None) -> Iterator[Any]:
    """Return the parts of an answer that are about a symbol, or about any."""
    items = body.get("d") or {}
    if isinstance(items, list):
        yield from (item["v"] for item in items if symbol in {None, item["n"]})
    else:
        yield from (values for name, values in items.items() if symbol in {None, name})
    chain = (body.get("data") or {}).get("optionsChain") if isinstance(body.get("data"), dict) else None
    yield from (row for row in chain or () if symbol in {None, row["symbol"]})


def _scale_values(value: Any, factor: float) -> None:
    for inner in value if isinstance(value, list) else value.values():
        if isinstance(inner, dict | list):
            _scale_values(inner, factor)
    if isinstance(value, dict):
        value.update({name: value[name] * factor for name in _PRICES & value.keys()})


def _refuse_item(body: dict[str, Any], fault: Fault) -> None:
    code, message = fault.given.code or -300, fault.given.message or "Invalid symbol provided"
    for item in body.get("d") or ():
        if item["n"] == fault.given.symbol:
            item["s"], item["v"] = "error", {"errmsg": message, "code": code, "symbol": item["n"]}
