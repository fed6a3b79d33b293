"""Masks secrets in log lines: in text by patterns, in fields by their names.

This is the last line of defence. Code that composes a message must leave secrets out of it.
"""

import re
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from datetime import date, time, timedelta
from enum import Enum
from functools import lru_cache
from math import isfinite
from typing import Any

MASK = "***"
SHORTEST = 5
"""Every pattern below is at least so long (`pin=1`) and has a character that no identifier has."""

DEEPEST = 8
"""Fields nested deeper than this are not written, since they may refer to themselves."""

# Between a name and its value: `=`, `:`, both percent-encoded, or the comma of a pair, with the quotes of
# JSON, of JSON inside JSON, or of a Python repr around it.
_BETWEEN = r"""(?:\\{0,2}["']?\s{0,4}(?:=|:|%3[AaDd])|["']\s{0,4},)\s{0,4}"""
# A backslash and its next character match as one, without backtracking: otherwise a value without a closing
# quote takes exponential time.
_QUOTED = r"""b?(?P<quote>\\{0,2}["'])(?:(?!(?P=quote))(?:\\.|[^\\\n]))*+(?P=quote)"""
_UNCLOSED = r"""b?\\{0,2}["'][^\r\n]+"""
_BARE = r"""(?:(?:bearer|basic|token)\s+)?[^\s"'&,;<>(){}\[\]\\]+"""
_NOT_EMPTY_VALUE = r"""(?!["']?(?:none|null|true|false)\b)"""

_SENSITIVE_NAME = (
    r"(?:token|secret|passw(?:or)?d|passphrase|pwd|(?<![a-z])pin|(?-i:(?<=[a-z])Pin)|auth[_-]?code|credential"
    r"|(?:api|private|signing|encryption)[_-]?key|app[_-]?id[_-]?hash)s?(?:[_-]?(?:key|value|hash))?"
)
_HEADER_NAME = r"(?:authorization|cookie)"

_NAMED_VALUES = tuple(
    re.compile(
        rf"(?P<name>{name}{_BETWEEN}){_NOT_EMPTY_VALUE}(?:{_QUOTED}|{_UNCLOSED}|{bare})", re.IGNORECASE
    )
    for name, bare in ((_HEADER_NAME, r"[^\r\n\"']+"), (_SENSITIVE_NAME, _BARE))
)

_PATTERNS: tuple[tuple[re.Pattern[str], str], ...] = (
    # a database or proxy address with its password
    (re.compile(r"(://[^\s:/@]*:)[^\s/@]+(?=@)"), rf"\g<1>{MASK}"),
    (re.compile(r"(?i)(\bbearer\s+)[\w.~+/=:-]{8,}"), rf"\g<1>{MASK}"),
    # signed tokens: three base64url parts, the first usually `{"` and so `eyJ`; truncated ones too
    (re.compile(r"eyJ[A-Za-z0-9_-]{4,2000}\.[A-Za-z0-9_-]*(?:\.[A-Za-z0-9_-]*)?"), MASK),
    (
        re.compile(
            r"(?<![\w.-])(?=[\w.-]{0,300}\d)(?=[\w.-]{0,300}[A-Z])"
            r"[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}"
        ),
        MASK,
    ),
    # an app id with its token, as in `ABCDEF1234-100:…`
    (re.compile(r"(\b[A-Za-z0-9]{3,}-\d{2,3}(?::|%3[Aa]))[\w.~+/=-]{8,}"), rf"\g<1>{MASK}"),
    # values quoted in errors of libraries: SQL parameters, rejected input
    (re.compile(r"(\[parameters: )[^\n]+"), rf"\g<1>{MASK}]"),
    (re.compile(r"(\binput_value=)[^\n]*?(?=, input_type=|\n|$)"), rf"\g<1>{MASK}"),
)

_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_ALWAYS_SECRET = frozenset(
    {"secret", "secrets", "password", "passwords", "passwd", "passphrase", "pwd", "pin", "cookie", "cookies"}
    | {"authorization", "authcode", "jwt", "credential", "credentials", "appidhash"}
    | {"apikey", "privatekey", "signingkey", "encryptionkey", "encryptionkeys"}
)
_SECRET_AT_THE_END = frozenset({"token", "tokens"})  # `token_state` and `token_expires_at` are no secrets


def redact(text: str) -> str:
    """Replace everything that looks like a secret by `***`."""
    if text.isidentifier() or len(text) < SHORTEST:
        return text
    for pattern in _NAMED_VALUES:
        text = pattern.sub(_mask_value, text)
    for pattern, replacement in _PATTERNS:
        text = pattern.sub(replacement, text)
    return text


def redact_value(value: Any, depth: int = 0) -> Any:
    """Return the value in plain JSON types, with secrets masked at any depth."""
    if isinstance(value, Enum):
        value = value.value
    if value is None or isinstance(value, int | float):
        return str(value) if isinstance(value, float) and not isfinite(value) else value
    if isinstance(value, str | bytes | bytearray):
        return redact(str(value) if isinstance(value, str) else bytes(value).decode("utf-8", "replace"))
    if isinstance(value, date | time | timedelta):
        return value.total_seconds() if isinstance(value, timedelta) else value.isoformat()
    return "…" if depth >= DEEPEST else _redact_container(value, depth)


def redact_fields(fields: Mapping[Any, Any], depth: int = 0) -> dict[str, Any]:
    """Mask the values of secret names and redact all other values."""
    return {redact(str(name)): _redact_field(str(name), value, depth) for name, value in fields.items()}


@lru_cache(maxsize=1024)
def is_secret_name(name: str) -> bool:
    """Return whether a field of this name holds a secret, in any spelling of the name."""
    words = [word.lower() for word in _WORDS.findall(name)]
    pairs = {"".join(words[at : at + length]) for length in (2, 3) for at in range(len(words) - length + 1)}
    while len(words) > 1 and words[-1] in {"value", "hash", "header"}:
        words.pop()
    return bool(words) and (
        words[-1] in _SECRET_AT_THE_END or not _ALWAYS_SECRET.isdisjoint({*words, *pairs})
    )


def _redact_field(name: str, value: Any, depth: int) -> Any:
    # `has_pin`, `pin_changed_at` and a missing token reveal no secret.
    if value is None or isinstance(value, bool | date | timedelta) or not is_secret_name(name):
        return redact_value(value, depth)
    return MASK


def _redact_container(value: Any, depth: int) -> Any:
    if isinstance(value, Mapping):
        return redact_fields(value, depth + 1)
    if isinstance(value, list | tuple) and len(value) == 2 and isinstance(value[0], str):
        # It may be a header and its value.
        return [redact(value[0]), _redact_field(value[0], value[1], depth + 1)]
    if isinstance(value, list | tuple | AbstractSet):
        return [redact_value(item, depth + 1) for item in value]
    if isinstance(value, BaseException):
        return f"{type(value).__name__}: {redact(_text(str, value))}"
    return redact(_text(repr, value))


def _text(convert: Any, value: Any) -> str:
    try:
        return str(convert(value))
    except Exception:  # noqa: BLE001 - an object without a text must not stop the work that logs it
        return f"<{type(value).__name__}>"


def _mask_value(match: re.Match[str]) -> str:
    quote = match["quote"] or ""
    return f"{match['name']}{quote}{MASK}{quote}"
