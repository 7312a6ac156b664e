"""Decode, resize, normalise: the one function for training, cache, export and labelling."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeAlias

PerChannel: TypeAlias = float | tuple[float, float, float]

_DECODED_AT_ONCE = 32
VERSION = 1  # raised when the same picture gives other pixels: cached features are keyed by it


@dataclasses.dataclass(frozen=True)
class Preprocessing:
    """How a backbone wants its pictures: `size` x `size`, (pixels 0..255 - mean) / std.

    mean, std: one number, or one each for red, green and blue.
    """

    size: int
    mean: PerChannel
    std: PerChannel

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Preprocessing:
        """From `dataclasses.asdict`'s mapping after JSON, which makes lists of tuples.

        Raises:
          TypeError: it is the mapping of something else.
        """
        fields: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in value.items()
        }
        return cls(**fields)


def decode(encoded: Any) -> Any:
    """The bytes of one stored picture (string scalar) -> uint8 [height, width, 3]."""
    import tensorflow as tf

    return tf.io.decode_jpeg(encoded, channels=3, name='DecodeJpeg')


def resize_and_normalise(pixels: Any, preprocessing: Preprocessing) -> Any:
    """uint8 or float [n, height, width, 3] of 0..255 -> float32 [n, size, size, 3].

    The original retrain.py's arithmetic: the picture is squashed to a square by TensorFlow 1's
    bilinear rule (no antialias, no half-pixel centres), then `(x - mean) * (1 / std)`.
    """
    resized = resize(pixels, preprocessing.size, preprocessing.size)
    return normalise(resized, preprocessing.mean, preprocessing.std)


def resize(pixels: Any, height: Any, width: Any) -> Any:
    """[n, any, any, 3] -> float32 [n, height, width, 3] of the same range; ints or int scalars."""
    import tensorflow as tf

    return tf.raw_ops.ResizeBilinear(
        images=pixels, size=[height, width], align_corners=False, half_pixel_centers=False
    )


def normalise(pixels: Any, mean: PerChannel, std: PerChannel) -> Any:
    scale = tuple(1.0 / each for each in std) if isinstance(std, tuple) else 1.0 / std
    return (pixels - mean) * scale


def from_encoded(encoded: Any, preprocessing: Preprocessing) -> Any:
    """The bytes of one stored picture (string scalar) -> float32 [size, size, 3]."""
    return resize_and_normalise(decode(encoded)[None], preprocessing)[0]


def batch_from_encoded(contents: Any, preprocessing: Preprocessing) -> Any:
    """The bytes of stored pictures (string [n]) -> float32 [n, size, size, 3], in parallel."""
    import tensorflow as tf

    size = preprocessing.size
    return tf.map_fn(
        lambda encoded: from_encoded(encoded, preprocessing),
        contents,
        fn_output_signature=tf.TensorSpec([size, size, 3], tf.float32),
        parallel_iterations=_DECODED_AT_ONCE,
    )
