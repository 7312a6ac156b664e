"""Features of pictures that are distorted anew for every draw: the network runs in every step."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from poets_tfr.backbones.forward import compile_forward
from poets_tfr.backbones.frozen import Backbone
from poets_tfr.backbones.settings import Xla
from poets_tfr.extraction.extract import SplitFeatures
from poets_tfr.pictures import pipeline
from poets_tfr.pictures.distort import Distortions
from poets_tfr.records.reading import SplitRecords


@contextlib.contextmanager
def live(
    train: SplitRecords,
    undistorted: SplitFeatures,
    backbone: Backbone,
    distortions: Distortions,
    batch_size: int = 32,
    xla: Xla = 'auto',
) -> Iterator[SplitFeatures]:
    """Yields the training split once more, its features a `LiveFeatures`; closes them at the end.

    batch_size: how many images go through the network at a time.

    Raises:
      InputError: a shard is damaged.
    """
    train.check_digests()
    features = LiveFeatures(
        undistorted.features, train.record, train.seeds, backbone, distortions, batch_size, xla
    )
    try:
        yield dataclasses.replace(undistorted, features=features)
    finally:
        features.close()


class LiveFeatures:
    """float32 [n, width]: `features[rows]` gives those of the pictures as they are.

    `drawn_by` gives those of the distorted pictures of each step.
    """

    def __init__(
        self,
        undistorted: Any,
        read: Callable[[int], bytes],
        picture_seeds: np.ndarray,
        backbone: Backbone,
        distortions: Distortions,
        batch_size: int = 32,
        xla: Xla = 'auto',
    ):
        """undistorted: float32 [n, width], an array or StoredFeatures. read: row -> its record."""
        self._undistorted, self._read, self._picture_seeds = undistorted, read, picture_seeds
        self._backbone, self._distortions = backbone, distortions
        self._batch_size, self._xla = batch_size, xla
        self._open: list[_InOrder] = []

    @property
    def shape(self) -> tuple[int, int]:
        return self._undistorted.shape

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        return self._undistorted[rows]

    def drawn_by(self, draw: Callable[[Any], Any], draws: int) -> Callable[[Any], Any]:
        """A function of the step (int scalar tensor) that gives float32 [draws, width].

        Each draw distorts its picture in another way. The pictures of the next steps are read and
        distorted while the network is busy, so steps are best taken in order.

        Args:
          draw: the step -> int32 [draws], the rows that it draws.
          draws: how many.
        """
        import tensorflow as tf

        chunks = -(-draws // self._batch_size)
        size = -(-draws // chunks)
        forward = compile_forward(self._backbone, size, self._xla)
        preprocessing = self._backbone.preprocessing
        side = preprocessing.size

        def pictures_from(first_step: int) -> Iterator[np.ndarray]:
            return pipeline.distorted_steps(
                self._read,
                draw,
                chunks * size,
                first_step,
                preprocessing,
                self._distortions,
                self._picture_seeds,
            ).as_numpy_iterator()

        pictures_of = _InOrder(pictures_from)
        self._open.append(pictures_of)

        def features(step: Any) -> Any:
            pictures = tf.numpy_function(pictures_of, [step], tf.float32)
            pictures = tf.reshape(pictures, [chunks, size, side, side, 3])
            values = tf.map_fn(forward, pictures, parallel_iterations=1)
            return tf.reshape(values, [chunks * size, self.shape[1]])[:draws]

        return features

    def close(self) -> None:
        """Stops the reading ahead, which TensorFlow would hold until the process ends."""
        for pictures_of in self._open:
            pictures_of.close()


class _InOrder:
    """Calls with 5, 6, 7 take the first three items of `items_from(5)`; then 2 begins anew."""

    def __init__(self, items_from: Callable[[int], Iterator[np.ndarray]]):
        self._items_from = items_from
        self.close()

    def close(self) -> None:
        self._items: Iterator[np.ndarray] = iter(())
        self._next = -1

    def __call__(self, number: int) -> np.ndarray:
        if number != self._next:
            self._items = self._items_from(int(number))
        self._next = int(number) + 1
        return next(self._items)
