"""Decode, resize, normalise: the one function for training, cache, export and labelling."""

from __future__ import annotations

import dataclasses
from typing import Any

VERSION = 1  # raised when the same picture gives other pixels: cached features are keyed by it


@dataclasses.dataclass(frozen=True)
class Preprocessing:
    """How a backbone wants its pictures: `size` x `size`, (pixels 0..255 - mean) / std."""

    size: int
    mean: float
    std: float


def decode(encoded: Any) -> Any:
    """The bytes of one stored picture (string scalar) -> uint8 [height, width, 3]."""
    import tensorflow as tf

    return tf.io.decode_jpeg(encoded, channels=3, name='DecodeJpeg')


def resize_and_normalise(pixels: Any, preprocessing: Preprocessing) -> Any:
    """uint8 or float [n, height, width, 3] of 0..255 -> float32 [n, size, size, 3].

    The original retrain.py's arithmetic: the picture is squashed to a square by TensorFlow 1's
    bilinear rule (no antialias, no half-pixel centres), then `(x - mean) * (1 / std)`.
    """
    import tensorflow as tf

    size = [preprocessing.size, preprocessing.size]
    resized = tf.raw_ops.ResizeBilinear(
        images=pixels, size=size, align_corners=False, half_pixel_centers=False
    )
    return (resized - preprocessing.mean) * (1.0 / preprocessing.std)


def from_encoded(encoded: Any, preprocessing: Preprocessing) -> Any:
    """The bytes of one stored picture (string scalar) -> float32 [size, size, 3]."""
    return resize_and_normalise(decode(encoded)[None], preprocessing)[0]
