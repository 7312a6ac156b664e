"""What the pixels say, each picture decoded once: a grey thumbnail and a few figures."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator

import numpy as np
from PIL import Image

from poets_tfr import progress
from poets_tfr.examination import screens
from poets_tfr.parallel import decoding_threads, left_on_interrupt, ordered
from poets_tfr.records import codecs
from poets_tfr.records.reading import Records
from poets_tfr.sources import pillow

SIDE = 64  # pixels of a thumbnail, which is square whatever the picture is
_LOOKED_AT = 256  # pixels: how large a picture is where its sharpness is measured
_AT_ONCE = 32


@dataclasses.dataclass(frozen=True)
class Thumbnails:
    """grey: uint8 [n, SIDE, SIDE]. width, height: int32 [n], of the stored pictures, in pixels.

    brightness, contrast: float32 [n], mean and deviation of the grey values, 0 to 255.
    sharpness: float32 [n], the variance of the Laplacian relative to that of the grey values; 0
      where nothing varies, infinite where there are too few pixels to tell.
    text_lines: int32 [n], lines of text or of a screen; 0 where it is not sure that these are any.
    """

    grey: np.ndarray
    width: np.ndarray
    height: np.ndarray
    brightness: np.ndarray
    contrast: np.ndarray
    sharpness: np.ndarray
    text_lines: np.ndarray

    def without_grey(self) -> Thumbnails:
        """The figures alone: 4 KB less for each image. A part of an array would keep all of it."""
        return dataclasses.replace(self, grey=np.empty((0, SIDE, SIDE), np.uint8))


def of(records: Records) -> Thumbnails:
    """Of all pictures, split after split, in the order of the records.

    Raises:
      InputError: a record is damaged.
    """
    count = sum(records.splits.values())
    grey = np.empty((count, SIDE, SIDE), np.uint8)
    figures = np.empty((count, 6), np.float32)
    row = 0
    with (
        codecs.pillow_silenced(),
        progress.bar(count, 'images', 'Looking at pixels') as bar,
        left_on_interrupt(decoding_threads()) as pool,
    ):
        for looks in ordered(pool, _look_at_all, _batches(records), 2 * decoding_threads()):
            for thumbnail, found in looks:
                grey[row], figures[row] = thumbnail, found
                row += 1
            bar.update(len(looks))
    width, height, brightness, contrast, sharpness, text_lines = figures.T
    return Thumbnails(
        grey,
        width.astype(np.int32),
        height.astype(np.int32),
        brightness,
        contrast,
        sharpness,
        text_lines.astype(np.int32),
    )


def _batches(records: Records) -> Iterator[list[bytes]]:
    for split in records.splits:
        for _, images in records[split].batches(batch_size=_AT_ONCE):
            yield images


def _look_at_all(images: list[bytes]) -> list[tuple[np.ndarray, tuple[float, ...]]]:
    return [_look_at(encoded) for encoded in images]


def _look_at(encoded: bytes) -> tuple[np.ndarray, tuple[float, ...]]:
    picture, (width, height) = _opened(encoded)
    scale = _LOOKED_AT / max(picture.size)
    if scale < 1:
        small = [max(1, round(length * scale)) for length in picture.size]
        picture = picture.resize((small[0], small[1]), Image.Resampling.BOX)
    values = np.asarray(picture, np.float32)
    variance = float(values.var())
    figures = (
        width,
        height,
        float(values.mean()),
        variance**0.5,
        _sharpness(values, variance),
        screens.text_lines(np.asarray(picture)),
    )
    return np.asarray(picture.resize((SIDE, SIDE), Image.Resampling.BOX)), figures


def _opened(encoded: bytes) -> tuple[Image.Image, tuple[int, int]]:
    """In grey, perhaps smaller, and its full size."""
    try:
        picture = pillow.opened(encoded, codecs.kind_of(encoded) or 'JPEG')
        size = picture.size
        picture.draft('L', (_LOOKED_AT, _LOOKED_AT))
        return picture.convert('L'), size
    except OSError:  # some JPEGs are whole for TensorFlow alone
        decoded = Image.fromarray(codecs.decoded(encoded))
        return decoded.convert('L'), decoded.size


def _sharpness(values: np.ndarray, variance: float) -> float:
    if min(values.shape) < 3:
        return math.inf
    if variance < 1e-3:
        return 0.0
    laplacian = values[1:-1, :-2] + values[1:-1, 2:] + values[:-2, 1:-1] + values[2:, 1:-1]
    laplacian -= 4 * values[1:-1, 1:-1]
    return float(laplacian.var()) / variance
