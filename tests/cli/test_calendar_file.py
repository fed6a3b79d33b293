"""The setting for the operator's own trading days, `HULLWATCH_CALENDAR_FILE`."""

from datetime import date
from pathlib import Path

import pytest

from hullwatch.app import open_application
from hullwatch.app.calendar_file import read_calendar
from hullwatch.domain.market.calendar import nse_calendar
from hullwatch.settings import Settings, SettingsRefused

GOOD = """years = [2027]\n[closures]\n2027-01-26 = "Republic Day"\n"""


def settings_with(tmp_path: Path, content: bytes | str | None) -> Settings:
    """Return settings with a calendar file of this content; `None` for a missing file."""
    path = tmp_path / "days.toml"
    if isinstance(content, str):
        path.write_text(content, encoding="utf-8")
    elif content is not None:
        path.write_bytes(content)
    return Settings(_env_file=None, data_dir=tmp_path / "data", calendar_file=path)


def test_without_a_file_the_built_in_calendar_is_used(tmp_path: Path) -> None:
    """The calendar is the same object, so no copy differs."""
    assert read_calendar(Settings(_env_file=None, data_dir=tmp_path)) is nse_calendar()


@pytest.mark.parametrize("prefix", ["", "\ufeff"])
def test_a_file_adds_its_year(tmp_path: Path, prefix: str) -> None:
    """With and without the byte order mark that some editors write."""
    assert read_calendar(settings_with(tmp_path, prefix + GOOD)).covers_until == date(2027, 12, 31)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "No such file"),
        (b"\xff\xfe", "UTF-8"),
        ("years == 1", "line 1"),
        (GOOD.replace("01-26", "13-26"), "2027-13-26"),
    ],
)
def test_an_unusable_file_is_refused(tmp_path: Path, content: bytes | str | None, words: str) -> None:
    """One sentence names the setting, the file and the problem."""
    with pytest.raises(SettingsRefused) as refused:
        read_calendar(settings_with(tmp_path, content))

    sentence = str(refused.value)
    assert sentence.startswith("HULLWATCH_CALENDAR_FILE cannot be used: ")
    assert str(tmp_path / "days.toml") in sentence
    assert words in sentence
    assert sentence.isprintable()


def test_a_folder_instead_of_a_file_is_refused(tmp_path: Path) -> None:
    """The sentence names the setting."""
    with pytest.raises(SettingsRefused, match="HULLWATCH_CALENDAR_FILE"):
        read_calendar(Settings(_env_file=None, data_dir=tmp_path, calendar_file=tmp_path))


async def test_the_application_uses_the_file(tmp_path: Path) -> None:
    """With an unusable file the application does not open and creates no data folder."""
    async with open_application(settings_with(tmp_path, GOOD)) as application:
        assert not application.services.context.calendar.is_trading_day(date(2027, 1, 26))
        assert application.services.context.calendar.is_known(date(2027, 1, 27))

    other = tmp_path / "other"
    other.mkdir()
    with pytest.raises(SettingsRefused, match=r"days\.toml"):
        async with open_application(settings_with(other, "years = 3")):
            pass
    assert not (other / "data").exists()
