"""Refuses passwords that guessing programs try early. The estimate works offline."""

import re
import threading
from collections.abc import Iterable
from typing import Final

from hullwatch.domain.failures import InvalidInput

WEAKEST_SCORE: Final = 3
"""Of 0 to 4; 3 means at least 100 million guesses, so the locks of logins make an attack hopeless."""
LONGEST_ESTIMATED: Final = 64
"""Characters that are estimated, about 30 ms of a core; the time grows faster than the length."""
SHORTEST_WORD: Final = 3
SHORTEST_REST: Final = 6
"""Letters and digits that a password with words about the user has besides them."""
_OWN_WORDS: Final = ("hullwatch", "fyers")
_lock = threading.Lock()


def check_strength(password: str, *, about: Iterable[str]) -> None:
    """Refuse common and trivial passwords, and those that consist of what is known about the user.

    Args:
        password: The new password.
        about: Texts about the user, such as the e-mail address and the name.

    Raises:
        InvalidInput: The password is too easy to guess.
    """
    # Imported late: its word lists take 15 MB, and most commands check no password.
    from zxcvbn import zxcvbn  # noqa: PLC0415

    texts = {text.lower() for text in (*_OWN_WORDS, *about)}
    words = texts | {
        word for text in texts for word in re.split(r"[\W_]+", text) if len(word) >= SHORTEST_WORD
    }
    # The library keeps the words of the last call in a module.
    with _lock:
        found = zxcvbn(password[:LONGEST_ESTIMATED], user_inputs=sorted(words))
    if found["score"] < WEAKEST_SCORE or _consists_of(words, password):
        raise InvalidInput(
            "This password is too easy to guess. Use three or more words that do not belong together.",
            field="password",
        )


def _consists_of(words: Iterable[str], password: str) -> bool:
    """Whether a password has little besides these words. The estimate rates several of them together too high."""
    rest = password.lower()
    for word in sorted(words, key=len, reverse=True):
        rest = rest.replace(word, "")
    is_changed = len(rest) < len(password)
    return is_changed and len(rest) - len(re.findall(r"[\s!-/:-@[-`{-~]", rest)) < SHORTEST_REST
