"""Draws the state tables of broker sessions in ``docs/architecture.md``: ``python docs/tools/state_tables.py``.

A test fails while a diagram differs from its table.
"""

import re
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path

from hullwatch.domain.sessions.connection import LOGIN_TABLE, VERIFICATION_TABLE

PAGE = Path(__file__).resolve().parent.parent / "architecture.md"


def picture(table: Mapping[tuple[StrEnum, StrEnum], StrEnum]) -> str:
    """Return a table as a Mermaid state diagram; what changes nothing is left out."""
    arrows: dict[tuple[str, str], list[str]] = {}
    for (state, trigger), after in table.items():
        if state is not after:
            arrows.setdefault((state.value, after.value), []).append(trigger.value)
    lines = [
        f"    {before} --> {after}: {', '.join(triggers)}" for (before, after), triggers in arrows.items()
    ]
    return "\n".join(["```mermaid", "stateDiagram-v2", *lines, "```"])


def with_pictures(page: str) -> str:
    """Return the page with both tables as they are now."""
    for name, table in (("login", LOGIN_TABLE), ("verification", VERIFICATION_TABLE)):
        begin, end = f"<!-- table: {name} -->", "<!-- end -->"
        page = re.sub(f"{begin}.*?{end}", f"{begin}\n{picture(table)}\n{end}", page, flags=re.DOTALL)
    return page


if __name__ == "__main__":
    PAGE.write_text(with_pictures(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
