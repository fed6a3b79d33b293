"""Takes the pictures of the dashboard in a browser, from a server and the simulator.

Run with ``python docs/tools/dashboard_pictures.py``.
"""

import shutil
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from browser.conftest import FLAGS  # noqa: E402 - found by the line above
from browser.environment import BrowserEnvironment  # noqa: E402
from browser.users import NO_VALUE, PHONE, BrowserUsers, wait_for_another_price  # noqa: E402
from playwright.sync_api import Browser, sync_playwright  # noqa: E402

SYMBOLS = (
    "NSE:NIFTY50-INDEX", "NSE:RELIANCE-EQ", "NSE:SBIN-EQ", "NSE:INFY-EQ", "NSE:HDFCBANK-EQ", "NSE:TCS-EQ", "NSE:ITC-EQ",
)  # fmt: skip
OTHERS = ("Ravi", "Meena", "Arjun", "Divya", "Kabir", "Leela")
ENOUGH_SIGNALS = 9


def take(browser: Browser, folder: Path) -> None:
    """Create users, wait for signals, and take the pictures."""
    environment = BrowserEnvironment(folder, speed=60.0)
    users = BrowserUsers(browser, environment)
    try:
        asha = users.trader("Asha", viewport={"width": 1500, "height": 900}, device_scale_factor=1.5)
        asha.watch(*SYMBOLS, resolution="5", period=21)
        others = [users.trader(name, SYMBOLS[1]) for name in OTHERS]
        users.register_later("Nikhil").register()
        tab = asha.open()
        wait_for_another_price(tab, SYMBOLS[0], NO_VALUE)
        tab.get_by_role("button", name="RELIANCE", exact=True).click()
        tab.wait_for_selector(".chart .canvas[data-ready=true]", timeout=60_000)
        tab.wait_for_function(
            "least => document.querySelectorAll('.signals tbody tr').length >= least",
            arg=ENOUGH_SIGNALS,
            timeout=90_000,
        )
        environment.control("POST", "/clock", {"speed": 5})
        tab.screenshot(path=ROOT / "docs" / "dashboard.png")
        phone = users.second_browser(asha, viewport=PHONE, device_scale_factor=2, color_scheme="light").open()
        wait_for_another_price(phone, SYMBOLS[0], NO_VALUE)
        phone.screenshot(path=ROOT / "docs" / "dashboard-phone.png")
        environment.control("POST", f"/accounts/{others[1].fyers_id}/revoke")
        tab.goto(f"{environment.url}/#/health")
        tab.emulate_media(color_scheme="light")
        tab.get_by_text("rejected").wait_for(timeout=60_000)
        tab.screenshot(path=ROOT / "docs" / "dashboard-health.png")
        environment.control("POST", f"/accounts/{asha.fyers_id}/revoke")
        tab.goto(f"{environment.url}/#/watch")
        tab.emulate_media(color_scheme="dark")
        tab.get_by_role("dialog").wait_for(timeout=60_000)
        tab.wait_for_timeout(600)  # the dialog opens with an animation
        tab.screenshot(path=ROOT / "docs" / "dashboard-reconnect.png")
    finally:
        users.close()
        environment.close()


def main() -> None:
    """Open the browser and take the pictures."""
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
        chromium = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        take(chromium, Path(folder))
        chromium.close()


if __name__ == "__main__":
    main()
