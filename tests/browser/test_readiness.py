"""Before the bell: a user's own line, and the operators' list, in a browser."""

import os
import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from browser.people import PHONE, People, serious_findings
from browser.stage import DemoEnvironment

pytestmark = pytest.mark.browser

SBIN, INFY = "NSE:SBIN-EQ", "NSE:INFY-EQ"
OVERFLOWS = "document.documentElement.scrollWidth > document.documentElement.clientWidth"


def shot(tab: Page, name: str) -> None:
    """Keep a picture where somebody wants to look at the page."""
    folder = os.environ.get("HULLWATCH_PICTURES")
    if folder:
        tab.screenshot(path=str(Path(folder) / f"{name}.png"))


def test_who_is_ready_is_told_before_the_bell_and_who_is_watched_after_it(
    early_stage: DemoEnvironment, early_birds: People
):
    """One line says it to each user, the list to the operator; both move by themselves with a login and with the bell."""
    asha = early_birds.trader("Asha", SBIN, INFY)
    ravi = early_birds.trader("Ravi", INFY, viewport=PHONE)
    ravi.call("POST", "/api/fyers/disconnect")
    tab, his, list_tab = asha.open(), ravi.open(), asha.open("/#/readiness")
    hers_line, his_line = tab.locator(".ready-line"), his.locator(".ready-line")

    expect(hers_line).to_have_text(
        "Ready for the opening at 09:15 IST: Fyers confirms your session and both lines are warm."
    )
    expect(tab.locator(".watchlist .status")).to_have_count(0)
    his.get_by_role("dialog").get_by_role("button", name="Later").click()
    expect(his_line).to_contain_text(
        "Not ready for the opening at 09:15 IST, because you disconnected Fyers at 08:5"
    )
    expect(his_line.get_by_role("button")).to_have_count(0)  # the banner has it already

    share, lines = list_tab.locator(".share"), list_tab.locator("tr[data-account]")
    expect(share).to_contain_text("50 %")
    expect(share).to_contain_text("ready: 1 of 2 accounts")
    expect(lines.first).to_contain_text("You disconnected Fyers")
    list_tab.get_by_label("Not ready only").check()
    expect(lines).to_have_count(1)
    list_tab.get_by_label("Not ready only").uncheck()
    list_tab.get_by_role("button", name="Check now").click()
    expect(list_tab.get_by_text(re.compile(r"Checked \d+ s ago; next 09:00 IST"))).to_be_visible()
    for page, name in ((tab, "ready"), (his, "not-ready-phone"), (list_tab, "list")):
        shot(page, name)
    findings = serious_findings(tab) + serious_findings(list_tab) + serious_findings(his)
    is_too_wide = his.evaluate(OVERFLOWS)

    ravi.connect()
    expect(his_line).to_contain_text("Ready for the opening at 09:15 IST")
    expect(share).to_contain_text("100 %")

    early_stage.control("POST", "/clock", {"advanceSeconds": 26 * 60})
    expect(share).to_contain_text("watching: 2 of 2 accounts")
    expect(hers_line).to_have_count(0)
    expect(tab.locator(".watchlist .status")).to_have_text("Your watchlist is being watched.")
    shot(list_tab, "watching")
    assert findings == []
    assert not is_too_wide
    assert early_birds.complaints == []
