"""Pictures out of the records, for people to look at."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence

import numpy as np
from PIL import Image

from poets_tfr.pictures import distort, preprocess
from poets_tfr.pictures.distort import Distortions
from poets_tfr.pictures.preprocess import Preprocessing
from poets_tfr.records.reading import Records
from poets_tfr.reporting.sheets import Tile
from poets_tfr.training.predictions import Predictions


def pixels_of(encoded: bytes) -> np.ndarray:
    """uint8 [height, width, 3] of one stored picture."""
    with Image.open(io.BytesIO(encoded)) as picture:
        return np.asarray(picture.convert('RGB'))


def mistakes(
    predictions: Predictions,
    rows: Sequence[int],
    pictures: dict[str, bytes],
    labels: Sequence[str],
) -> list[Tile]:
    """The pictures of these rows with what they are, what they were taken for, and how surely."""
    tiles = []
    for row in rows:
        path, given = predictions.paths[row], int(predictions.predicted[row])
        caption = (
            f'{labels[given]} {predictions.scores[row, given]:.2f}?',
            f'is {labels[predictions.labels[row]]}',
            path.rpartition('/')[2],
        )
        tiles.append(Tile(pixels_of(pictures[path]), caption))
    return tiles


def seen_by_network(
    records: Records,
    preprocessing: Preprocessing,
    classes: int,
    per_class: int,
    distortions: Distortions | None = None,
) -> Iterator[tuple[str, list[Tile]]]:
    """Label and training pictures of each of the first `classes` classes, as the network gets them.

    Decoded and resized as for features, and only shown in 0..255 again; with `distortions`, the
    first distorted copy of each.
    """
    for label, name in enumerate(records.labels[:classes]):
        rows = np.flatnonzero(records['train'].labels == label)[:per_class]
        images = records['train'].read_each(rows)
        yield name, [Tile(_as_seen(image, preprocessing, distortions)) for image in images]


def _as_seen(
    encoded: bytes, preprocessing: Preprocessing, distortions: Distortions | None
) -> np.ndarray:
    if distortions:
        values = distort.from_encoded(encoded, preprocessing, distortions, copy=0)
    else:
        values = preprocess.from_encoded(encoded, preprocessing)
    shown = values.numpy() * np.array(preprocessing.std) + np.array(preprocessing.mean)
    return np.clip(np.rint(shown), 0, 255).astype(np.uint8)
