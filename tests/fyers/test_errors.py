import json
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hullwatch.domain.failures import (
    Answered,
    BrokerFailure,
    BrokerService,
    LoginRefused,
    NotPermitted,
    RateLimited,
    RequestRefused,
    Unavailable,
    UnclearRefusal,
)
from hullwatch.fyers.errors import (
    CODES,
    HISTORY_CODES,
    LOGIN_CODES,
    CallKind,
    Reply,
    classify,
    classify_file,
    is_cloudflare_block,
    retry_after_s,
)

NO_DEADLINE = settings(deadline=None)  # a busy machine is no failure

TOKEN_CALLS = [call for call in CallKind if call.service.value in {"profile", "trading", "data"}]
STATUSES = [200, 201, 204, 301, 302, 400, 401, 402, 403, 404, 405, 422, 429, 500, 502, 503, 504, 520, 522]
# Every code that the documents, the recorded logs or the SDKs know, and some that nobody knows.
DOCUMENTED = [
    *(-8, -15, -16, -17, -50, -51, -52, -53, -99, -300, -352, -429, 400, 429, 500),
    *(-96, -101, -157, -159, -161, -164, -201, -202, -204, -205, -209, -305, -308, -316, -323, -325, -329),
    *(-353, -371, -372, -373, -374, -390, -392, -397, -399, -403, -437, -441, -501, -5, -1025, -1031, -1049),
    *(-334, -338, -339, -341, -349, -351, -354, -355, -356),
]
UNKNOWN = [-1, -7, -18, -401, -4711, 0, 1, 200, 401, 403, 1101, 51001, -(2**63)]
ALL_CODES = [*DOCUMENTED, *UNKNOWN]


def error(code: object, message: str = "text that decides nothing") -> bytes:
    """Return a failure in Fyers' form."""
    return json.dumps({"s": "error", "code": code, "message": message}).encode()


def kind_of(result: object) -> str:
    """Return the kind of a result in one word."""
    names = {
        Answered: "answered",
        LoginRefused: "login",
        RateLimited: "limit",
        RequestRefused: "request",
        NotPermitted: "permission",
        Unavailable: "unavailable",
        UnclearRefusal: "unclear login",
    }
    return names[type(result)]


# One flat list of rules, unlike the tables that it checks.
def oracle(call: CallKind, status: int, code: int) -> str:  # noqa: C901, PLR0911
    """Return the meaning of an error in Fyers' form, written from Fyers' documents and logs."""
    is_login_call = call in {CallKind.EXCHANGE_AUTH_CODE, CallKind.RENEW_ACCESS_TOKEN}
    if status == 429:
        return "limit"
    if call is CallKind.SYMBOL_MASTER:
        return "unavailable"
    if is_login_call:
        # The person's code, app id or secret is wrong; Fyers says so under 200 and 4xx.
        wrong = {-437, -371, -5, -441, -374, -501, -8, -15, -16, -17, -352, -209}
        if code in wrong:
            return "request" if status == 200 or 400 <= status <= 499 else "unavailable"
    elif code in {-8, -15, -16, -17}:
        is_unclear = status != 401 and (200 <= status <= 299 or 400 <= status <= 499)
        return "login" if status == 401 else "unclear login" if is_unclear else "unavailable"
    is_old_history_code = code in {*range(-338, -333), -339, *range(-349, -340), -351, -354, -355, -356}
    if call is CallKind.HISTORY and code == -353:
        # Once a limit, once a range that is too long: the status tells.
        return {400: "request", 422: "request", 403: "permission"}.get(status, "unavailable")
    if code in {429, -429, -353}:
        return "limit"
    if code in {-99, -96, -201, -202, -204, -205, 500, -352, -209}:
        return "unavailable"
    if code in {-403, -373}:
        return "permission" if 400 <= status <= 499 else "unavailable"
    if not is_login_call and status == 403:
        return "permission"
    if code in {-50, -300} or (call is CallKind.HISTORY and is_old_history_code):
        is_believable = status == 200 or (400 <= status <= 499 and status not in {401, 403})
        return "request" if is_believable else "unavailable"
    if call is CallKind.RENEW_ACCESS_TOKEN:
        # What is kind_of of a wrong PIN is on no record, so any no may be that.
        return "request" if status == 200 or 400 <= status <= 499 else "unavailable"
    return "request" if status == 422 and not is_login_call else "unavailable"


def test_every_code_has_the_documented_meaning():
    """All codes with all statuses on all calls agree with an independent list of rules."""
    assert set(CODES) | set(LOGIN_CODES) | set(HISTORY_CODES) <= set(ALL_CODES) | set(range(-349, -333))

    wrong = [
        (call.name, status, code, result, expected)
        for call, status, code in product(CallKind, STATUSES, {*ALL_CODES, *range(-349, -333)})
        if (result := kind_of(classify(call, Reply(status, error(code)))))
        != (expected := oracle(call, status, code))
    ]

    assert wrong == []


@pytest.mark.parametrize(
    ("call", "status", "body", "expected"),
    [
        # As logged from the real service, word for word.
        (
            CallKind.PROFILE,
            401,
            {"s": "error", "code": -8, "message": "Your token has expired. Please generate a token"},
            LoginRefused(BrokerService.PROFILE, -8, 401, "/profile"),
        ),
        (
            CallKind.PROFILE,
            401,
            {"s": "error", "code": -17, "message": "Could not authenticate the user"},
            LoginRefused(BrokerService.PROFILE, -17, 401, "/profile"),
        ),
        (
            CallKind.LOGOUT,
            401,
            {"s": "error", "code": -16, "message": "Token is Invalid or Expired"},
            LoginRefused(BrokerService.TRADING, -16, 401, "/logout"),
        ),
        (
            CallKind.HISTORY,
            401,
            {"code": -16, "message": "Could not authenticate the user", "s": "error"},
            LoginRefused(BrokerService.HISTORY, -16, 401, "/history"),
        ),
        (
            CallKind.QUOTES,
            401,
            {"message": "Please provide valid token", "code": -15, "s": "error"},
            LoginRefused(BrokerService.DATA, -15, 401, "/quotes"),
        ),
        (
            CallKind.RENEW_ACCESS_TOKEN,
            400,
            {"code": -16, "message": "Refresh token API is currently disabled", "s": "error"},
            RequestRefused(BrokerService.LOGIN, -16, 400, "Refresh token API is currently disabled"),
        ),
        (
            CallKind.RENEW_ACCESS_TOKEN,
            401,
            {"code": -16, "message": "Could not authenticate the user", "s": "error"},
            RequestRefused(BrokerService.LOGIN, -16, 401, "Could not authenticate the user"),
        ),
        (
            CallKind.RENEW_ACCESS_TOKEN,
            400,
            {"s": "error", "code": -501, "message": "Please provide valid refresh token"},
            RequestRefused(BrokerService.LOGIN, -501, 400, "Please provide valid refresh token"),
        ),
        (
            CallKind.RENEW_ACCESS_TOKEN,
            400,
            {"s": "error", "code": -4711, "message": "something new"},
            RequestRefused(BrokerService.LOGIN, -4711, 400, "something new"),
        ),
        (
            CallKind.RENEW_ACCESS_TOKEN,
            500,
            {"s": "error", "code": -99, "message": "Something went wrong"},
            Unavailable(BrokerService.LOGIN, "fyers_error", 500),
        ),
        (
            CallKind.EXCHANGE_AUTH_CODE,
            200,
            {"s": "error", "code": -371, "message": "Please provide sha256 hash of appId and app secret"},
            RequestRefused(
                BrokerService.LOGIN, -371, 200, "Please provide sha256 hash of appId and app secret"
            ),
        ),
        (
            CallKind.PROFILE,
            400,
            {"s": "error", "code": -352, "message": "Please provide a valid app id."},
            Unavailable(BrokerService.PROFILE, "header_refused", 400),
        ),
        (
            CallKind.PROFILE,
            401,
            {"s": "error", "code": -209, "message": "Please provide the validation parameter"},
            Unavailable(BrokerService.PROFILE, "header_refused", 401),
        ),
        (
            CallKind.HISTORY,
            422,
            {"s": "error", "code": -300, "message": "Invalid symbol provided"},
            RequestRefused(BrokerService.HISTORY, -300, 422, "Invalid symbol provided"),
        ),
        (
            CallKind.QUOTES,
            400,
            {"s": "error", "code": -50, "message": "Please provide valid inputs"},
            RequestRefused(BrokerService.DATA, -50, 400, "Please provide valid inputs"),
        ),
        (
            CallKind.HISTORY,
            403,
            {"code": -403, "message": "You do not have permission to access this application", "s": "error"},
            NotPermitted(
                BrokerService.HISTORY, -403, 403, "You do not have permission to access this application"
            ),
        ),
        (
            CallKind.FUNDS,
            500,
            {"s": "error", "code": -99, "message": "Something went wrong. Please contact support"},
            Unavailable(BrokerService.TRADING, "fyers_error", 500),
        ),
        (
            CallKind.PROFILE,
            500,
            {"s": "error", "code": 500, "message": "Looks like you are passing an invalid entry"},
            Unavailable(BrokerService.PROFILE, "fyers_error", 500),
        ),
        (
            CallKind.PROFILE,
            429,
            {"s": "error", "code": -353, "message": "API Limit exceeded overall per sec (per min)"},
            RateLimited(BrokerService.PROFILE, 60.0),
        ),
        (
            CallKind.HISTORY,
            200,
            {"candles": [], "message": "", "s": "no_data"},
            Answered({"candles": [], "message": "", "s": "no_data"}),
        ),
        # A refusal code is believed with 401 alone. Public adapters report it with 200, too.
        *(
            (
                CallKind.FUNDS,
                status,
                {"s": "error", "code": -16, "message": ""},
                UnclearRefusal(BrokerService.TRADING, "refused_without_401", status, code=-16, path="/funds"),
            )
            for status in (200, 400, 403, 404, 422)
        ),
        # Contradictions: an outage with a refusal code, and an ok without 2xx.
        *(
            (
                CallKind.FUNDS,
                status,
                {"s": "error", "code": -16, "message": ""},
                Unavailable(BrokerService.TRADING, "contradictory", status),
            )
            for status in (500, 503)
        ),
        (
            CallKind.FUNDS,
            401,
            {"s": "ok", "code": 200},
            Unavailable(BrokerService.TRADING, "contradictory", 401),
        ),
        (
            CallKind.FUNDS,
            200,
            {"s": "ok", "code": -16},
            Unavailable(BrokerService.TRADING, "contradictory", 200),
        ),
        # Not Fyers' form, so not Fyers' word.
        (CallKind.FUNDS, 401, {"code": -16}, Unavailable(BrokerService.TRADING, "http_401", 401)),
        (
            CallKind.FUNDS,
            401,
            {"s": "error", "code": "-16"},
            Unavailable(BrokerService.TRADING, "http_401", 401),
        ),
        (
            CallKind.FUNDS,
            401,
            {"s": "error", "code": -16.0},
            Unavailable(BrokerService.TRADING, "http_401", 401),
        ),
        (
            CallKind.FUNDS,
            401,
            {"s": "error", "code": True},
            Unavailable(BrokerService.TRADING, "http_401", 401),
        ),
        (
            CallKind.FUNDS,
            401,
            {"s": ["error"], "code": -16},
            Unavailable(BrokerService.TRADING, "http_401", 401),
        ),
        (
            CallKind.FUNDS,
            401,
            [{"s": "error", "code": -16}],
            Unavailable(BrokerService.TRADING, "http_401", 401),
        ),
        (CallKind.FUNDS, 401, "token expired", Unavailable(BrokerService.TRADING, "http_401", 401)),
        (CallKind.FUNDS, 200, None, Unavailable(BrokerService.TRADING, "not_fyers", 200)),
    ],
)
def test_recorded_replies_have_their_meaning(call, status, body, expected):
    """They come from logs of the real service, with near misses added."""
    assert classify(call, Reply(status, json.dumps(body).encode())) == expected


@pytest.mark.parametrize(
    ("status", "body", "cause"),
    [
        (200, b"", "empty_body"),
        (200, b"  \n", "empty_body"),
        (200, b'{"s":"ok","code":200,"d":[{"n":"NSE:SB', "not_fyers"),
        (200, b"<html>maintenance</html>", "not_fyers"),
        (401, b"<html>token expired</html>", "http_401"),
        (401, b"", "http_401"),
        (403, b"<html>blocked</html>", "cloudflare_blocked"),
        (403, b"", "cloudflare_blocked"),
        (302, b"", "http_302"),
        (520, b"<html></html>", "http_520"),
        (200, b"\xff\xfe{", "not_fyers"),
        (200, b"[" * 100_000, "not_fyers"),
    ],
)
def test_pages_and_fragments_are_unavailable(status, body, cause):
    """Cloudflare, a proxy or an interrupted connection sent them, and the cause names the status."""
    assert classify(CallKind.QUOTES, Reply(status, body, "text/html")) == Unavailable(
        BrokerService.DATA, cause, status
    )


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7.0),
        ("0.5", 0.5),
        ("", None),
        ("soon", None),
        ("-3", None),
        ("0", None),
        ("nan", None),
        ("inf", None),
        ("Wed, 21 Oct 2026 07:28:00 GMT", None),
        ("99999999999", 86_400.0),
    ],
)
def test_a_usable_retry_time_is_used(header, seconds):
    """Without a sensible ``Retry-After`` a limit pauses for a minute."""
    reply = Reply(429, b"", retry_after=header)

    assert retry_after_s(reply) == seconds
    assert classify(CallKind.QUOTES, reply) == RateLimited(BrokerService.DATA, seconds or 60.0)


def test_fyers_message_is_short_and_printable():
    """People read it, so it has no line breaks and no control characters."""
    result = classify(CallKind.QUOTES, Reply(400, error(-50, "bad\r\ninput\x1b[31m " + "x" * 1000)))

    assert result.message.startswith("bad input[31m xxx")
    assert len(result.message) == 200


@pytest.mark.parametrize("body", [error(429), error(-16), b'{"s":"ok"}'])
def test_only_pages_are_signs_of_cloudflare(body):
    """403 and 429 in Fyers' form come from Fyers."""
    assert is_cloudflare_block(Reply(403, b"<html>"))
    assert is_cloudflare_block(Reply(429, b""))
    assert not is_cloudflare_block(Reply(429, body))
    assert not is_cloudflare_block(Reply(502, b"<html>"))


@pytest.mark.parametrize(
    ("status", "body", "kind"), [(200, b"a,b", "answered"), (429, b"x", "limit"), (404, b"x", "unavailable")]
)
def test_a_public_file_needs_status_200(status, body, kind):
    """A part of the file or a redirect is a failure."""
    assert kind_of(classify_file(CallKind.SYMBOL_MASTER, Reply(status, body))) == kind


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
bodies = st.binary(max_size=200) | json_values.map(lambda value: json.dumps(value).encode())
shaped = st.fixed_dictionaries(
    {"s": st.sampled_from(["ok", "error", "no_data", "OK", "Error"]) | json_values},
    optional={"code": st.sampled_from(ALL_CODES) | json_values, "message": json_values, "data": json_values},
).map(lambda value: json.dumps(value).encode())
replies = st.builds(Reply, st.integers(0, 999), bodies | shaped, st.text(), st.text())


@NO_DEADLINE
@given(st.sampled_from(CallKind), replies)
def test_no_reply_breaks_the_classifier(call, reply):
    """Any status with any bytes gives one result for the called service."""
    result = classify(call, reply)

    assert isinstance(result, Answered | BrokerFailure)
    assert not isinstance(result, BrokerFailure) or result.service is call.service


@NO_DEADLINE
@given(st.sampled_from(CallKind), replies)
def test_a_login_is_refused_by_a_refusal_code_with_401_alone(call, reply):
    """Anything else could log users out by mistake."""
    result = classify(call, reply)

    if isinstance(result, LoginRefused):
        body = json.loads(reply.body)
        assert call in TOKEN_CALLS
        assert reply.http_status == 401
        assert body["s"].lower() == "error"
        assert body["code"] in {-8, -15, -16, -17}


@NO_DEADLINE
@given(
    st.sampled_from(CallKind),
    st.sampled_from(STATUSES),
    st.sampled_from(ALL_CODES),
    st.text() | st.sampled_from(["Your token has expired", "invalid token", "limit", "ok"]),
    st.text() | st.sampled_from(["text/html", "application/json"]),
)
def test_messages_never_decide(call, status, code, message, content_type):
    """Another message or content type gives the same result."""
    plain = classify(call, Reply(status, error(code)))
    worded = classify(call, Reply(status, error(code, message), content_type))

    assert kind_of(worded) == kind_of(plain)
    assert getattr(worded, "cause", None) == getattr(plain, "cause", None)


def test_a_body_stays_out_of_repr():
    """It can hold a token."""
    assert "canary" not in repr(Reply(200, b'{"access_token":"canary"}'))
