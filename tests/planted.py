"""A folder of drawn pictures with faults of which the answers are known."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path

import colours
import numpy as np
from PIL import Image

HOSTILE = '=cmd|\t\n"<script>alert(1)<!--.jpg'
NOT_UTF8 = b'bluebells/no\xffutf8.jpg'


@dataclasses.dataclass(frozen=True)
class Planted:
    """relabelled: path -> the right label. copies: copy -> its original."""

    image_dir: Path
    relabelled: dict[str, str]
    copies: dict[str, str]


def draw(folder: str, rng: np.random.Generator) -> Image.Image:
    """The folder's colour under a pattern that no other picture has."""
    pattern = Image.fromarray(rng.integers(60, 256, (7, 7), np.uint8))
    width, height = (int(side) for side in rng.integers(90, 130, 2))
    light = np.asarray(pattern.resize((width, height), Image.Resampling.BICUBIC)) / 255
    pixels = light[..., None] * colours.COLOURS[folder] + rng.normal(0, 6, (height, width, 3))
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def encoded(picture: Image.Image, quality: int = 92) -> bytes:
    content = io.BytesIO()
    picture.save(content, 'JPEG', quality=quality)
    return content.getvalue()


def write(image_dir: Path, per_class: int = 40, seed: int = 0) -> Planted:
    rng = np.random.default_rng(seed)
    pictures = {}
    for folder in colours.COLOURS:
        for number in range(per_class):
            pictures[f'{folder}/{number:03d}.jpg'] = encoded(draw(folder, rng))
    relabelled = {}
    for folder, label in ('Green Grass', 'bluebells'), ('Red_Roses', 'bluebells'):
        for number in range(2):
            path = f'{folder}/wrong_{number}.jpg'
            pictures[path] = encoded(draw(label, rng))
            relabelled[path] = label
    copies = {
        'bluebells/encoded.jpg': 'bluebells/000.jpg',
        'bluebells/cropped.jpg': 'bluebells/001.jpg',
        'Red_Roses/scaled.jpg': 'bluebells/002.jpg',
        f'bluebells/{HOSTILE}': 'bluebells/003.jpg',
        NOT_UTF8.decode('utf-8', 'surrogateescape'): 'bluebells/003.jpg',
    }
    for copy, original in copies.items():
        pictures[copy] = _copy(copy, pictures[original])
    pictures['Green Grass/black.jpg'] = encoded(Image.new('RGB', (80, 60), (2, 2, 2)))
    pictures['Green Grass/tiny.jpg'] = encoded(draw('Green Grass', rng).resize((24, 18)))
    pictures['Green Grass/strip.jpg'] = encoded(draw('Green Grass', rng).resize((400, 50)))
    for path, content in pictures.items():
        place = image_dir / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
    return Planted(image_dir, relabelled, copies)


def _copy(path: str, content: bytes) -> bytes:
    picture = Image.open(io.BytesIO(content))
    width, height = picture.size
    if path.endswith('encoded.jpg'):
        return encoded(picture, 60)
    if path.endswith('cropped.jpg'):
        return encoded(picture.crop((round(width * 0.05), 0, width, round(height * 0.95))))
    if path.endswith('scaled.jpg'):
        return encoded(picture.resize((round(width * 0.7), round(height * 0.7))))
    return content
