"""The codes that confirm e-mail addresses, and how many of them may be mailed."""

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

CODE_LIFETIME: Final = timedelta(minutes=30)
"""Mail servers can delay a mail from an unknown sender for many minutes (greylisting)."""
MOST_WRONG_CODES: Final = 5
"""With 8 digits and `MOST_PER_RECIPIENT` codes a day, one in four million addresses can be guessed in a day."""
WINDOW: Final = timedelta(days=1)
MOST_PER_RECIPIENT: Final = 5
"""Within `WINDOW`, from all users of the server together: the recipient may know none of them."""
MOST_PER_USER: Final = 10
"""Within `WINDOW`, to all addresses together."""
_DIGITS: Final = 8


@dataclass(frozen=True, slots=True)
class MailCode:
    """A mailed code; the code and the recipient are stored as hashes."""

    id: str
    user_id: str
    channel_id: str
    recipient_hash: str
    code_hash: str
    sent_at: datetime
    wrong_codes: int = 0
    """How often another code was entered for this one."""

    def is_valid(self, now: datetime) -> bool:
        """Return whether the code can still be entered."""
        return now < self.sent_at + CODE_LIFETIME and self.wrong_codes < MOST_WRONG_CODES

    def fits(self, code: str) -> bool:
        """Return whether this is the code, as `read_code` returns it."""
        return hmac.compare_digest(self.code_hash, code_hash(self.id, code))


def make_code(secret: str) -> str:
    """Return a code for a random value, in two groups of digits."""
    number = int.from_bytes(hashlib.sha256(secret.encode()).digest()) % 10**_DIGITS
    digits = f"{number:0{_DIGITS}}"
    return f"{digits[:4]}-{digits[4:]}"


def read_code(text: str) -> str:
    """Return the digits of a typed code, without spaces and hyphens."""
    return "".join(text.split()).replace("-", "")


def code_hash(code_id: str, code: str) -> str:
    """Return the form in which a code is stored. It is short-lived, so a fast hash is enough."""
    return hashlib.sha256(f"{code_id}:{read_code(code)}".encode("utf-8", "surrogatepass")).hexdigest()


def recipient_hash(address: str) -> str:
    """Return the form in which a recipient is counted."""
    return hashlib.sha256(address.encode()).hexdigest()


def wait_s(sent_at: Sequence[datetime], most: int, now: datetime) -> float:
    """Return for how long no further code may be mailed, given the moments of the last ones within `WINDOW`."""
    if len(sent_at) < most:
        return 0.0
    return max(0.0, (sorted(sent_at)[-most] + WINDOW - now).total_seconds())
