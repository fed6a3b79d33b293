"""The operator's own table of trading days, from the setting to the house; `hullwatch.app.calendar_file`."""

from datetime import date
from pathlib import Path

import pytest

from hullwatch.app import open_application
from hullwatch.app.calendar_file import read_calendar
from hullwatch.domain.market.calendar import nse_calendar
from hullwatch.settings import Settings, SettingsRefused

GOOD = """years = [2027]\n[closures]\n2027-01-26 = "Republic Day"\n"""


def settings_with(tmp_path: Path, content: bytes | str | None) -> Settings:
    """Return settings that name a file with this in it; `None` for no file."""
    path = tmp_path / "days.toml"
    if isinstance(content, str):
        path.write_text(content, encoding="utf-8")
    elif content is not None:
        path.write_bytes(content)
    return Settings(_env_file=None, data_dir=tmp_path / "data", calendar_file=path)


def test_without_a_file_the_calendar_is_the_exchanges(tmp_path: Path) -> None:
    """Nothing set, nothing added."""
    assert read_calendar(Settings(_env_file=None, data_dir=tmp_path)) is nse_calendar()


@pytest.mark.parametrize("prefix", ["", "\ufeff"])
def test_a_file_adds_its_year(tmp_path: Path, prefix: str) -> None:
    """The year is known, with or without the mark that some editors put in front."""
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
def test_an_unusable_file_is_refused_by_name(tmp_path: Path, content: bytes | str | None, words: str) -> None:
    """One sentence names the setting, the file and what is wrong in it."""
    with pytest.raises(SettingsRefused) as refused:
        read_calendar(settings_with(tmp_path, content))

    told = str(refused.value)
    assert told.startswith("HULLWATCH_CALENDAR_FILE cannot be used: ")
    assert str(tmp_path / "days.toml") in told
    assert words in told
    assert told.isprintable()


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    """A folder in its place is refused as well."""
    with pytest.raises(SettingsRefused, match="HULLWATCH_CALENDAR_FILE"):
        read_calendar(Settings(_env_file=None, data_dir=tmp_path, calendar_file=tmp_path))


async def test_the_house_keeps_the_operators_days(tmp_path: Path) -> None:
    """An opened house knows them; with an unusable file it does not open, and makes nothing."""
    async with open_application(settings_with(tmp_path, GOOD)) as house:
        assert not house.services.context.calendar.is_trading_day(date(2027, 1, 26))
        assert house.services.context.calendar.is_known(date(2027, 1, 27))

    other = tmp_path / "other"
    other.mkdir()
    with pytest.raises(SettingsRefused, match=r"days\.toml"):
        async with open_application(settings_with(other, "years = 3")):
            pass
    assert not (other / "data").exists()
