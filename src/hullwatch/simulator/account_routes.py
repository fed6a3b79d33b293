"""Fyers' account and trading services: code exchange, profile, funds, empty books, logout, no orders."""

from typing import Any

from hullwatch.simulator.accounts import RefreshKind
from hullwatch.simulator.answers import Answer, Refusal, orders_not_allowed, success
from hullwatch.simulator.broker import Broker, Call, Endpoint, Family, always


async def validate_authcode(broker: Broker, call: Call) -> Answer:
    """Exchange an auth code for an access token."""
    body = call.json()
    if not isinstance(body, dict):
        return Refusal.DATA_INPUT.answer
    id_hash, code = body.get("appIdHash"), body.get("code")
    if body.get("grant_type") != "authorization_code":
        return Refusal.GRANT_TYPE.answer
    if not isinstance(id_hash, str) or not id_hash:
        return Refusal.NO_HASH.answer
    if not isinstance(code, str) or not code:
        return Refusal.NO_AUTH_CODE.answer
    return _exchange(broker, call, id_hash, code)


def _exchange(broker: Broker, call: Call, id_hash: str, code: str) -> Answer:
    app = broker.accounts.app_with_hash(id_hash)
    if app is None:
        return Refusal.WRONG_HASH.answer
    fyers_id = broker.accounts.redeem_code(code, app.app_id, call.now)
    if fyers_id is None:
        return Refusal.WRONG_AUTH_CODE.answer
    lifetime_s = broker.accounts.people[fyers_id].lifetime_s
    session = broker.accounts.open_session(app.app_id, fyers_id, call.now, lifetime_s, skew_s=call.skew_s)
    return success(access_token=session.token, refresh_token=broker.accounts.refresh_token(session))


async def validate_refresh_token(broker: Broker, call: Call) -> Answer:
    """Refuse refresh tokens, as Fyers does since 2026-04-01, unless a control call enabled them."""
    if broker.accounts.refresh is RefreshKind.DISABLED:
        return Refusal.REFRESH_DISABLED.answer
    body = call.json()
    if not isinstance(body, dict):
        return Refusal.DATA_INPUT.answer
    if body.get("grant_type") != "refresh_token":
        return Refusal.GRANT_TYPE.answer
    id_hash = body.get("appIdHash")
    if not isinstance(id_hash, str) or not id_hash:
        return Refusal.NO_HASH.answer
    return _renew(broker, call, id_hash, body.get("refresh_token"), body.get("pin"))


def _renew(broker: Broker, call: Call, id_hash: str, token: object, pin: object) -> Answer:
    accounts = broker.accounts
    app = accounts.app_with_hash(id_hash)
    if app is None:
        return Refusal.WRONG_HASH.answer
    person = accounts.owner_of_refresh_token(token, app.app_id, call.now) if isinstance(token, str) else None
    if person is None:
        return Refusal.WRONG_REFRESH_TOKEN.answer
    if pin != person.pin:
        return Refusal.WRONG_PIN.answer
    session = accounts.open_session(
        app.app_id, person.fyers_id, call.now, person.lifetime_s, skew_s=call.skew_s
    )
    session.is_revoked = accounts.refresh is RefreshKind.REFUSED_TOKENS
    return success(access_token=session.token)


async def profile(broker: Broker, call: Call) -> Answer:
    """Return the profile of the account."""
    fyers_id = call.caller.fyers_id
    name = broker.accounts.people[fyers_id].name
    data = {
        "fy_id": fyers_id, "name": name, "display_name": None, "image": None, "email_id": "p****@example.com",
        "PAN": "ABC****8D", "mobile_number": "98******10", "pin_change_date": "01-04-2026 10:12:31",
        "pwd_change_date": None, "pwd_to_expire": 90, "totp": True, "ddpi_enabled": False, "mtf_enabled": False,
    }  # fmt: skip
    return success(data=data)


_FUND_TITLES = (
    "Total Balance", "Utilized Amount", "Clear Balance", "Realized Profit and Loss", "Collaterals", "Fund Transfer",
    "Receivables", "Adhoc Limit", "Limit at start of the day", "Available Balance",
)  # fmt: skip


_FULL = {"Total Balance", "Clear Balance", "Limit at start of the day", "Available Balance"}
_FUNDS = [
    {
        "id": number,
        "title": title,
        "equityAmount": 100_000.0 if title in _FULL else 0.0,
        "commodityAmount": 0.0,
    }
    for number, title in enumerate(_FUND_TITLES, 1)
]
_HOLDINGS = {
    "count_total": 0, "total_investment": 0.0, "total_current_value": 0.0, "total_pl": 0.0, "pnl_perc": 0.0,
}  # fmt: skip
_POSITIONS = {"count_total": 0, "count_open": 0, "pl_total": 0.0, "pl_realized": 0.0, "pl_unrealized": 0.0}


async def logout(broker: Broker, call: Call) -> Answer:  # noqa: ARG001  the session is in the call
    """End the session of this token, and of no other."""
    if call.caller.session is not None:
        call.caller.session.is_revoked = True
    return Answer(b'{"s":"ok","code":200,"message":"you are successfully logged out"}')


async def refuse_order(broker: Broker, call: Call) -> Answer:  # noqa: ARG001  the order is not read
    """Refuse every order: the app has no permission to trade."""
    return orders_not_allowed(call.caller.app_id)


def _trading(handle: Any) -> Endpoint:
    return Endpoint(Family.TRADING, handle)


_ORDER_PATHS = (
    "orders/sync", "orders/async", "multi-order/sync", "multi-order/async", "multileg/orders/sync", "gtt/orders/sync",
    "positions", "smart-order/step", "smart-order/limit", "smart-order/trail", "smart-order/sip",
    "smart-order/modify", "smart-order/pause", "smart-order/resume", "smart-order/cancel", "flows/tc/se",
    "flows/tc/se/activate",
)  # fmt: skip
_OTHER_PATHS = (
    "multiorder/margin", "price-alert", "toggle-alert", "smart-order/orderbook", "order-history", "trade-history",
    "charges-history", "realised-pnl-history", "tax-pnl-history", "ledger-history", "screeners/config",
    "screeners/query", "screeners/candlestick", "screeners/technical", "data-token",
)  # fmt: skip

ROUTES: dict[tuple[str, str], Endpoint] = {
    ("POST", "/api/v3/validate-authcode"): Endpoint(Family.OPEN, validate_authcode),
    ("POST", "/api/v3/validate-refresh-token"): Endpoint(Family.OPEN, validate_refresh_token),
    ("GET", "/api/v3/profile"): Endpoint(Family.PROFILE, profile),
    ("POST", "/api/v3/logout"): Endpoint(Family.LOGOUT, logout),
    ("GET", "/api/v3/funds"): _trading(always(success(fund_limit=_FUNDS))),
    ("GET", "/api/v3/holdings"): _trading(always(success(holdings=[], overall=_HOLDINGS))),
    ("GET", "/api/v3/positions"): _trading(always(success(netPositions=[], overall=_POSITIONS))),
    ("GET", "/api/v3/orders"): _trading(always(success(orderBook=[]))),
    ("GET", "/api/v3/gtt/orders"): _trading(always(success(orderBook=[]))),
    ("GET", "/api/v3/flows/tc/se"): _trading(always(success(data=[]))),  # the name of the list is assumed
    ("GET", "/api/v3/tradebook"): _trading(always(success(tradeBook=[]))),
    **{
        (method, f"/api/v3/{path}"): _trading(refuse_order)
        for path in _ORDER_PATHS
        for method in ("POST", "PATCH", "PUT", "DELETE")
    },
    **{
        (method, f"/api/v3/{path}"): _trading(always(Refusal.NOT_SIMULATED.answer))
        for path in _OTHER_PATHS
        for method in ("GET", "POST", "PUT", "DELETE")
    },
}
