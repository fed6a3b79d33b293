"""Finds words with a private meaning in names, file names and texts. The list is ``plain-words.toml``.

Run by ``make check``. It exits 1 when it prints a finding or an exception that is no longer needed.
"""

import fnmatch
import io
import re
import subprocess
import sys
import tokenize
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
LIST = Path(__file__).with_name("plain-words.toml")
_PARTS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_TEXTS = {".md", ".ts", ".tsx", ".css", ".html", ".toml", ".yml", ".yaml"}


@dataclass(frozen=True, slots=True)
class Word:
    """One entry of the list."""

    pattern: re.Pattern[str]
    use: str
    is_for_names_only: bool
    unless: re.Pattern[str] | None


@dataclass(frozen=True, slots=True)
class Finding:
    """A word in a file."""

    path: str
    line: int
    word: str
    use: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: '{self.word}': use {self.use}"


def read_list(text: str) -> tuple[list[Word], list[dict[str, Any]]]:
    """Return the words and the exceptions of a list."""
    table = tomllib.loads(text)
    words = [
        Word(
            _pattern(entry["word"]), entry["use"], entry.get("in") == "names", _optional(entry.get("unless"))
        )
        for entry in table["word"]
    ]
    return words, table.get("exception", [])


def _pattern(alternatives: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![\w'-])(?:{alternatives})(?![\w-])", re.IGNORECASE)


def _optional(alternatives: str | None) -> re.Pattern[str] | None:
    return _pattern(alternatives) if alternatives else None


def words_of_name(name: str) -> str:
    """Return the words of a name in any spelling, ``market open`` for ``MarketOpen`` and ``MARKET_OPEN``."""
    return " ".join(part.lower() for part in _PARTS.findall(name))


def pieces(path: str, text: str) -> Iterator[tuple[int, str, bool]]:
    """Yield line, text and whether it is a name: the file's own name, then its content."""
    yield 1, " ".join(words_of_name(part) for part in Path(path).with_suffix("").parts), True
    if path.endswith(".py"):
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type == tokenize.NAME:
                yield token.start[0], words_of_name(token.string), True
            elif token.type in (tokenize.COMMENT, tokenize.STRING):
                for number, line in enumerate(token.string.splitlines()):
                    yield token.start[0] + number, line.replace("_", " "), False
    else:
        for number, line in enumerate(text.splitlines(), 1):
            yield number, line.replace("_", " "), False


def findings(path: str, text: str, words: Iterable[Word]) -> Iterator[Finding]:
    """Yield every listed word in one file."""
    words = list(words)
    for line, piece, is_name in pieces(path, text):
        for word in words:
            if word.is_for_names_only and not is_name:
                continue
            rest = word.unless.sub("", piece) if word.unless else piece
            for match in word.pattern.finditer(rest):
                yield Finding(path, line, match[0].lower(), word.use)


def check(files: Iterable[tuple[str, str]], list_text: str) -> list[str]:
    """Return what is wrong: findings without an exception, and exceptions without a finding."""
    words, exceptions = read_list(list_text)
    used: set[int] = set()
    wrong = []
    for path, text in files:
        for finding in findings(path, text, words):
            covering = [
                number
                for number, one in enumerate(exceptions)
                if finding.word in one["words"] and any(fnmatch.fnmatch(path, glob) for glob in one["paths"])
            ]
            used.update(covering)
            if not covering:
                wrong.append(str(finding))
    unused = [one for number, one in enumerate(exceptions) if number not in used]
    return wrong + [f"no longer needed: the exception for {one['words']} in {one['paths']}" for one in unused]


def tracked_files() -> Iterator[tuple[str, str]]:
    """Yield path and text of every file that counts."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)  # noqa: S607
    for path in listed.stdout.splitlines():
        is_text = path.endswith(".py") or Path(path).suffix in _TEXTS
        if is_text and (ROOT / path).is_file() and not path.endswith((".lock", "plain-words.toml")):
            yield path, (ROOT / path).read_text(encoding="utf-8")


def main(only: list[str]) -> int:
    """Print what is wrong, in all files or below the given folders."""
    wrong = check(tracked_files(), LIST.read_text(encoding="utf-8"))
    shown = [line for line in wrong if not only or line.startswith(tuple(only))]
    print("\n".join(shown) if shown else "plain words: nothing found")  # noqa: T201
    return 1 if shown else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
