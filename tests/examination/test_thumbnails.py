"""What the pixels say: sizes, light and sharpness of each record, in their order."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conversion import converted
from PIL import Image, ImageFilter

from poets_tfr.examination import thumbnails
from poets_tfr.records.reading import Records

DRAWN = {
    'a/black.png': Image.new('RGB', (300, 100)),
    'a/half.png': Image.fromarray(np.repeat([[[0] * 3, [200] * 3]], 50, axis=1).astype(np.uint8)),
    'a/line.png': Image.fromarray(np.full((1, 9, 3), 77, np.uint8)),
    'b/dots.png': Image.fromarray(np.indices((128, 128)).sum(axis=0).astype(np.uint8) % 2 * 255),
    'b/large.jpg': Image.new('RGB', (3000, 1500), (90, 90, 90)),
}


@pytest.fixture
def records(tmp_path: Path) -> Records:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (128, 128), np.uint8))
    pictures = DRAWN | {'b/soft.png': noise.filter(ImageFilter.GaussianBlur(4))}
    for path, picture in pictures.items():
        (tmp_path / 'pictures' / path).parent.mkdir(parents=True, exist_ok=True)
        picture.save(tmp_path / 'pictures' / path)
    percentages = {'validation_percentage': 0, 'testing_percentage': 0}
    converted(tmp_path / 'pictures', tmp_path / 'records', **percentages)
    return Records.open(tmp_path / 'records')


def test_each_record_is_looked_at_in_the_order_of_the_columns(records: Records) -> None:
    found = thumbnails.of(records)
    place = {path: row for row, path in enumerate(records['train'].paths)}
    assert found.grey.shape == (6, 64, 64)
    sizes = {path: (found.width[row], found.height[row]) for path, row in place.items()}
    assert sizes == {**{p: drawn.size for p, drawn in DRAWN.items()}, 'b/soft.png': (128, 128)}
    black, half, line, dots, soft = (
        place[path]
        for path in ('a/black.png', 'a/half.png', 'a/line.png', 'b/dots.png', 'b/soft.png')
    )
    assert (found.brightness[black], found.contrast[black], found.sharpness[black]) == (0, 0, 0)
    assert (found.brightness[half], found.contrast[half]) == (100, 100)
    assert found.brightness[line] == 77
    assert found.sharpness[line] == np.inf
    # Of dots every Laplacian is four times the step, and the deviation half of it.
    assert found.sharpness[dots] == pytest.approx(64, rel=1e-3)
    assert 0 < found.sharpness[soft] < 0.1
    assert (found.grey[black] == 0).all()
    assert (found.grey[half][:, :31] == 0).all()
    assert (found.grey[half][:, 33:] == 200).all()
    assert set(found.grey[dots].flat) <= {127, 128}
