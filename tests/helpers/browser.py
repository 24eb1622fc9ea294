"""Chromium at the local SageMaker's page, for tests: what a user sees, and a hand that clicks.

with chromium(folder) as driver:
    browser = Browser(driver, server.page)
    browser.open("#training/job")
    browser.click("#head button", "Stop")
    browser.sees("#head", "Stopping")
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PATIENCE = 20.0
"""Seconds for something to appear."""


@contextmanager
def chromium(folder: Path) -> Iterator[Any]:
    """Start Chromium without a window, with its profile in `folder`."""
    from selenium import webdriver
    from selenium.webdriver.chrome.options import Options
    from selenium.webdriver.chrome.service import Service

    options = Options()
    options.binary_location = shutil.which("chromium") or ""
    # In a container Chromium has no sandbox of its own, and little shared memory.
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1280,900"):
        options.add_argument(argument)
    options.add_argument(f"--user-data-dir={folder}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(service=Service(shutil.which("chromedriver")), options=options)
    try:
        yield driver
    finally:
        driver.quit()


class Browser:
    """The page of one server."""

    def __init__(self, driver: Any, page: str) -> None:
        self._driver = driver
        self._page = page

    def open(self, place: str = "") -> None:
        self._driver.get("about:blank")
        self._driver.get(f"{self._page}{place}")

    def until(self, seen: Callable[[], Any], what: str) -> Any:
        from selenium.common.exceptions import StaleElementReferenceException
        from selenium.webdriver.support.wait import WebDriverWait

        # The page draws anew while it is read.
        waiting = WebDriverWait(self._driver, PATIENCE, 0.1, ignored_exceptions=[StaleElementReferenceException])
        return waiting.until(lambda _: seen(), f"{what}; the page says: {self.text('body')}")

    def all(self, selector: str) -> list[Any]:
        found: list[Any] = self._driver.find_elements("css selector", selector)
        return found

    def text(self, selector: str) -> str:
        return "\n".join(found.text for found in self.all(selector))

    def sees(self, selector: str, text: str) -> None:
        self.until(lambda: text in self.text(selector), f"{text!r} in {selector}")

    def click(self, selector: str, text: str) -> None:
        self.until(
            lambda: next((found.click() or True for found in self.all(selector) if found.text == text), False),
            f"{selector} {text!r} to click",
        )

    def run(self, script: str) -> Any:
        return self._driver.execute_script(script)

    def emulate(self, width: int, height: int, scheme: str = "light") -> None:
        self._driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600},
        )
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self._driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    def complaints(self) -> list[str]:
        return [entry["message"] for entry in self._driver.get_log("browser")]
