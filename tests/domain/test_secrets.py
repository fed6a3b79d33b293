"""Secrets that must not slip; `hullwatch.domain.secrets`."""

import copy
import json
import logging
import pickle

import pytest

from hullwatch.domain.secrets import AccessToken, AppSecret, AuthCode, Pin, RefreshToken, SecretText

PLAIN = "eyJ0.payload.signature"
KINDS = (SecretText, AccessToken, AppSecret, AuthCode, RefreshToken, Pin)


@pytest.mark.parametrize("kind", KINDS)
def test_no_representation_shows_the_secret(kind: type[SecretText]) -> None:
    """Text, representation, formats, containers and log records show stars."""
    secret = kind(PLAIN)
    record = logging.LogRecord("x", logging.INFO, "x", 1, "token %s %r", (secret, secret), None)

    shown = (
        str(secret),
        repr(secret),
        f"{secret}",
        f"{secret:>40}",
        f"{secret!r}",
        repr([secret]),
        "%s" % secret,  # noqa: UP031 - the old way has to be safe too
        record.getMessage(),
    )

    assert all("eyJ0" not in text for text in shown)
    assert secret.reveal() == PLAIN


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_not_written_out(kind: type[SecretText]) -> None:
    """Pickling, copying and JSON refuse it."""
    secret = kind(PLAIN)

    for write in (pickle.dumps, copy.copy, copy.deepcopy, json.dumps):
        with pytest.raises(TypeError) as refusal:
            write(secret)
        assert PLAIN not in str(refusal.value)
    assert not hasattr(secret, "__dict__")


def test_equal_texts_are_equal_secrets() -> None:
    """They can be compared and be keys without being revealed."""
    assert AccessToken(PLAIN) == AccessToken(PLAIN)
    assert hash(AccessToken(PLAIN)) == hash(AccessToken(PLAIN))
    assert AccessToken(PLAIN) != AccessToken(PLAIN + "x")
    assert AccessToken(PLAIN) != PLAIN
    assert AccessToken("\ud800") != AccessToken("x")


def test_an_empty_secret_is_false() -> None:
    """An optional secret can be tested like an optional text."""
    assert not SecretText("")
    assert SecretText("x")
