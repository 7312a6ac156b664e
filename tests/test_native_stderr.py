"""Lines that libraries write past Python, while real images are converted by the real command."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import colours
import command_line
import numpy as np

from poets_tfr import native_stderr

ROOT = Path(__file__).resolve().parents[1]


def test_lines_of_libraries_are_counted_and_told_once(tmp_path: Path) -> None:
    image_dir = tmp_path / 'in'
    pixels = np.random.default_rng(0).integers(0, 256, (120, 120, 3), np.uint8)
    content = colours.encoded(pixels, 'JPEG')
    for n in range(12):
        path = image_dir / 'ab'[n % 2] / f'{n}.jpg'
        path.parent.mkdir(parents=True, exist_ok=True)
        middle = len(content) // 2
        path.write_bytes(content[:middle] + bytes([n] * 4) + content[middle + 4 :])
    ended = command_line.start(
        str(ROOT / 'tools/convert_images.py'),
        f'--image_dir={image_dir}', f'--records_dir={tmp_path}/records',
    )  # fmt: skip
    assert ended.status == 0, ended.err
    assert ended.err.count('Corrupt JPEG data') == 1
    assert 'Lines of libjpeg, libtiff and libpng: 2 (the first: Corrupt JPEG data: ' in ended.err


SCRIPT = """
import os, sys
from poets_tfr import native_stderr
with native_stderr.lines_on_images_counted():
    os.write(2, b'Premature end of JPEG file\\nF0000 a check failed')
    print('of Python', file=sys.stderr)
    with native_stderr.lines_on_images_counted():  # another thread's
        os.write(2, b'\\n')
print('after it', file=sys.stderr)
os.write(2, b'Corrupt JPEG data\\n')
"""


def test_all_else_reaches_stderr() -> None:
    ended = subprocess.run([sys.executable, '-c', SCRIPT], capture_output=True, text=True, cwd=ROOT)
    lines = ended.stderr.splitlines()
    assert sorted(lines[:2]) == ['F0000 a check failed', 'of Python']
    assert lines[2:] == [
        'Lines of libjpeg, libtiff and libpng: 1 (the first: Premature end of JPEG file).',
        'after it', 'Corrupt JPEG data',
    ]  # fmt: skip
    assert ended.returncode == 0


def test_nothing_stays_open() -> None:
    def count() -> int:
        return len(os.listdir('/proc/self/fd'))

    before = count()
    for _ in range(3):
        with native_stderr.lines_on_images_counted():
            os.write(2, b'Corrupt JPEG data\n')
    assert count() == before
