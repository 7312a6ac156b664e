"""A real headless Chromium for the pages that this project writes or serves."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

WINDOW = 1280, 900  # pixels
_FLAGS = (
    '--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
    '--disable-background-networking', '--disable-component-update', '--disable-sync',
    '--hide-scrollbars', '--force-device-scale-factor=1',
)  # fmt: skip


@contextlib.contextmanager
def started(profile: Path) -> Iterator[Any]:
    """A selenium WebDriver; `profile` is a fresh folder of its own."""
    chromium, driver = shutil.which('chromium'), shutil.which('chromedriver')
    if not chromium or not driver:
        pytest.skip("Debian's packages chromium and chromium-driver are not installed")
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (*_FLAGS, f'--user-data-dir={profile}', f'--window-size={WINDOW[0]},{WINDOW[1]}'):
        options.add_argument(flag)
    options.set_capability('goog:loggingPrefs', {'browser': 'ALL'})
    browser = webdriver.Chrome(options, webdriver.ChromeService(driver))
    try:
        yield browser
    finally:
        browser.quit()


def complaints(browser: Any) -> list[str]:
    """What the pages shown since the last call wrote to the console as errors."""
    entries = browser.get_log('browser')
    return [entry['message'] for entry in entries if entry['level'] == 'SEVERE']
