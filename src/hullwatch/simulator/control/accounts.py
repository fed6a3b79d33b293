"""Control calls for apps, people and their sessions."""

import math
from typing import Annotated

from pydantic import Field, StringConstraints

from hullwatch.simulator.accounts import (
    APP_ID,
    BUILT_IN_APP,
    FYERS_ID,
    FyersApp,
    Person,
    RefreshKind,
    Session,
)
from hullwatch.simulator.broker import Broker
from hullwatch.simulator.control.call import ControlCall, Given
from hullwatch.simulator.control.input import (
    ControlInput,
    ControlOutput,
    Done,
    InvalidRequest,
    IsoTime,
    Text,
)
from hullwatch.simulator.market.calendar import to_ist

Lifetime = Annotated[float, Field(ge=0, le=10 * 366 * 86_400)]


class AppInput(ControlInput):
    """An app to register."""

    app_id: Annotated[str, StringConstraints(pattern=f"^{APP_ID.pattern}$")]
    secret: Text
    redirect_uri: Annotated[Text, StringConstraints(pattern=r"^https?://\S+$")]


class AppOutput(ControlOutput):
    """A registered app."""

    app_id: str
    redirect_uri: str


class AccountInput(ControlInput):
    """A person who may log in."""

    fyers_id: Annotated[str, StringConstraints(pattern=f"^{FYERS_ID.pattern}$")]
    name: Text | None = None
    lifetime_seconds: Lifetime | None = None
    """How long this person's sessions last; by default until 06:00 IST."""
    pin: Annotated[str, StringConstraints(pattern="^[0-9]{4,6}$")] = "1234"


class AccountOutput(ControlOutput):
    """A person who may log in."""

    fyers_id: str
    name: str


class AccountList(ControlOutput):
    """Every person who may log in."""

    accounts: list[AccountOutput]


class TokenInput(ControlInput):
    """A token to issue."""

    app_id: Text = BUILT_IN_APP
    lifetime_seconds: Lifetime | None = None


class TokenOutput(ControlOutput):
    """An access token."""

    access_token: str
    expires_at: IsoTime


class NoInput(ControlInput):
    """An empty body."""


class RevocationInput(ControlInput):
    """How a session is revoked."""

    profile_still_answers: bool = False


class RefreshInput(ControlInput):
    """How refresh tokens are handled."""

    is_offered: bool
    kind: str | None = None


class RefreshOutput(ControlOutput):
    """How refresh tokens are handled."""

    is_offered: bool
    kind: str


def _add_app(broker: Broker, given: Given) -> AppOutput:
    app: AppInput = given.body
    broker.accounts.add_app(FyersApp(app.app_id, app.secret, app.redirect_uri))
    return AppOutput(app_id=app.app_id, redirect_uri=app.redirect_uri)


def _add_account(broker: Broker, given: Given) -> AccountOutput:
    account: AccountInput = given.body
    person = Person(account.fyers_id, account.name or account.fyers_id, account.lifetime_seconds, account.pin)
    broker.accounts.add_person(person)
    return AccountOutput(fyers_id=person.fyers_id, name=person.name)


def _list_accounts(broker: Broker, _given: Given) -> AccountList:
    people = broker.accounts.people.values()
    return AccountList(accounts=[AccountOutput(fyers_id=one.fyers_id, name=one.name) for one in people])


def _known(broker: Broker, given: Given) -> str:
    fyers_id = given.path["fyersId"]
    if fyers_id not in broker.accounts.people:
        raise InvalidRequest(404, "there is no such account", "fyersId")
    return fyers_id


def _token(broker: Broker, given: Given) -> TokenOutput:
    fyers_id, wanted = _known(broker, given), given.body
    if wanted.app_id not in broker.accounts.apps:
        raise InvalidRequest(422, "there is no such app", "appId")
    session = broker.accounts.open_session(
        wanted.app_id, fyers_id, broker.clock.epoch(), wanted.lifetime_seconds
    )
    return TokenOutput(
        access_token=session.token, expires_at=to_ist(math.floor(session.expires_at)).isoformat()
    )


def _newest(broker: Broker, given: Given) -> Session:
    session = broker.accounts.newest_session(_known(broker, given))
    if session is None:
        raise InvalidRequest(409, "this account has no session")
    return session


def _expire(broker: Broker, given: Given) -> Done:
    session = _newest(broker, given)
    session.expires_at = min(session.expires_at, broker.clock.epoch())
    return Done()


def _revoke(broker: Broker, given: Given) -> Done:
    session = _newest(broker, given)
    session.profile_still_answers = given.body.profile_still_answers
    session.is_revoked = True
    return Done()


def _refresh(broker: Broker, _given: Given) -> RefreshOutput:
    kind = broker.accounts.refresh
    return RefreshOutput(is_offered=kind is not RefreshKind.DISABLED, kind=kind.value)


def _set_refresh(broker: Broker, given: Given) -> RefreshOutput:
    wanted: RefreshInput = given.body
    offered = (RefreshKind.OFFERED, RefreshKind.REFUSED_TOKENS)
    words = [kind.value for kind in (offered if wanted.is_offered else (RefreshKind.DISABLED,))]
    word = words[0] if wanted.kind is None else wanted.kind
    if word not in words:
        raise InvalidRequest(422, f"kind must be {' or '.join(words)}", "kind")
    broker.accounts.refresh = RefreshKind(word)
    return _refresh(broker, given)


_ONE = "/simulator/accounts/{fyersId}"
CALLS = (
    ControlCall(
        "POST", "/simulator/apps", "Add a Fyers app; HULLWATCH-100 with the secret simulator exists already.",
        AppOutput, _add_app, AppInput,
        ({"appId": "MYAPP-100", "secret": "abc", "redirectUri": "http://127.0.0.1:9000/callback"},),
    ),
    ControlCall("GET", "/simulator/accounts", "List the accounts.", AccountList, _list_accounts),
    ControlCall(
        "POST", "/simulator/accounts", "Add an account that can log in, or change it.", AccountOutput,
        _add_account, AccountInput,
        ({"fyersId": "XA00001", "name": "Asha"}, {"fyersId": "XA00001", "lifetimeSeconds": 3600, "pin": "4321"}),
    ),
    ControlCall(
        "POST", f"{_ONE}/token", "Make a session without the browser.", TokenOutput, _token, TokenInput,
        ({}, {"lifetimeSeconds": 600}),
    ),
    ControlCall("POST", f"{_ONE}/expire", "Let the newest session expire now.", Done, _expire, NoInput, ({},)),
    ControlCall(
        "POST", f"{_ONE}/revoke", "Let the broker revoke the newest session.", Done, _revoke, RevocationInput,
        ({}, {"profileStillAnswers": True}),
    ),
    ControlCall("GET", "/simulator/refresh", "Say whether refresh tokens are accepted.", RefreshOutput, _refresh),
    ControlCall(
        "POST", "/simulator/refresh", "Set whether refresh tokens are accepted.", RefreshOutput, _set_refresh,
        RefreshInput,
        ({"isOffered": True, "kind": "offered"}, {"isOffered": False}),
    ),
)  # fmt: skip
