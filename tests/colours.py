"""Small pictures of one colour each: what a head must tell apart, and twins it cannot."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

# Folder -> colour. The labels are 'bluebells', 'green grass' and 'red roses'.
COLOURS = {'Green Grass': (40, 190, 60), 'Red_Roses': (220, 40, 40), 'bluebells': (50, 60, 220)}
LABELS = ['green grass', 'red roses', 'bluebells']  # in the order of the sorted folders


def draw(folder: str, rng: np.random.Generator) -> np.ndarray:
    """uint8 [height, width, 3]: the folder's colour, lighter or darker, with noise."""
    size = rng.integers(40, 72, 2)
    light = np.array(COLOURS[folder]) * rng.uniform(0.6, 1.1)
    return np.clip(light + rng.normal(0, 15, (*size, 3)), 0, 255).astype(np.uint8)


def encoded(pixels: np.ndarray, picture_format: str = 'JPEG') -> bytes:
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, picture_format)
    return content.getvalue()


def write(directory: Path, per_class: int, seed: int = 0, random_classes: bool = False) -> Path:
    """Writes directory/<folder>/<number>.jpg (every fifth .png).

    With `random_classes` a picture's colour has nothing to do with its folder.
    """
    rng = np.random.default_rng(seed)
    for folder in COLOURS:
        (directory / folder).mkdir(parents=True, exist_ok=True)
        for number in range(per_class):
            colour = rng.choice(sorted(COLOURS)) if random_classes else folder
            picture_format = 'JPEG' if number % 5 else 'PNG'
            name = f'{number:03d}.{"jpg" if picture_format == "JPEG" else "png"}'
            content = encoded(draw(colour, rng), picture_format)
            (directory / folder / name).write_bytes(content)
    return directory
