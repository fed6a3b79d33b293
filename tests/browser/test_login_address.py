"""The questions before a login at Fyers: it would not return to this page, or Fyers has an outage."""

import pytest
from playwright.sync_api import expect

from browser.environment import BrowserEnvironment
from browser.users import APP, BrowserUsers

pytestmark = pytest.mark.browser

SBIN = "NSE:SBIN-EQ"


def test_the_page_names_the_address_to_open(
    environment: BrowserEnvironment, users: BrowserUsers, tmp_path
) -> None:
    """The redirect address says localhost, and the page is open at 127.0.0.1; the login there would fail."""
    asha = users.trader("Asha", SBIN)
    other = f"http://localhost:{environment.port}"
    asha.call("PUT", "/api/fyers/app", {**APP, "redirectUri": f"{other}/api/fyers/callback"})
    tab = asha.open("/#/fyers")

    tab.get_by_role("button", name="Log in again").click()

    dialog = tab.get_by_role("dialog", name="The login would not return to this page")
    expect(dialog).to_contain_text(f"Open {other} and log in to Fyers there.")
    tab.screenshot(path=tmp_path / "login-address.png")
    dialog.get_by_role("button", name="Cancel").click()
    expect(dialog).to_have_count(0)
    tab.get_by_role("button", name="Log in again").click()
    dialog.get_by_role("button", name=f"Open {other}").click()
    expect(tab).to_have_url(f"{other}/#/fyers")
    expect(tab.get_by_role("button", name="Sign in")).to_be_visible()
    assert users.page_errors == []


def test_a_login_link_under_another_host_is_explained(
    environment: BrowserEnvironment, users: BrowserUsers, tmp_path
) -> None:
    """The link page says which address to open, before the user is sent to Fyers."""
    asha = users.trader("Asha", SBIN)
    link = asha.call("POST", "/api/fyers/link")["url"]
    tab = users.window().new_page()
    tab.goto(link.replace("127.0.0.1", "localhost"))

    tab.get_by_role("button", name="Log in to Fyers").click()

    expect(tab.locator("#message")).to_contain_text("Open the link exactly as you received it.")
    expect(tab.get_by_role("button")).to_have_count(0)
    tab.screenshot(path=tmp_path / "link-address.png")
    tab.goto(link)
    tab.get_by_role("button", name="Log in to Fyers").click()
    expect(tab.get_by_label("Fyers id")).to_be_visible()
    assert users.page_errors == []


def test_a_login_in_an_outage_needs_an_answer(
    fresh_environment: BrowserEnvironment, new_users: BrowserUsers, tmp_path
) -> None:
    """Fyers refuses everybody; the login can be tried all the same."""
    people = [new_users.trader(name, SBIN) for name in ("Asha", "Ravi", "Meera")]
    tabs = [person.open("/#/fyers") for person in people]
    fresh_environment.control("POST", "/faults", {"kind": "auth_error_all"})
    tab = tabs[0]
    expect(tab.locator("[data-banner=outage]")).to_contain_text("refusing many sessions")

    tab.get_by_role("button", name="Log in again").click()

    dialog = tab.get_by_role("dialog", name="Fyers has an outage")
    expect(dialog).to_contain_text("the login may fail")
    tab.screenshot(path=tmp_path / "login-outage.png")
    dialog.get_by_role("button", name="Log in anyway").click()
    expect(tab.get_by_label("Fyers id")).to_be_visible()
    assert new_users.page_errors == []
