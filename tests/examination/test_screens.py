"""Drawn screenshots and pages are told; photos, plain grounds and stripes are not."""

from __future__ import annotations

from pathlib import Path

import colours
import graphs
import numpy as np
import pytest
from command_line import call
from PIL import Image, ImageDraw

from poets_tfr import tables
from poets_tfr.examination import screens

WORDS = 'the quick brown fox jumps over a lazy dog'.split()


def page(width: int = 600, height: int = 800, lines: int = 20, seed: int = 0) -> Image.Image:
    """Lines of text, as wide as the page but for its margins."""
    rng = np.random.default_rng(seed)
    drawn = Image.new('RGB', (width, height), (250, 250, 250))
    draw = ImageDraw.Draw(drawn)
    for line in range(lines):
        text = ' '.join(str(rng.choice(WORDS)) for _ in range(width // 24))
        draw.text((20, 20 + line * (height - 40) / lines), text[: width // 8], fill=(20, 20, 20))
    return drawn


def window() -> Image.Image:
    """A title, a list on the left, text on the right, and a photo."""
    drawn = page(900, 700, 24)
    draw = ImageDraw.Draw(drawn)
    draw.rectangle((0, 0, 900, 40), fill=(40, 80, 160))
    draw.rectangle((0, 40, 200, 700), fill=(225, 225, 230))
    for line in range(22):
        draw.text((10, 60 + 28 * line), ' '.join(WORDS[:5]), fill=(30, 30, 30))
    noise = np.random.default_rng(0).integers(0, 256, (180, 240, 3), np.uint8)
    drawn.paste(Image.fromarray(noise), (600, 480))
    return drawn


def grey(picture: Image.Image) -> np.ndarray:
    scale = 256 / max(picture.size)
    size = round(picture.width * scale), round(picture.height * scale)
    return np.asarray(picture.convert('L').resize(size, Image.Resampling.BOX))


def test_lines_are_counted() -> None:
    assert screens.text_lines(grey(page(lines=20))) == 20
    assert screens.text_lines(grey(page(lines=4))) == 4
    assert screens.text_lines(grey(window())) >= 15


def test_what_has_no_lines_on_a_ground_has_none() -> None:
    rng = np.random.default_rng(0)
    stripes = np.repeat(np.arange(32) % 2 * 200, 8)[:, None] + rng.normal(0, 20, (256, 256))
    round_ = Image.new('L', (256, 256))
    ImageDraw.Draw(round_).ellipse((60, 60, 200, 200), fill=200)
    for pixels, lines in (
        (rng.integers(0, 256, (256, 192)), 0),
        (stripes.clip(0, 255), 0),
        (np.full((256, 256), 255), 0),
        (np.asarray(round_), 1),
        (np.zeros((256, 7)), 0),
        (np.zeros((1, 1)), 0),
    ):
        assert screens.text_lines(np.asarray(pixels, np.uint8)) == lines


def test_the_command_names_them(tmp_path: Path, model_dir: Path) -> None:
    images = colours.write(tmp_path / 'images', per_class=10)
    page().save(images / 'bluebells/page.png')
    window().save(images / 'Red_Roses/window.jpg', quality=80)
    ended = call(
        'examine', images, f'--architecture={graphs.MOBILENET}', f'--model_dir={model_dir}',
        f'--records_dir={tmp_path / "records"}', f'--bottleneck_dir={tmp_path / "features"}',
        f'--examine_dir={tmp_path / "out"}',
    )  # fmt: skip
    assert ended.status == 0, ended.err
    rows = tables.read(str(tmp_path / 'out/odd.tsv'), [])
    found = {row['path']: row['value'] for row in rows if row['reason'] == 'screenshot or text'}
    assert set(found) == {'bluebells/page.png', 'Red_Roses/window.jpg'}
    assert found['bluebells/page.png'] == '20'
    assert '2 screenshot or text' in ended.out
    assert 'screenshot or text</h3>' in (tmp_path / 'out/examine.html').read_text()


@pytest.mark.slow
def test_no_photo_is_taken_for_one(photos_dir: Path) -> None:
    for path in sorted(photos_dir.glob('*/*.jpg')):
        with Image.open(path) as photo:
            assert screens.text_lines(grey(photo)) < 10, path
