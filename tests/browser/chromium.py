"""A headless Chromium for tests of what a user sees; where there is none, tests are skipped and say what is missing."""

import contextlib
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

TIMEOUT_S = 120.0
SHOTS = "THPSWEEP_SHOTS"
"""Variable that names a folder: pages are left there as PNG, to be looked at."""


@contextlib.contextmanager
def chromium() -> Iterator["Page"]:
    """Run a browser."""
    for program in ("chromium", "chromedriver"):
        if not shutil.which(program):
            pytest.skip(f"no {program} here (Debian: apt-get install chromium chromium-driver)")
    webdriver = pytest.importorskip("selenium.webdriver", reason="needs selenium, of thpsweep[test]")
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    # Root has no sandbox, and containers little shared memory.
    for flag in (
        "--headless=new",
        "--no-sandbox",
        "--disable-dev-shm-usage",
        "--disable-gpu",
        "--window-size=2000,1300",
    ):
        options.add_argument(flag)
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
    try:
        yield Page(driver)
    finally:
        driver.quit()


class Page:
    """What is shown, and what one can do with it."""

    def __init__(self, driver: Any) -> None:
        self._driver = driver

    def open(self, address: str) -> None:
        """Go to an address as in a new tab: where only the part behind # changes, the UI keeps what it shows."""
        self._driver.get("about:blank")
        self._driver.get(address)

    def text(self) -> str:
        """Give all text that is in the page, whether one has to scroll to it or not; labels of charts, too."""
        found: str = self._driver.execute_script(
            "return [...document.querySelectorAll('body, svg text')].map(e => e.innerText || e.textContent).join('\\n')"
        )
        return found

    def wait(self, *wanted: str) -> str:
        """Wait until all of some texts are there; give all text."""
        self._wait_for(
            lambda: set(wanted) <= set(self.lines()), lambda: f"never seen: {set(wanted) - set(self.lines())}"
        )
        return self.text()

    def lines(self) -> list[str]:
        """Give the lines of the page."""
        return [line.strip() for line in self.text().splitlines()]

    def click(self, selector: str, text: str = "") -> None:
        """Click the first element that a CSS selector finds and that has a text."""
        script = "return [...document.querySelectorAll(arguments[0])].find(e => e.innerText.includes(arguments[1]))"
        found: list[Any] = []
        self._wait_for(
            lambda: bool(found.append(self._driver.execute_script(script, selector, text)) or found[-1]),
            lambda: f"nothing to click: {selector} {text}",
        )
        press = (
            "arguments[0].dispatchEvent(new MouseEvent('mousedown', {bubbles: true, button: 0})); arguments[0].click()"
        )
        self._driver.execute_script(press, found[-1])  # tabs listen to the one, all else to the other

    def shoot(self, name: str) -> None:
        """Leave a picture for whoever asked for it."""
        if SHOTS in os.environ:
            self._driver.save_screenshot(str(Path(os.environ[SHOTS]) / f"{name}.png"))

    def _wait_for(self, is_so: Callable[[], bool], why_not: Callable[[], str]) -> None:
        until_s = time.monotonic() + TIMEOUT_S
        while not is_so():
            assert time.monotonic() < until_s, f"{why_not()}\n{self.text()[:3000]}"
            time.sleep(0.5)


def shortened(label: str) -> str:
    """Give a label as MLflow's parallel coordinates have room for it."""
    return re.sub(r"^(.{6}).{4,}(.{6})$", r"\1...\2", label)
