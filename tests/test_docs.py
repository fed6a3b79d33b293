"""The documentation agrees with the code where it can be compared."""

import importlib.util
import json
import re
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

from pydantic import SecretStr

from hullwatch.channels.webhook import body_of, sign
from hullwatch.domain.notifications.channels import Message
from hullwatch.domain.notifications.notifications import PAGE_ONLY, Notification, NotificationKind
from hullwatch.settings import PREFIX, Settings

REPOSITORY = Path(__file__).resolve().parent.parent
PACKAGE = REPOSITORY / "src" / "hullwatch"
RECORD_HEADINGS = ["Context", "Decision", "Consequences", "Alternatives"]


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
    """A relative link in a page names a file that exists."""
    pages = [
        *sorted(REPOSITORY.glob("*.md")),
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


def test_every_path_in_the_architecture_exists():
    """A path in `docs/architecture.md` is relative to the package or to the repository."""
    page = (REPOSITORY / "docs" / "architecture.md").read_text(encoding="utf-8")
    paths = [path for path in re.findall(r"`([\w./]+)`", page) if path.endswith((".py", ".ts", ".toml", "/"))]

    assert paths
    assert [
        path for path in paths if not (PACKAGE / path).exists() and not (REPOSITORY / path).exists()
    ] == []


def test_every_broad_except_is_listed_with_its_reason():
    """A new `except Exception` needs a reason beside it and a line in `docs/architecture.md`."""
    page = (REPOSITORY / "docs" / "architecture.md").read_text(encoding="utf-8")
    section = page.split("## Broad `except`")[1].split("\n## ")[0]
    listed = re.findall(r"^- `([\w/]+\.py)`", section, re.MULTILINE)
    found = [
        (path.relative_to(PACKAGE).as_posix(), line)
        for path in sorted(PACKAGE.rglob("*.py"))
        for line in path.read_text(encoding="utf-8").splitlines()
        if re.search(r"\bexcept\s*(:|\(?.*\b(Exception|BaseException)\b)", line)
    ]

    assert sorted(path for path, _ in found) == sorted(listed)
    assert len(found) == 4
    assert [line for _, line in found if not re.search(r"# noqa: BLE001 - \w+ \w+", line)] == []


def test_the_job_table_names_every_supervised_job():
    """`/readyz` and the metrics show the jobs by these names."""
    page = (REPOSITORY / "docs" / "architecture.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"^\| `([a-z-]+)` \|", page.split("## Jobs")[1], re.MULTILINE))
    source = "\n".join(path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py"))
    started = set(re.findall(r"\.(?:every|spawn)\(\s*\"([a-z-]+)\"", source))

    assert started
    assert started - listed == set()
    assert {name for name in listed if f'"{name}"' not in source} == set()


def test_the_settings_page_lists_every_setting_with_its_default():
    """`docs/settings.md` is complete, and its defaults are those of the code."""
    page = (REPOSITORY / "docs" / "settings.md").read_text(encoding="utf-8")
    listed: dict[str, str] = {}
    for names, default in re.findall(r"^\| (`[A-Z_`, ]+) \| ([^|]+) \|", page, re.MULTILINE):
        values = re.findall(r"`([^`]+)`", default) or ([""] if default == "empty" else ["…"])
        every = re.findall(r"`([A-Z_]+)`", names)
        listed |= dict(zip(every, values * (len(every) if len(values) == 1 else 1), strict=True))
    known = {
        name.upper()
        if name.startswith("fyers_") and field.validation_alias
        else f"{PREFIX}{name.upper()}": field
        for name, field in Settings.model_fields.items()
    }

    assert listed.keys() == known.keys()
    for name, default in listed.items():
        value = known[name].default
        text = value.get_secret_value() if isinstance(value, SecretStr) else value
        if default == "…":
            assert text == "", name
        elif default.startswith("./"):
            assert Path(default) == text, name
        else:
            assert default == str("" if text is None else text).lower() or default == str(text), name


def test_the_webhook_page_lists_every_kind_that_is_sent():
    """A receiver sees these kinds; those shown in the page alone are left out."""
    page = (REPOSITORY / "docs" / "webhooks.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| `([a-z_]+)` \|", page.split("| kind |")[1], re.MULTILINE)

    assert sorted(listed) == sorted(kind.value for kind in NotificationKind if kind not in PAGE_ONLY)


def test_the_webhook_page_verifies_a_real_signature():
    """Its Python example accepts what the channel signs, and refuses another body and an old time."""
    page = (REPOSITORY / "docs" / "webhooks.md").read_text(encoding="utf-8")
    example: dict[str, Any] = {}
    exec(re.findall(r"```python\n(.*?)```", page, re.DOTALL)[0], example)
    is_authentic = example["is_authentic"]
    now = int(time.time())

    assert is_authentic(b"{}", sign(b"{}", "secret", now), "secret")
    assert not is_authentic(b"[]", sign(b"{}", "secret", now), "secret")
    assert not is_authentic(b"{}", sign(b"{}", "secret", now - 3600), "secret")


def test_the_webhook_page_shows_the_fields_that_are_sent():
    """The example body has the fields of a notice without a login link; the link is named below it."""
    page = (REPOSITORY / "docs" / "webhooks.md").read_text(encoding="utf-8")
    example = json.loads(re.findall(r"```json\n(.*?)```", page, re.DOTALL)[0])
    notice = Notification(
        "ntc_1", "usr_1", NotificationKind.SIGNAL, "t", "x", datetime(2026, 6, 17, tzinfo=UTC)
    )
    to_login = replace(notice, kind=NotificationKind.NOT_READY)

    assert example.keys() == json.loads(body_of(Message("ntc_1.chn_1", notice))).keys()
    assert json.loads(body_of(Message("ntc_1.chn_1", to_login))).keys() - example.keys() == {"loginUrl"}
    assert "| `loginUrl` |" in page


def test_every_decision_record_has_a_date_and_the_same_headings():
    """The date is the day on which the record was written."""
    for record in sorted((REPOSITORY / "docs" / "decisions").glob("0*.md")):
        text = record.read_text(encoding="utf-8")
        number = record.name[:4]

        assert text.startswith(f"# {number} "), record.name
        assert re.search(r"^Decided: 20\d\d-\d\d-\d\d$", text, re.MULTILINE), record.name
        assert re.findall(r"^## (.+)$", text, re.MULTILINE) == RECORD_HEADINGS, record.name


def test_lines_of_prose_fit_an_editor():
    """At most 120 characters, except in tables and pictures."""
    pages = [*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").rglob("*.md")]
    long = [
        f"{page.relative_to(REPOSITORY)}:{number}"
        for page in pages
        for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1)
        if len(line) > 120 and not line.startswith(("|", "!"))
    ]

    assert long == []
