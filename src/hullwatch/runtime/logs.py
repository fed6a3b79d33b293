"""Writes all log lines, ours and those of libraries: redacted, as JSON objects or as text on a terminal."""

import logging
import os
import sys
import traceback
from collections.abc import Callable, MutableMapping
from datetime import UTC, datetime
from functools import lru_cache
from json import dumps
from typing import Any, TextIO, cast

import structlog

from hullwatch.runtime.redaction import redact, redact_fields

__all__ = ["configure_logging", "redact"]

Event = MutableMapping[str, Any]
Renderer = Callable[[Event], str]

LIBRARIES_WITH_HANDLERS = ("uvicorn", "uvicorn.error", "uvicorn.access", "aiohttp", "sqlalchemy", "asyncio")
"""Loggers that may have handlers of their own, which would bypass the redaction."""

STATEMENT_LOGGERS = ("sqlalchemy.engine", "sqlalchemy.pool", "aiosqlite")
"""Loggers that write SQL statements with their parameters below WARNING."""

_LEVEL_COLOURS = {"debug": "2", "info": "32", "warning": "33", "error": "31", "critical": "1;31"}
_LEADING = ("at", "level", "component", "event")


def configure_logging(
    *,
    json: bool | None = None,
    level: int | str = "INFO",
    stream: TextIO | None = None,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> None:
    """Send all log lines of this process, those of libraries included, to one stream.

    Args:
        json: one JSON object a line, or text; None chooses text on a terminal only.
        level: the lowest level of our lines. Libraries log from WARNING, and from INFO if this is DEBUG.
        stream: standard error unless given. A stream that cannot be written to loses lines silently.
        now: returns the time of a line.
    """
    out = sys.stderr if stream is None else stream
    is_terminal = out.isatty()
    as_json = not is_terminal if json is None else json
    number = _level_number(level)
    writer = _Lines(out)
    render = _as_json if as_json else _TextRenderer(coloured=is_terminal and not os.environ.get("NO_COLOR"))
    finish = _Finish(now, render)
    structlog.configure(
        processors=[structlog.contextvars.merge_contextvars, finish],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=lambda *_: writer,
        cache_logger_on_first_use=False,
    )
    _redirect_libraries(_LibraryHandler(finish, writer), number)


class _Finish:
    """The last processor: adds time and level, turns an exception into text, redacts, renders."""

    def __init__(self, now: Callable[[], datetime], render: Renderer) -> None:
        self._now = now
        self._render = render

    def __call__(self, _logger: Any, method: str, event: Event) -> str:
        fields = dict(event)
        fields.pop("stack_info", None)
        error = _exception_in(fields.pop("exc_info", None))
        if error is not None:
            fields.setdefault("error", type(error).__name__)
            fields["exception"] = "".join(traceback.format_exception(error)).rstrip()
        plain = redact_fields(fields)
        plain["at"] = self._now().isoformat(timespec="milliseconds")
        plain["level"] = "error" if method == "exception" else method
        ordered = {name: plain.pop(name) for name in _LEADING if name in plain}
        return self._render(ordered | {_camel(name): value for name, value in plain.items()})


def _as_json(event: Event) -> str:
    return dumps(event)  # escapes all but ASCII, so that a value cannot start a second line


class _TextRenderer:
    """`12:00:01.000 warning [Supervisor] job.failed job=stream`; an exception has lines of its own."""

    def __init__(self, *, coloured: bool) -> None:
        self._coloured = coloured

    def __call__(self, event: Event) -> str:
        fields = dict(event)
        level, exception = fields.pop("level"), fields.pop("exception", None)
        words = [
            self._paint("2", fields.pop("at")[11:23]),
            self._paint(_LEVEL_COLOURS.get(level, "0"), level),
        ]
        if "component" in fields:
            words.append(self._paint("36", f"[{_one_line(str(fields.pop('component')))}]"))
        words.append(self._paint("1", _one_line(str(fields.pop("event", "")))))
        words += [
            f"{self._paint('2', _one_line(name) + '=')}{_shown(value)}" for name, value in fields.items()
        ]
        lines = [" ".join(words)]
        if exception is not None:
            lines += ["    " + _one_line(line) for line in str(exception).splitlines()]
        return "\n".join(lines)

    def _paint(self, colour: str, text: str) -> str:
        return f"\x1b[{colour}m{text}\x1b[0m" if self._coloured else text


class _Lines:
    """The stream for structlog and the library handler. A line that cannot be written stops no work."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, line: str) -> None:
        """Write one line; characters that the encoding lacks are escaped."""
        try:
            encoding = self._stream.encoding or "utf-8"
            self._stream.write(line.encode(encoding, "backslashreplace").decode(encoding) + "\n")
            self._stream.flush()
        except (OSError, ValueError):  # a closed or broken stream: the failure cannot be logged either
            return

    debug = info = warning = error = critical = exception = msg = write


class _LibraryHandler(logging.Handler):
    """Writes records of the standard library in the same form, with the logger's name as component."""

    def __init__(self, finish: _Finish, writer: _Lines) -> None:
        super().__init__()
        self._finish = finish
        self._writer = writer

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        event: Event = {"event": _message(record), "component": record.name, "exc_info": record.exc_info}
        event = structlog.contextvars.merge_contextvars(None, "", event)
        self._writer.write(self._finish(None, record.levelname.lower(), event))


def _redirect_libraries(handler: logging.Handler, level: int) -> None:
    root = logging.getLogger()
    for other in tuple(root.handlers):
        root.removeHandler(other)
    root.addHandler(handler)
    root.setLevel(logging.INFO if level <= logging.DEBUG else max(level, logging.WARNING))
    for name in LIBRARIES_WITH_HANDLERS:
        library = logging.getLogger(name)
        library.handlers.clear()
        library.propagate = True
        library.setLevel(logging.NOTSET)
    for name in STATEMENT_LOGGERS:
        logging.getLogger(name).setLevel(logging.WARNING)


def _level_number(level: int | str) -> int:
    number = logging.getLevelNamesMapping().get(level.upper()) if isinstance(level, str) else level
    if number is None:
        raise ValueError(f"there is no log level {level}")
    return number


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception:  # noqa: BLE001 - a wrong log call of a library must not stop its work
        return str(record.msg)


def _exception_in(exc_info: Any) -> BaseException | None:
    """Return the exception of `exc_info`: an exception, a triple, or true for the current one."""
    if isinstance(exc_info, BaseException):
        return exc_info
    if isinstance(exc_info, tuple):
        return cast(BaseException | None, exc_info[1])
    return sys.exc_info()[1] if exc_info else None


@lru_cache(maxsize=1024)
def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word[:1].upper() + word[1:] for word in rest) if first else name


def _shown(value: Any) -> str:
    if isinstance(value, str):
        return value if value and value.isprintable() and not set(value) & set(" =\"'") else repr(value)
    return dumps(value)


def _one_line(text: str) -> str:
    """Escape characters that would start another line or control the terminal."""
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
