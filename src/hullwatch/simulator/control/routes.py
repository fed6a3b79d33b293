"""Answers the control calls, with their page and their OpenAPI document."""

import re
from collections.abc import Mapping

import orjson

from hullwatch.simulator.answers import Answer
from hullwatch.simulator.broker import Broker
from hullwatch.simulator.control.call import ControlCall, Given
from hullwatch.simulator.control.input import InvalidRequest, read_input
from hullwatch.simulator.control.openapi import document
from hullwatch.simulator.control.page import page
from hullwatch.simulator.control.table import CALLS

PREFIX = "/simulator"
_PAGES = frozenset({"/", PREFIX, f"{PREFIX}/"})
_OPENAPI = f"{PREFIX}/openapi.json"


def is_control(path: str) -> bool:
    """Return whether a path belongs to the simulator itself and not to Fyers."""
    return path in _PAGES or path.startswith(f"{PREFIX}/")


def answer_control(broker: Broker, method: str, path: str, query: Mapping[str, str], body: bytes) -> Answer:
    """Answer one control call; wrong input gets 4xx and `{"error", "field"}`."""
    if method == "GET" and path in _PAGES:
        return Answer(page(), content_type="text/html; charset=utf-8")
    if method == "GET" and path == _OPENAPI:
        return Answer(document())
    try:
        call, parts = _find(method, path)
        given = Given(parts, query, read_input(call.body, body) if call.body is not None else None)
        return Answer(orjson.dumps(call.act(broker, given).model_dump(by_alias=True)))
    except InvalidRequest as wrong:
        return Answer(orjson.dumps({"error": str(wrong), "field": wrong.field_name}), wrong.status)


_PATTERNS: dict[str, re.Pattern[str]] = {
    call.path: re.compile(re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/]+)", re.escape(call.path))) for call in CALLS
}
_BY_ADDRESS = {(call.path, call.method): call for call in CALLS}


def _find(method: str, path: str) -> tuple[ControlCall, Mapping[str, str]]:
    for known, pattern in _PATTERNS.items():
        if match := pattern.fullmatch(path):
            if call := _BY_ADDRESS.get((known, method)):
                return call, match.groupdict()
            methods = [each.method for each in CALLS if each.path == known]
            raise InvalidRequest(405, f"{path} takes {', '.join(methods)}")
    if path in _PAGES or path == _OPENAPI:
        raise InvalidRequest(405, f"{path} takes GET")
    raise InvalidRequest(404, f"there is no control call {path}: GET /simulator lists them")
