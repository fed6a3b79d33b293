"""The control calls under `/simulator`: apps, people, sessions, faults, the clock and the call counter.

They are the simulator's own: no limits, no faults, no login. Wrong input is answered with 4xx and
`{"error", "field"}`.
"""

import math
import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any

import orjson
from pydantic import ConfigDict, Field, StringConstraints

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
from hullwatch.simulator.control_input import ControlInput, InvalidRequest, Text, read_input
from hullwatch.simulator.faults import FaultInput
from hullwatch.simulator.market.calendar import to_ist

PREFIX = "/simulator"


def answer_control(broker: Broker, method: str, path: str, query: Mapping[str, str], body: bytes) -> Answer:
    """Answer one control call."""
    try:
        return _json(_dispatch(broker, method, path, query, body))
    except InvalidRequest as wrong:
        return _json({"error": str(wrong), "field": wrong.field_name}, wrong.status)


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
        return act(broker, match[1], body)
    raise InvalidRequest(404, f"there is no control call {path}")


def _only(method: str, allowed: str) -> None:
    if method != allowed:
        raise InvalidRequest(405, f"takes {allowed} only")


Lifetime = Annotated[float, Field(ge=0, le=10 * 366 * 86_400)]


class AppInput(ControlInput):
    """An app to register."""

    app_id: Annotated[str, StringConstraints(pattern=f"^{APP_ID.pattern}$")]
    secret: Text
    redirect_uri: Annotated[Text, StringConstraints(pattern=r"^https?://\S+$")]


class AccountInput(ControlInput):
    """A person who may log in."""

    fyers_id: Annotated[str, StringConstraints(pattern=f"^{FYERS_ID.pattern}$")]
    name: Text | None = None
    lifetime_seconds: Lifetime | None = None
    pin: Annotated[str, StringConstraints(pattern="^[0-9]{4,6}$")] = "1234"


class TokenInput(ControlInput):
    """A token to issue."""

    app_id: Text = BUILT_IN_APP
    lifetime_seconds: Lifetime | None = None


class RevocationInput(ControlInput):
    """How a session is revoked."""

    profile_still_answers: bool = False


class RefreshInput(ControlInput):
    """How refresh tokens are handled."""

    is_offered: bool
    kind: str | None = None


class ClockInput(ControlInput):
    """A change of the clock."""

    model_config = ConfigDict(extra="forbid")

    speed: float | None = None
    advance_seconds: float = 0.0


def _add_app(broker: Broker, _query: Mapping[str, str], body: bytes) -> Any:
    app = read_input(AppInput, body)
    broker.accounts.add_app(FyersApp(app.app_id, app.secret, app.redirect_uri))
    return {"appId": app.app_id, "redirectUri": app.redirect_uri}


def _add_account(broker: Broker, _query: Mapping[str, str], body: bytes) -> Any:
    account = read_input(AccountInput, body)
    person = Person(account.fyers_id, account.name or account.fyers_id, account.lifetime_seconds, account.pin)
    broker.accounts.add_person(person)
    return {"fyersId": person.fyers_id, "name": person.name}


def _list_accounts(broker: Broker, _query: Mapping[str, str], _body: bytes) -> Any:
    people = broker.accounts.people.values()
    return {"accounts": [{"fyersId": person.fyers_id, "name": person.name} for person in people]}


def _token(broker: Broker, fyers_id: str, body: bytes) -> Any:
    wanted = read_input(TokenInput, body)
    if wanted.app_id not in broker.accounts.apps:
        raise InvalidRequest(422, "there is no such app", "appId")
    session = broker.accounts.open_session(
        wanted.app_id, fyers_id, broker.clock.epoch(), wanted.lifetime_seconds
    )
    return {"accessToken": session.token, "expiresAt": to_ist(math.floor(session.expires_at)).isoformat()}


def _newest(broker: Broker, fyers_id: str) -> Session:
    session = broker.accounts.newest_session(fyers_id)
    if session is None:
        raise InvalidRequest(409, "this account has no session")
    return session


def _expire(broker: Broker, fyers_id: str, _body: bytes) -> Any:
    session = _newest(broker, fyers_id)
    session.expires_at = min(session.expires_at, broker.clock.epoch())
    return {"success": True}


def _revoke(broker: Broker, fyers_id: str, body: bytes) -> Any:
    session = _newest(broker, fyers_id)
    session.profile_still_answers = read_input(RevocationInput, body).profile_still_answers
    session.is_revoked = True
    return {"success": True}


def _refresh(broker: Broker, _query: Mapping[str, str], _body: bytes) -> Any:
    kind = broker.accounts.refresh
    return {"isOffered": kind is not RefreshKind.DISABLED, "kind": kind.value}


def _set_refresh(broker: Broker, query: Mapping[str, str], body: bytes) -> Any:
    wanted = read_input(RefreshInput, body)
    kinds = (
        (RefreshKind.OFFERED, RefreshKind.REFUSED_TOKENS) if wanted.is_offered else (RefreshKind.DISABLED,)
    )
    words = [kind.value for kind in kinds]
    word = words[0] if wanted.kind is None else wanted.kind
    if word not in words:
        raise InvalidRequest(422, f"kind must be {' or '.join(words)}", "kind")
    broker.accounts.refresh = RefreshKind(word)
    return _refresh(broker, query, body)


def _add_fault(broker: Broker, _query: Mapping[str, str], body: bytes) -> Any:
    return {"id": broker.faults.add(read_input(FaultInput, body), broker.clock.epoch()).id}


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
    wanted = read_input(ClockInput, body)
    if not wanted.model_fields_set:
        raise InvalidRequest(422, "the body takes speed, advanceSeconds or both")
    name, speed_before = "speed", broker.clock.speed
    try:
        broker.clock.set_speed(speed_before if wanted.speed is None else wanted.speed)
        name = "advanceSeconds"
        broker.clock.advance(wanted.advance_seconds)
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
