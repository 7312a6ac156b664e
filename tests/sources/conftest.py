"""Each test has a cache of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from poets_tfr import places


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    return Path(places.user_cache_dir())
