import io
import json
import logging
import time
from datetime import UTC, datetime, timedelta
from enum import StrEnum

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from hullwatch.runtime.logs import configure_logging, redact
from hullwatch.runtime.redaction import is_secret_name, redact_value

PAYLOAD = "eyJzdWIiOiJjYW5hcnkiLCJleHAiOjE3OTUwMDAwMDB9"
SIGNATURE = "c2lnbmF0dXJlLW9mLXRoZS1jYW5hcnk_x-Y9"
CANARY = f"eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.{PAYLOAD}.{SIGNATURE}"
NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


class Terminal(io.StringIO):
    """A stream that is a terminal."""

    def isatty(self):
        """Return that it is one."""
        return True


@pytest.fixture(autouse=True)
def _restore_logging():
    """Restore the logging of the process after each test."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def configured(stream, **settings):
    """Configure logging to the stream, with the time at noon."""
    configure_logging(stream=stream, now=lambda: NOON, **settings)
    return stream


def lines(stream):
    """Return the written JSON objects."""
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_is_one_json_object():
    """Time, level, component and event come first; field names are in camelCase."""
    out = configured(io.StringIO())

    structlog.get_logger(component="TokenValidationService").warning(
        "access_token.expired", user_id="u1", incident_id=7
    )

    assert lines(out) == [
        {
            "at": "2026-11-23T12:00:00.000+00:00",
            "level": "warning",
            "component": "TokenValidationService",
            "event": "access_token.expired",
            "userId": "u1",
            "incidentId": 7,
        }
    ]
    assert list(lines(out)[0])[:4] == ["at", "level", "component", "event"]


def test_a_terminal_gets_coloured_text(monkeypatch):
    """The component is in brackets, as the README shows."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    out = configured(Terminal())

    structlog.get_logger(component="HMAService").info("signal.found", symbol="NSE:SBIN-EQ", note="two words")

    text = out.getvalue()
    assert "\x1b[36m[HMAService]\x1b[0m" in text
    assert "NSE:SBIN-EQ" in text
    assert "'two words'" in text


def test_text_in_a_pipe_has_no_colours():
    """Colour codes would disturb programs that read the pipe."""
    out = configured(io.StringIO(), json=False)

    structlog.get_logger(component="Api").info("started", port=8000)

    assert out.getvalue() == "12:00:00.000 info [Api] started port=8000\n"


def test_lines_below_the_level_are_not_written():
    """An unknown level is refused at the start."""
    out = configured(io.StringIO(), level="warning")

    structlog.get_logger(component="Api").info("quiet")

    assert out.getvalue() == ""
    with pytest.raises(ValueError, match="chatty"):
        configure_logging(level="chatty", stream=out)


def test_a_log_made_before_the_configuration_follows_it():
    """Modules may create their logger at import."""
    log = structlog.get_logger(component="Api")

    out = configured(io.StringIO())
    log.info("started")

    assert lines(out)[0]["component"] == "Api"


def test_library_lines_are_redacted_too():
    """They get the same form, even when the library installed its own handlers."""
    uvicorn = logging.getLogger("uvicorn.error")
    uvicorn.addHandler(logging.StreamHandler(io.StringIO()))
    out = configured(io.StringIO())

    uvicorn.warning("refused %s", f"access_token={CANARY}")
    uvicorn.info("chatter")

    assert lines(out) == [
        {
            "at": "2026-11-23T12:00:00.000+00:00",
            "level": "warning",
            "component": "uvicorn.error",
            "event": "refused access_token=***",
        }
    ]
    assert uvicorn.handlers == []


def test_sql_statements_are_never_logged():
    """Their parameters hold secrets, so they stay off even at DEBUG."""
    out = configured(io.StringIO(), level="DEBUG")

    logging.getLogger("sqlalchemy.engine.Engine").info("INSERT … [generated in 0.1s] ('plain secret',)")
    logging.getLogger("uvicorn.error").info("seen at DEBUG")

    assert [line["event"] for line in lines(out)] == ["seen at DEBUG"]


def test_a_wrong_log_call_is_written_as_it_is():
    """Arguments that do not fit must neither raise nor lose the line."""
    out = configured(io.StringIO())

    logging.getLogger("asyncio").warning("%d and %d", 1)  # noqa: PLE1206 - the mistake under test

    assert lines(out)[0]["event"] == "%d and %d"


@pytest.mark.parametrize("as_json", [True, False])
def test_a_traceback_has_no_locals_and_no_secrets(as_json):
    """It has the redacted messages of an exception, its causes and notes, and no variables."""
    out = configured(io.StringIO(), json=as_json)

    def fail():
        plain_local = "only-in-a-variable" + str(1)
        try:
            {}[CANARY]
        except KeyError as cause:
            error = ValueError(f"Authorization: HULL1234-100:{CANARY}")
            error.add_note(f"refresh_token='{CANARY}' pin=4711")
            raise error from cause
        finally:
            del plain_local

    try:
        fail()
    except ValueError:
        structlog.get_logger(component="FyersClient").exception("call.failed")
        logging.getLogger("aiohttp").exception("also here")

    text = out.getvalue()
    assert text.count("ValueError") >= 2
    assert "KeyError" in text
    for secret in (PAYLOAD, SIGNATURE, "4711", "only-in-a-variable1"):
        assert secret not in text


def test_contextual_fields_join_every_line():
    """Fields bound for a request appear in our lines and those of libraries."""
    out = configured(io.StringIO())
    structlog.contextvars.bind_contextvars(request_id="r1")

    structlog.get_logger(component="Api").info("ours")
    logging.getLogger("uvicorn").warning("theirs")

    assert [line["requestId"] for line in lines(out)] == ["r1", "r1"]


def test_one_entry_is_one_line():
    """A value with line breaks or terminal codes could forge lines."""
    as_json, as_text = io.StringIO(), io.StringIO()
    for out, json_wanted in ((as_json, True), (as_text, False)):
        configured(out, json=json_wanted)
        structlog.get_logger(component="Api").info(
            "one\nforged \x1b[2J", field="a\r\nb\u2028c\x9b", नाम="\ud800"
        )

    assert len(as_json.getvalue().splitlines()) == 1
    assert len(as_text.getvalue().splitlines()) == 1
    assert "\x1b" not in as_text.getvalue()


def test_a_closed_stream_stops_no_work(capfd):
    """Nothing is written elsewhere instead, neither for our loggers nor for a library's."""
    out = configured(io.StringIO())
    structlog.get_logger(component="Api").info("written")
    assert [line["event"] for line in lines(out)] == ["written"]
    out.close()

    structlog.get_logger(component="Api").info("not written")
    logging.getLogger("a.library").warning("not written")

    assert capfd.readouterr() == ("", "")


def test_unencodable_characters_are_escaped():
    """A terminal with an ASCII locale must not lose the line."""
    raw = io.BytesIO()
    configured(io.TextIOWrapper(raw, encoding="ascii"), json=False)

    structlog.get_logger(component="Api").info("✓ done")

    assert raw.getvalue().endswith(b"\\u2713 done\n")


class Plan(StrEnum):
    """A value of a field."""

    FREE = "free"


class Unshowable:
    """An object whose repr raises."""

    def __repr__(self):
        """Raise an error."""
        raise RuntimeError


def test_any_object_can_be_logged():
    """Moments become ISO text, durations seconds, and objects without a repr their class."""
    endless = {}
    endless["again"] = endless
    out = configured(io.StringIO())

    structlog.get_logger(component="Api").info(
        "all", at_noon=NOON, took=timedelta(seconds=1.5), plan=Plan.FREE, odd=Unshowable(), nan=float("nan"),
        raw=b"access_token=abc", some={1}, endless=endless, error_seen=OSError("token: abc"),
    )  # fmt: skip

    line = lines(out)[0]
    assert line["atNoon"] == "2026-11-23T12:00:00+00:00"
    assert (line["took"], line["plan"], line["odd"], line["nan"]) == (1.5, "free", "<Unshowable>", "nan")
    assert (line["raw"], line["some"], line["errorSeen"]) == ("access_token=***", [1], "OSError: token: ***")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("GET /callback?s=ok&auth_code=abc.def&state=x", "GET /callback?s=ok&auth_code=***&state=x"),
        ("auth_code%3Dabcdef", "auth_code%3D***"),
        ("Authorization: HULL1234-100:opaque-token", "Authorization: ***"),
        ("headers {'Authorization': 'Bearer abc', 'x': 1}", "headers {'Authorization': '***', 'x': 1}"),
        ("[(b'authorization', b'abc def'), (b'x', b'y')]", "[(b'authorization', '***'), (b'x', b'y')]"),
        ("Cookie: a=b; c=d\nHost: x", "Cookie: ***\nHost: x"),
        ('{"refresh_token": "a\\"b", "n": 1}', '{"refresh_token": "***", "n": 1}'),
        ('"{\\"accessToken\\":\\"abc\\",\\"n\\":1}"', '"{\\"accessToken\\":\\"***\\",\\"n\\":1}"'),
        ("token: Bearer abc", "token: ***"),
        ("sent bearer abcdefghijk to", "sent bearer *** to"),
        ("pin=1234, userPin=1234", "pin=***, userPin=***"),
        ("{'password': 'two words', 'b': 2}", "{'password': '***', 'b': 2}"),
        ("password='cut in the midd", "password=***"),
        ("secret_key=abc appSecret=def", "secret_key=*** appSecret=***"),
        ("connect HULL1234-100:opaque_token failed", "connect HULL1234-100:*** failed"),
        ("postgresql://hull:pass@db/x", "postgresql://hull:***@db/x"),
        ("[SQL: INSERT] [parameters: ('a', 'b')]", "[SQL: INSERT] [parameters: ***]"),
        ("[type=x, input_value='abc', input_type=str]", "[type=x, input_value=***, input_type=str]"),
        (f"prefix{CANARY}", "prefix***"),
        (CANARY.rsplit(".", 1)[0], "***"),
        ("Zm9vYmFyYmF6cXV4MQ.Zm9vYmFyYmF6cXV4Mg.Zm9vYmFyYmF6cXV4Mw", "***"),
    ],
)
def test_secrets_are_masked_in_text(text, expected):
    """Each form in which a secret was seen in text is masked; the rest stays readable."""
    assert redact(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "access_token.expired",
        "the access token ran out",
        "token=None",
        "NSE:SBIN-EQ at 2026-11-23T12:00:00.000000-05:30",
        "hullwatch.services.sessions.validation.something_long",
        "spin=3 mapping: 4",
        "https://api-t1.fyers.in/api/v3/profile",
        "KeyError: 'token'",
    ],
)
def test_harmless_text_is_not_changed(text):
    """Text about tokens has to stay readable for operators."""
    assert redact(text) == text


@pytest.mark.parametrize(
    ("name", "is_secret"),
    [
        ("access_token", True), ("refreshToken", True), ("X-Auth-Token", True), ("token_hash", True),
        ("Authorization", True), ("set-cookie", True), ("APP_SECRET", True), ("secretKey", True), ("PIN", True),
        ("authCode", True), ("auth_code", True), ("apiKey", True), ("ENCRYPTION_KEYS", True), ("jwt", True),
        ("newPassword", True), ("appIdHash", True),
        ("token_state", False), ("tokenExpiresAt", False), ("symbol", False), ("code", False), ("", False),
        ("spinning", False), ("key", False),
    ],
)  # fmt: skip
def test_secret_fields_are_known_by_name(name, is_secret):
    """Every spelling of a secret's name counts; names such as `token_state` do not."""
    assert is_secret_name(name) == is_secret


def test_secret_fields_are_masked_at_any_depth():
    """Fields and headers can be nested in lists, tuples and mappings."""
    value = {
        "a": [{"pin": 1234}, ("Authorization", "opaque")],
        "b": {"c": {"app_secret": ["x"], "has_token": True}},
    }

    assert redact_value(value) == {
        "a": [{"pin": "***"}, ["Authorization", "***"]],
        "b": {"c": {"app_secret": "***", "has_token": True}},
    }


URL_SAFE = st.text(
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", min_size=20, max_size=60
)
FIELD_VALUES = st.recursive(
    st.sampled_from(["text", "bytes", "error", "object"]),
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=2),
        st.dictionaries(st.sampled_from(["body", "reply", "token"]), inner, min_size=1),
    ),
    max_leaves=4,
)


class Holder:
    """An object whose repr shows a text."""

    def __init__(self, text):
        self.text = text

    def __repr__(self):
        """Return the text."""
        return f"Holder({self.text})"


def planted(shape, text):
    """Put the text into a value of the given shape."""
    if isinstance(shape, list):
        return [planted(inner, text) for inner in shape]
    if isinstance(shape, dict):
        return {name: planted(inner, text) for name, inner in shape.items()}
    return {"text": text, "bytes": text.encode(), "error": ValueError(text), "object": Holder(text)}[shape]


@given(st.text(max_size=19), URL_SAFE, URL_SAFE, st.text(max_size=19), FIELD_VALUES, st.booleans())
def test_no_signed_token_survives(before, payload, signature, after, shape, as_json):
    """No part of a token is written, in an event, in fields of any depth or in an exception."""
    out = configured(io.StringIO(), json=as_json)
    text = f"{before}eyJhbGciOiJIUzI1NiJ9.eyJ{payload}.{signature}{after}"

    error = ValueError(text)
    error.__cause__ = OSError(text)
    structlog.get_logger(component="Api").error(
        text.replace("%", ""), field=planted(shape, text), exc_info=error
    )
    logging.getLogger("uvicorn").warning(text)

    written = out.getvalue()
    assert len(written) > 100
    assert payload not in written
    assert signature not in written


@given(st.text(max_size=60))
def test_redacting_twice_changes_nothing(text):
    """The mask is not taken for another secret."""
    once = redact(f"token={text}")

    assert redact(once) == once


@pytest.mark.parametrize(
    "part",
    [
        "-a", "-token", "a.", "'", "A1-", "eyJ", "a1A.", "://a:", "bearer ", "A1-22:", 'pin" ,', "\\", "token\\",
        "[parameters: ", "input_value=", "token='", "token=\"'", "token='a', ", "Authorization: ", "token=b'\\",
    ],
)  # fmt: skip
@pytest.mark.parametrize("start", ["", "token='", 'token=\\"', "cookie: b'"])
def test_long_text_is_redacted_in_linear_time(start, part):
    """A pattern with two ways to match would take a hundred times as long for ten times the text."""
    _, short_s = redact_and_measure(start + part * 1_000)
    redacted, long_s = redact_and_measure(start + part * 10_000)

    assert redact(redacted) == redacted
    assert long_s < 50 * max(short_s, 0.0005)


def redact_and_measure(text):
    """Return what is left, and the processor time of this thread, which other processes hardly change."""
    began_s = time.thread_time()
    redacted = redact(text)
    return redacted, time.thread_time() - began_s
