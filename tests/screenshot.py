"""Pictures for the README: a run in TensorBoard, and its report. `make screenshot`.

python tests/screenshot.py SUMMARIES_DIR OUT_DIR
"""

from __future__ import annotations

import io
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import boards
import browser as browsers
from PIL import Image

_COLOURS = 128  # of the palette: a page needs no more, and the file is a third as large
_SECONDS_TO_SETTLE = 5.0  # charts and the projector move into place


def main(summaries_dir: Path, out_dir: Path) -> None:
    out_dir.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as profile,
        browsers.started(Path(profile)) as browser,
        boards.served(summaries_dir) as address,
    ):
        browser.set_window_size(1280, 800)
        page = f'{address}#custom_scalars'
        boards.looked_at(browser, page, lambda shown: shown['lines'] >= 4)
        shoot(browser, out_dir / 'tensorboard.png')
        page = f'{address}#projector'
        boards.looked_at(browser, page, lambda shown: 'Points: ' in shown['text'])
        shoot(browser, out_dir / 'projector.png')
        browser.set_window_size(1000, 1250)
        browser.get((summaries_dir / 'report.html').absolute().as_uri())
        shoot(browser, out_dir / 'report.png')


def shoot(browser: Any, path: Path) -> None:
    time.sleep(_SECONDS_TO_SETTLE)
    with Image.open(io.BytesIO(browser.get_screenshot_as_png())) as picture:
        small = picture.convert('RGB').quantize(_COLOURS, dither=Image.Dither.NONE)
        small.save(path, optimize=True)


if __name__ == '__main__':
    main(*map(Path, sys.argv[1:]))
