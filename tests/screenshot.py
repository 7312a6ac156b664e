"""Pictures for README and docs: a run in TensorBoard, its report, and the page that labels images.

python tests/screenshot.py RUN_DIR OUT_DIR IMAGE ...          # make screenshot
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
from command_line import page_of
from PIL import Image

_COLOURS = 128  # of the palette: a page needs no more, and the file is a third as large
_SECONDS_TO_SETTLE = 5.0  # charts and the projector move into place


def main(run_dir: Path, out_dir: Path, *images: Path) -> None:
    out_dir.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as profile,
        browsers.started(Path(profile)) as browser,
        boards.served(run_dir) as address,
    ):
        browser.set_window_size(1280, 800)
        page = f'{address}#custom_scalars'
        boards.looked_at(browser, page, lambda shown: shown['lines'] >= 4)
        shoot(browser, out_dir / 'tensorboard.png')
        page = f'{address}#projector'
        boards.looked_at(browser, page, lambda shown: 'Points: ' in shown['text'])
        shoot(browser, out_dir / 'projector.png')
        browser.set_window_size(1000, 1250)
        browser.get((run_dir / 'report.html').absolute().as_uri())
        shoot(browser, out_dir / 'report.png')
        with page_of('serve', f'--graph={run_dir / "output_graph.pb"}', '--noopen') as port:
            browser.set_window_size(800, 1000)
            browser.get(f'http://127.0.0.1:{port}/')
            chosen = '\n'.join(str(image.absolute()) for image in images)
            browser.find_element('id', 'files').send_keys(chosen)
            shoot(browser, out_dir / 'page.png')


def shoot(browser: Any, path: Path) -> None:
    time.sleep(_SECONDS_TO_SETTLE)
    with Image.open(io.BytesIO(browser.get_screenshot_as_png())) as picture:
        small = picture.convert('RGB').quantize(_COLOURS, dither=Image.Dither.NONE)
        small.save(path, optimize=True)


if __name__ == '__main__':
    main(*map(Path, sys.argv[1:]))
