"""Whoever stores large pictures as they are is told what scaling them down would bring."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conversion import converted
from odd_files import saved
from PIL import Image

from poets_tfr import parallel
from poets_tfr.records import codecs, large
from poets_tfr.records.reading import Records

PER_CLASS = 4


def write_pictures(image_dir: Path, width: int, height: int) -> Path:
    """Different files, for nobody is to be told of copies."""
    grain = np.random.default_rng(0).integers(0, 256, (height // 4, width // 4, 3), np.uint8)
    pixels = np.asarray(Image.fromarray(grain).resize((width, height), Image.Resampling.NEAREST))
    for name in 'ferns', 'mosses':
        (image_dir / name).mkdir(parents=True)
        for number in range(PER_CLASS):
            content = saved(pixels, 'JPEG', quality=60, comment=f'{name} {number}')
            (image_dir / name / f'{number}.jpg').write_bytes(content)
    return image_dir


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    lines = [line for line in caplog.messages if line.startswith('The images are large')]
    caplog.clear()
    return lines


def test_it_is_told_in_the_data_set_s_own_figures(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level('INFO', 'poets_tfr')
    image_dir, records_dir = write_pictures(tmp_path / 'plants', 2400, 1800), tmp_path / 'records'
    converted(image_dir, records_dir)
    split = Records.open(records_dir)['train']
    size = sum(path.stat().st_size for path in records_dir.glob('*.tfrecord-*[0-9]'))
    scaled = codecs.store(split.read(0), max_side=1024)
    smaller = size * len(scaled.encoded) / len(split.read(0))
    rate = 180e6 * parallel.cores()
    after, before = 8 * 1024 * 768 / rate, 8 * 2400 * 1800 / rate
    assert told(caplog) == [
        'The images are large: 4.3 megapixels on average. With --store_max_side=1024 the records '
        f'would take about {smaller / 1e6:.2g} MB in place of {size / 1e6:.2g}, and decoding them '
        f'all {after:.2g} s in place of {before:.2g} (on {parallel.cores()} cores).'
    ]
    converted(image_dir, records_dir)
    assert told(caplog) == [], 'nothing was made'
    converted(image_dir, records_dir, store_max_side=1000)
    assert told(caplog) == []


def test_pictures_of_four_megapixels_are_not_large(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level('INFO', 'poets_tfr')
    converted(write_pictures(tmp_path / 'plants', 2000, 2000), tmp_path / 'records')
    assert told(caplog) == []


@pytest.mark.parametrize(
    ('value', 'text'),
    [(0.123, '0.12'), (4.06, '4.1'), (41.3, '41'), (409.0, '410'), (12_345, '12,000')],
)
def test_an_estimate_has_two_digits(value: float, text: str) -> None:
    assert large._rounded(value) == text
