"""The check of the words that this project does not use."""

import runpy
from pathlib import Path

import pytest

TOOL = runpy.run_path(str(Path(__file__).resolve().parent.parent / "docs" / "tools" / "plain_words.py"))
LIST = """
[[word]]
word = "doubt|doubts"
use = "verification"

[[word]]
word = "look"
use = "probe"
in = "names"

[[word]]
word = "dead"
use = "expired"
unless = "dead letter"
"""


def check(text: str, *, path: str = "src/example.py", exceptions: str = "") -> list[str]:
    """Return what the check says about one file."""
    return TOOL["check"]([(path, text)], LIST + exceptions)


@pytest.mark.parametrize(
    "text",
    [
        "is_in_doubt = 1\n",
        "class Doubts: ...\n",
        "# In doubt.\n",
        '"""A doubt."""\n',
        "x = 'no_doubt_here'\n",
    ],
)
def test_a_listed_word_is_found_wherever_it_is_read(text: str) -> None:
    """Identifiers in every spelling, comments, docstrings and strings count."""
    (found,) = check(text)
    assert found.startswith("src/example.py:1: 'doubt")
    assert found.endswith("use verification")


def test_a_word_for_names_may_stand_in_a_sentence() -> None:
    """Ordinary English is not forbidden: only names carry a private meaning."""
    assert check("# Look at the clock.\n") == []
    assert len(check("first_look = 1\n")) == 1


def test_file_names_are_names_too() -> None:
    """A module is found by its name before anybody reads it."""
    assert len(check("", path="src/second_look.py")) == 1


def test_other_words_are_left_alone() -> None:
    """A longer word that contains a listed one, and the allowed use of a listed one, are no findings."""
    assert check("undoubtedly = overlook = deadline = 1  # a dead letter\n") == []


def test_pages_and_documents_are_read_as_text() -> None:
    """Every line of a page counts, with the line's number."""
    assert check("one\nno doubt\n", path="ui/src/page.tsx") == [
        "ui/src/page.tsx:2: 'doubt': use verification"
    ]


EXCEPTION = """
[[exception]]
words = ["doubt"]
paths = ["src/*"]
reason = "a test"
"""


def test_an_exception_covers_its_files_and_no_others() -> None:
    """An exception names paths, so that the word does not come back elsewhere."""
    assert check("doubt = 1\n", exceptions=EXCEPTION) == []
    assert len(check("doubt = 1\n", path="ui/src/a.ts", exceptions=EXCEPTION)) == 2


def test_an_exception_that_nothing_needs_is_a_finding() -> None:
    """Otherwise the list of exceptions would only grow."""
    (found,) = check("fine = 1\n", exceptions=EXCEPTION)
    assert found.startswith("no longer needed")


def test_every_exception_has_a_reason() -> None:
    """The list of this project explains each of its exceptions."""
    _, exceptions = TOOL["read_list"](TOOL["LIST"].read_text(encoding="utf-8"))
    assert all(exception["reason"] for exception in exceptions)
