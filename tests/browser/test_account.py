"""The page *Account*: where a user is signed in, and signing out everywhere."""

import pytest
from playwright.sync_api import expect

from browser.users import BrowserUsers, accessibility_findings

pytestmark = pytest.mark.browser


def test_other_logins_are_listed_and_ended(users: BrowserUsers):
    """The other browser's page shows the sign-in at once, without a reload; this one goes on."""
    asha = users.trader("Asha")
    other = users.second_browser(asha)
    page = other.open("/#/account")
    expect(page.get_by_role("heading", name="Account", exact=True)).to_be_visible()
    tab = asha.open("/#/account")
    panel = tab.get_by_role("region", name="Where you are signed in")
    expect(panel.get_by_role("row", name="This browser")).to_have_count(1)
    expect(panel.get_by_role("row", name="Another browser")).to_have_count(1)
    tab.get_by_label("Token name").fill("my laptop")
    tab.get_by_role("button", name="Create a token").click()
    expect(tab.get_by_role("row", name="my laptop")).to_be_visible()
    findings = accessibility_findings(tab)

    panel.get_by_role("button", name="Sign out everywhere").click()
    dialog = tab.get_by_role("dialog", name="Sign out everywhere?")
    expect(dialog).to_contain_text("all API tokens and all login links")
    findings += accessibility_findings(tab)
    dialog.get_by_role("button", name="Sign out everywhere").click()

    expect(page.get_by_role("button", name="Sign in")).to_be_visible()
    expect(panel.get_by_role("row", name="Another browser")).to_have_count(0)
    expect(panel.get_by_role("row", name="This browser")).to_have_count(1)
    expect(tab.get_by_role("region", name="API tokens").first).to_contain_text("No API tokens yet")
    assert findings == []
