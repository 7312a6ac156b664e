"""The random distortions of training pictures: the original retrain.py's arithmetic.

Every random number is a pure function of the picture, the seed and the number of the copy, so the
same pictures come out whatever the batch size, the order or the number of threads.
"""

from __future__ import annotations

import dataclasses
import hashlib
from typing import Any, NamedTuple

import numpy as np

from poets_tfr.pictures import preprocess
from poets_tfr.pictures.preprocess import Preprocessing
from poets_tfr.pictures.settings import DistortionConfig
from poets_tfr.records.reading import seeds_of

VERSION = 1  # raised when the same copy gives other pixels: cached features are keyed by it


@dataclasses.dataclass(frozen=True)
class Distortions:
    """How strongly pictures are distorted, and the seed of the random numbers."""

    config: DistortionConfig
    seed: int

    @classmethod
    def of(cls, config: DistortionConfig, seed: int) -> Distortions | None:
        """None where nothing is to be distorted."""
        return cls(config, seed) if config.are_on else None

    @property
    def cache_key(self) -> str:
        """16 hex digits of all that the pixels of copy c of a picture depend on besides the two."""
        strength = dataclasses.replace(self.config, augment_copies=DistortionConfig.augment_copies)
        made_with = f'{strength} {self.seed} {VERSION}'
        return hashlib.sha256(made_with.encode()).hexdigest()[:16]


class Distortion(NamedTuple):
    """What is done to one picture. Scalars.

    resized: int32, the side of the square that the picture is squashed to.
    top, left: int32, where in it the window of the network's size begins.
    flipped: bool, whether left and right change places.
    brightness: float32, what the pixels of 0..255 are multiplied by.
    """

    resized: Any
    top: Any
    left: Any
    flipped: Any
    brightness: Any


def copy_digests(digests: np.ndarray, copies: int) -> np.ndarray:
    """S32 [n * copies]: names copy 0, 1, 2 ... of the first picture, then of the next; S32 [n]."""
    whole = np.ascontiguousarray(digests).tobytes()  # numpy's own items lose their last zero bytes
    names = [
        hashlib.sha256(whole[at : at + 32] + b' %d' % copy).digest()
        for at in range(0, len(whole), 32)
        for copy in range(copies)
    ]
    return np.array(names, 'S32')


def draw(distortions: Distortions, size: int, picture_seed: Any, copy: Any) -> Distortion:
    """The distortion of one copy of a picture.

    Args:
      distortions: how strong, and the seed.
      size: height and width of the pictures that the network takes.
      picture_seed: int64 scalar, of its content.
      copy: int64 scalar of 0 to 2**32 - 1.
    """
    import tensorflow as tf

    config = distortions.config
    copy = tf.cast(copy, tf.int64) + (distortions.seed << 32)
    scaled, down, across, mirrored, lit = tf.unstack(
        tf.random.stateless_uniform(
            [5],
            seed=[tf.cast(picture_seed, tf.int64), copy],
            alg='philox',  # the same numbers on every device
        )
    )
    margin = 1.0 + config.random_crop / 100
    scale = scaled * (config.random_scale / 100) + 1.0
    resized = tf.cast(margin * scale * float(size), tf.int32)  # truncates, as the original does
    places = tf.cast(resized - size + 1, tf.float32)
    return Distortion(
        resized=resized,
        top=tf.cast(down * places, tf.int32),
        left=tf.cast(across * places, tf.int32),
        flipped=mirrored < (0.5 if config.flip_left_right else 0.0),
        brightness=1.0 + (2.0 * lit - 1.0) * (config.random_brightness / 100),
    )


def apply(distortion: Distortion, pixels: Any, preprocessing: Preprocessing) -> Any:
    """uint8 [height, width, 3] -> float32 [size, size, 3].

    Brightness is not clipped: a picture may leave the range that `normalise` aims at.
    """
    import tensorflow as tf

    size = preprocessing.size
    resized = preprocess.resize(pixels[None], distortion.resized, distortion.resized)
    window = tf.slice(resized, [0, distortion.top, distortion.left, 0], [1, size, size, 3])[0]
    window = tf.cond(distortion.flipped, lambda: tf.reverse(window, [1]), lambda: window)
    return preprocess.normalise(
        window * distortion.brightness, preprocessing.mean, preprocessing.std
    )


def from_encoded(
    encoded: bytes, preprocessing: Preprocessing, distortions: Distortions, copy: int
) -> Any:
    """The bytes of one stored picture -> its copy, float32 [size, size, 3]. For single pictures."""
    digest = np.array([hashlib.sha256(encoded).digest()], 'S32')
    (picture_seed,) = seeds_of(digest).tolist()
    distortion = draw(distortions, preprocessing.size, picture_seed, copy)
    return apply(distortion, preprocess.decode(encoded), preprocessing)
