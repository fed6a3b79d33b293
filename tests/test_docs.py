"""The documentation agrees with the code where it can be compared."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType

REPOSITORY = Path(__file__).resolve().parent.parent


def _load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_pictures_of_the_state_tables_are_made_from_the_tables():
    """`python docs/tools/state_tables.py` would change nothing."""
    tool = _load(REPOSITORY / "docs" / "tools" / "state_tables.py")
    page = tool.PAGE.read_text(encoding="utf-8")

    assert "stateDiagram-v2" in page
    assert tool.with_pictures(page) == page


def test_every_link_between_pages_leads_somewhere():
    """A relative link in README or docs names a file that exists."""
    pages = [
        REPOSITORY / "README.md",
        REPOSITORY / "CHANGELOG.md",
        *sorted((REPOSITORY / "docs").rglob("*.md")),
    ]
    links = [
        (page, target.split("#")[0])
        for page in pages
        for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8"))
        if "://" not in target and not target.startswith(("#", "mailto:"))
    ]

    assert links
    assert [(page.name, target) for page, target in links if not (page.parent / target).exists()] == []


def test_every_decision_is_in_the_list():
    """`docs/decisions/README.md` names each record."""
    folder = REPOSITORY / "docs" / "decisions"
    index = (folder / "README.md").read_text(encoding="utf-8")

    assert [record.name for record in sorted(folder.glob("0*.md")) if record.name not in index] == []
