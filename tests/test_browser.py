"""The browser of the tests shows pages, runs their scripts and says what went wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import browser as browsers
import pytest


@pytest.mark.slow
def test_it_runs_scripts_and_hears_their_errors(browser: Any, tmp_path: Path) -> None:
    page = tmp_path / 'page.html'
    page.write_text('<p>before</p><script>document.title = 6 * 7; throw Error("broken")</script>')
    browser.get(page.as_uri())
    assert browser.title == '42'
    assert any('broken' in line for line in browsers.complaints(browser))
    assert not browsers.complaints(browser)
