"""The control calls under `/simulator`: apps, people, sessions, faults, the clock and the call counter.

They are the simulator's own: no limits, no faults, no login. Wrong input is answered with 4xx and `{"error", "field"}`.
"""

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

import orjson

from hullwatch.simulator.accounts import (
    APP_ID,
    BUILT_IN_APP,
    FYERS_ID,
    FyersApp,
    Person,
    RefreshKind,
    Session,
)
from hullwatch.simulator.answers import Answer
from hullwatch.simulator.broker import Broker
from hullwatch.simulator.faults import InvalidFault
from hullwatch.simulator.market.calendar import to_ist

PREFIX = "/simulator"
_LONGEST_LIFETIME_S = 10 * 366 * 86_400.0


class InvalidRequest(Exception):  # noqa: N818  failures are named as facts
    """A control call that cannot be carried out."""

    def __init__(self, status: int, reason: str, field_name: str | None = None) -> None:
        super().__init__(reason)
        self.status = status
        self.field_name = field_name


Order = dict[str, Any]


def answer_control(broker: Broker, method: str, path: str, query: Mapping[str, str], body: bytes) -> Answer:
    """Answer one control call."""
    try:
        return _json(_dispatch(broker, method, path, query, body))
    except InvalidRequest as wrong:
        return _json({"error": str(wrong), "field": wrong.field_name}, wrong.status)
    except InvalidFault as wrong:
        return _json({"error": str(wrong), "field": wrong.field_name}, 422)


def _json(value: Any, status: int = 200) -> Answer:
    return Answer(orjson.dumps(value), status)


def _dispatch(broker: Broker, method: str, path: str, query: Mapping[str, str], body: bytes) -> Any:
    rest = path.removeprefix(PREFIX)
    fixed = _FIXED.get(rest)
    if fixed is not None:
        if method not in fixed:
            raise InvalidRequest(405, f"{path} takes {', '.join(fixed)}")
        return fixed[method](broker, query, body)
    if match := re.fullmatch(r"/faults/([^/]+)", rest):
        _only(method, "DELETE")
        if not broker.faults.remove(match[1]):
            raise InvalidRequest(404, "there is no such fault")
        return {"success": True}
    if match := re.fullmatch(r"/accounts/([^/]+)/(token|expire|revoke)", rest):
        _only(method, "POST")
        if match[1] not in broker.accounts.people:
            raise InvalidRequest(404, "there is no such account", "fyersId")
        act = {"token": _token, "expire": _expire, "revoke": _revoke}[match[2]]
        return act(broker, match[1], _object(body))
    raise InvalidRequest(404, f"there is no control call {path}")


def _only(method: str, allowed: str) -> None:
    if method != allowed:
        raise InvalidRequest(405, f"takes {allowed} only")


def _object(body: bytes) -> Order:
    """Read a JSON object; no body is an empty one."""
    if not body.strip():
        return {}
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidRequest(400, "the body is not JSON") from error
    if not isinstance(value, dict):
        raise InvalidRequest(422, "the body must be a JSON object")
    return value


def _text(order: Order, name: str, pattern: re.Pattern[str] | None = None) -> str:
    value = order.get(name)
    if not isinstance(value, str) or not 0 < len(value) <= 500 or not value.isprintable():
        raise InvalidRequest(422, f"{name} must be a text", name)
    if pattern is not None and not pattern.fullmatch(value):
        raise InvalidRequest(422, f"{name} must look like {pattern.pattern}", name)
    return value


def _number(order: Order, name: str, most: float) -> float | None:
    value = order.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= most:
        raise InvalidRequest(422, f"{name} must be a number from 0 to {most:g}", name)
    return float(value)


def _add_app(broker: Broker, _query: Mapping[str, str], body: bytes) -> Any:
    order = _object(body)
    app_id, secret = _text(order, "appId", APP_ID), _text(order, "secret")
    redirect_uri = _text(order, "redirectUri", re.compile(r"https?://[^\s]+"))
    broker.accounts.add_app(FyersApp(app_id, secret, redirect_uri))
    return {"appId": app_id, "redirectUri": redirect_uri}


def _add_account(broker: Broker, _query: Mapping[str, str], body: bytes) -> Any:
    order = _object(body)
    fyers_id = _text(order, "fyersId", FYERS_ID)
    name = _text(order, "name") if "name" in order else fyers_id
    lifetime_s = _number(order, "lifetimeSeconds", _LONGEST_LIFETIME_S)
    pin = _text(order, "pin", re.compile(r"[0-9]{4,6}")) if "pin" in order else "1234"
    broker.accounts.add_person(Person(fyers_id, name, lifetime_s, pin))
    return {"fyersId": fyers_id, "name": name}


def _list_accounts(broker: Broker, _query: Mapping[str, str], _body: bytes) -> Any:
    people = broker.accounts.people.values()
    return {"accounts": [{"fyersId": person.fyers_id, "name": person.name} for person in people]}


def _token(broker: Broker, fyers_id: str, order: Order) -> Any:
    app_id = _text(order, "appId") if order.get("appId") is not None else BUILT_IN_APP
    if app_id not in broker.accounts.apps:
        raise InvalidRequest(422, "there is no such app", "appId")
    lifetime_s = _number(order, "lifetimeSeconds", _LONGEST_LIFETIME_S)
    session = broker.accounts.open_session(app_id, fyers_id, broker.clock.epoch(), lifetime_s)
    return {"accessToken": session.token, "expiresAt": to_ist(math.floor(session.expires_at)).isoformat()}


def _newest(broker: Broker, fyers_id: str) -> Session:
    session = broker.accounts.newest_session(fyers_id)
    if session is None:
        raise InvalidRequest(409, "this account has no session")
    return session


def _expire(broker: Broker, fyers_id: str, _order: Order) -> Any:
    session = _newest(broker, fyers_id)
    session.expires_at = min(session.expires_at, broker.clock.epoch())
    return {"success": True}


def _revoke(broker: Broker, fyers_id: str, order: Order) -> Any:
    session = _newest(broker, fyers_id)
    still_answers = order.get("profileStillAnswers", False)
    if not isinstance(still_answers, bool):
        raise InvalidRequest(422, "profileStillAnswers must be true or false", "profileStillAnswers")
    session.is_revoked, session.profile_still_answers = True, still_answers
    return {"success": True}


def _refresh(broker: Broker, _query: Mapping[str, str], _body: bytes) -> Any:
    kind = broker.accounts.refresh
    return {"isOffered": kind is not RefreshKind.DISABLED, "kind": kind.value}


def _set_refresh(broker: Broker, query: Mapping[str, str], body: bytes) -> Any:
    order = _object(body)
    is_offered = order.get("isOffered")
    if not isinstance(is_offered, bool):
        raise InvalidRequest(422, "isOffered must be true or false", "isOffered")
    kinds = (RefreshKind.OFFERED, RefreshKind.REFUSED_TOKENS) if is_offered else (RefreshKind.DISABLED,)
    words = [kind.value for kind in kinds]
    word = order.get("kind", words[0])
    if word not in words:
        raise InvalidRequest(422, f"kind must be {' or '.join(words)}", "kind")
    broker.accounts.refresh = RefreshKind(word)
    return _refresh(broker, query, body)


def _add_fault(broker: Broker, _query: Mapping[str, str], body: bytes) -> Any:
    return {"id": broker.faults.add(_object(body), broker.clock.epoch()).id}


def _list_faults(broker: Broker, _query: Mapping[str, str], _body: bytes) -> Any:
    return {"faults": [fault.described() for fault in broker.faults]}


def _clear_faults(broker: Broker, _query: Mapping[str, str], _body: bytes) -> Any:
    broker.faults.clear()
    return {"success": True}


def _calls(broker: Broker, query: Mapping[str, str], _body: bytes) -> Any:
    return broker.calls.report(query.get("fyersId") or None, query.get("path") or None)


def _clear_calls(broker: Broker, _query: Mapping[str, str], _body: bytes) -> Any:
    broker.calls.clear()
    return {"success": True}


def _clock(broker: Broker, _query: Mapping[str, str], _body: bytes) -> Any:
    return {"now": to_ist(broker.clock.epoch()).isoformat(), "speed": broker.clock.speed}


def _set_clock(broker: Broker, query: Mapping[str, str], body: bytes) -> Any:
    order = _object(body)
    if not order or not set(order) <= {"speed", "advanceSeconds"}:
        raise InvalidRequest(422, "the body takes speed, advanceSeconds or both")
    for name, value in order.items():
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise InvalidRequest(422, f"{name} must be a number", name)
    name, speed_before = "speed", broker.clock.speed
    try:
        broker.clock.set_speed(order.get("speed", speed_before))
        name = "advanceSeconds"
        broker.clock.advance(order.get("advanceSeconds", 0))
    except ValueError as error:
        broker.clock.set_speed(speed_before)
        raise InvalidRequest(422, str(error), name) from error
    return _clock(broker, query, body)


_Act = Callable[[Broker, Mapping[str, str], bytes], Any]
_FIXED: dict[str, dict[str, _Act]] = {
    "/apps": {"POST": _add_app},
    "/accounts": {"GET": _list_accounts, "POST": _add_account},
    "/refresh": {"GET": _refresh, "POST": _set_refresh},
    "/faults": {"GET": _list_faults, "POST": _add_fault, "DELETE": _clear_faults},
    "/calls": {"GET": _calls, "DELETE": _clear_calls},
    "/clock": {"GET": _clock, "POST": _set_clock},
}
