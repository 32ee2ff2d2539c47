"""A real headless chromium for tests, with a profile of its own.

Where there is none the tests skip, unless PLIMSOLL_TEST_BROWSER=required says that there must be one.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NoReturn

import pytest
from selenium import webdriver
from selenium.common.exceptions import WebDriverException
from selenium.webdriver.chrome.service import Service

_NAMES: Final = ("chromium", "chromium-browser", "google-chrome")
_FLAGS: Final = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",  # containers give /dev/shm 64 MB, and a page that needs more crashes
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1280,900",
)


@contextmanager
def browser(profile: Path) -> Iterator[webdriver.Chrome]:
    """A browser that keeps its profile in a folder, and what pages log for `problems`."""
    options = webdriver.ChromeOptions()
    options.binary_location, driver = _installed()
    for flag in (*_FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    try:
        chrome = webdriver.Chrome(options=options, service=Service(driver))
    except WebDriverException as error:
        _absent(f"chromium does not start: {error.msg}")
    try:
        yield chrome
    finally:
        chrome.quit()


def emulate(chrome: webdriver.Chrome, *, width: int = 1280, dark: bool = False, media: str = "") -> None:
    """Let pages believe in another window, colour scheme or medium."""
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    _devtools(chrome, "Emulation.setDeviceMetricsOverride", size)
    _devtools(chrome, "Emulation.setEmulatedMedia", {"media": media, "features": [scheme]})


def problems(chrome: webdriver.Chrome) -> list[str]:
    """What was written to the console since the last call."""
    entries: Any = chrome.get_log("browser")  # type: ignore[no-untyped-call]  # selenium does not annotate it
    return [str(entry["message"]) for entry in entries]


def script(chrome: webdriver.Chrome, body: str, *arguments: object) -> Any:
    """What a script in the page returns."""
    return chrome.execute_script(body, *arguments)


def _devtools(chrome: webdriver.Chrome, command: str, arguments: Mapping[str, Any]) -> None:
    chrome.execute_cdp_cmd(command, dict(arguments))


def _installed() -> tuple[str, str]:
    """Browser and driver."""
    found = next((path for name in _NAMES if (path := shutil.which(name))), None)
    driver = shutil.which("chromedriver")
    if found is None or driver is None:
        _absent(f"no {'chromium' if found is None else 'chromedriver'} on the PATH")
    return found, driver


def _absent(why: str) -> NoReturn:
    if os.environ.get("PLIMSOLL_TEST_BROWSER") == "required":
        pytest.fail(f"PLIMSOLL_TEST_BROWSER=required, and {why}", pytrace=False)
    pytest.skip(f"{why}; Debian: apt-get install chromium chromium-driver")
