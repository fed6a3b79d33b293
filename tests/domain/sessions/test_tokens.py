"""Reading a token's claims and its expiry; `hullwatch.domain.sessions.tokens`."""

import base64
import json
import re
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hullwatch.domain.failures import InvalidInput
from hullwatch.domain.secrets import AccessToken
from hullwatch.domain.sessions.tokens import MAX_TOKEN_LENGTH, next_daily_expiry, read_claims

NOW = datetime(2026, 11, 23, 4, 0, tzinfo=UTC)  # 09:30 IST
END = datetime(2026, 11, 24, 0, 30, tzinfo=UTC)  # 06:00 IST


def token(claims: object, *, padded: bool = False) -> AccessToken:
    """Return a JWT with these claims."""
    body = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode()
    return AccessToken(f"e30.{body if padded else body.rstrip('=')}.c2ln")


@pytest.mark.parametrize(
    ("moment", "end"),
    [
        (datetime(2026, 11, 23, 0, 29, 59, tzinfo=UTC), datetime(2026, 11, 23, 0, 30, tzinfo=UTC)),
        (datetime(2026, 11, 23, 0, 30, tzinfo=UTC), END),
        (NOW, END),
        (datetime(2026, 11, 23, 18, 31, tzinfo=UTC), END),  # past midnight in India
    ],
)
def test_the_daily_expiry_is_the_next_six_o_clock_in_india(moment: datetime, end: datetime) -> None:
    """A login at 03:00 IST lasts three hours, one at 06:00 a whole day."""
    assert next_daily_expiry(moment) == end


@given(st.datetimes(datetime(2020, 1, 1), datetime(2035, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001 - bounds
@settings(deadline=None)
def test_the_daily_expiry_is_within_a_day(moment: datetime) -> None:
    """It lies strictly after the moment, always at 00:30 UTC."""
    end = next_daily_expiry(moment)

    assert timedelta() < end - moment <= timedelta(days=1)
    assert (end.hour, end.minute, end.second, end.microsecond) == (0, 30, 0, 0)


def test_claims_are_read() -> None:
    """Expiry, issue and owner come from the token."""
    claims = read_claims(
        token({"exp": END.timestamp(), "iat": int(NOW.timestamp()), "fy_id": "FA00001"}), now=NOW
    )

    assert (claims.expires_at, claims.issued_at, claims.fyers_id) == (END, NOW, "FA00001")
    assert claims.has_stated_expiry


def test_padding_makes_no_difference() -> None:
    """Some writers of JWTs keep the padding that the standard drops."""
    assert read_claims(token({"fy_id": "FA1"}, padded=True), now=NOW).fyers_id == "FA1"


@pytest.mark.parametrize("stated", [None, "soon", True, [], {}, 1e300, float("inf"), float("nan"), -1e18])
def test_an_unusable_expiry_falls_back_to_the_daily_rule(stated: object) -> None:
    """A claim that cannot be a moment counts as absent."""
    claims = read_claims(token({"exp": stated}), now=NOW)

    assert claims.expires_at == END
    assert not claims.has_stated_expiry


@pytest.mark.parametrize(
    "owner",
    [
        None,
        "",
        7,
        ["FA1"],
        "A\r\nBcc: x@y",
        "\x1b[31m",
        "FA\u202e1",
        "../../x",
        "<script>",
        "F",
        "FA1\n",
        "A" * 33,
        "fa1",
        "Ⅻ1",
    ],
)
def test_an_owner_that_is_no_fyers_id_counts_as_absent(owner: object) -> None:
    """The profile is then read from Fyers, and nothing odd is stored or shown."""
    assert read_claims(token({"fy_id": owner}), now=NOW).fyers_id is None


HIDDEN = "s3cr3t"


@pytest.mark.parametrize(
    "text",
    [
        "",
        HIDDEN,
        f"{HIDDEN}.{HIDDEN}",
        f"a.{HIDDEN}!.c",
        "a.e30.c.d",
        token([HIDDEN]).reveal(),
        token(HIDDEN).reveal(),
        f"a.{base64.urlsafe_b64encode(b'{' + HIDDEN.encode()).decode()}.c",
        "a." + base64.urlsafe_b64encode(bytes((255, 254))).decode() + ".c",
        "a." + base64.urlsafe_b64encode(b"[" * 3000).decode() + ".c",
        "a." + "A" * MAX_TOKEN_LENGTH + ".c",
        "a.ü.c",
    ],
)
def test_a_text_that_is_no_jwt_is_refused_without_quoting_it(text: str) -> None:
    """Neither the message nor its cause contains the text."""
    with pytest.raises(InvalidInput) as refusal:
        read_claims(AccessToken(text), now=NOW)

    assert HIDDEN not in str(refusal.value)
    assert refusal.value.__cause__ is None
    assert refusal.value.__suppress_context__ or refusal.value.__context__ is None


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
claims = st.dictionaries(st.sampled_from(["exp", "iat", "fy_id", "sub"]), json_values)


@given(
    st.text(max_size=200)
    | st.text(max_size=200).map("a.{}.c".format)
    | (claims | json_values).map(lambda message: token(message).reveal())
)
@settings(deadline=None)
def test_every_text_is_refused_or_read(text: str) -> None:
    """No other error is raised."""
    try:
        read = read_claims(AccessToken(text), now=NOW)
    except InvalidInput:
        return

    assert read.expires_at.utcoffset() == timedelta()
    assert read.has_stated_expiry or read.expires_at == END
    assert read.issued_at is None or read.issued_at.utcoffset() == timedelta()
    assert read.fyers_id is None or re.fullmatch("[A-Z0-9]{2,32}", read.fyers_id, re.ASCII)


@given(claims)
@settings(deadline=None)
def test_every_object_of_claims_is_read(message: dict[str, object]) -> None:
    """Claims that cannot be used count as absent."""
    stated = message.get("exp")

    read = read_claims(token(message), now=NOW)

    if not isinstance(stated, int | float) or isinstance(stated, bool):
        assert (read.has_stated_expiry, read.expires_at) == (False, END)
    elif read.has_stated_expiry:
        assert abs(read.expires_at.timestamp() - stated) < 1
