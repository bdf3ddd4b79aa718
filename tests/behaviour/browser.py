"""A real headless browser for the dashboard's tests."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.webdriver import WebDriver


@contextmanager
def chromium(profile: str) -> Iterator[WebDriver]:
    """Start headless Chromium; without it the test is skipped, or fails where CI=true."""
    browser, driver = shutil.which("chromium") or shutil.which("google-chrome"), shutil.which("chromedriver")
    if browser is None or driver is None:
        reason = "chromium and chromedriver are needed (scripts/system-packages installs them)"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    arguments = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--lang=en")
    for argument in (*arguments, f"--user-data-dir={profile}"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    session = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    session.set_script_timeout(60)
    try:
        yield session
    finally:
        session.quit()


def size(page: WebDriver, width: int, height: int = 900) -> None:
    """Look through a window of this size, a phone below 500 pixels."""
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def complaints(page: WebDriver) -> list[str]:
    """What the browser's console complained of: script errors, and violations of the content policy."""
    logs: list[dict[str, Any]] = page.get_log("browser")  # type: ignore[no-untyped-call]
    return [entry["message"] for entry in logs if entry["level"] == "SEVERE"]
