"""Every feature of mean 0 and deviation 1, by the training split alone; folded away at the end."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from poets_tfr.training.head import Head

_ROWS_AT_ONCE = 4096


@dataclasses.dataclass(frozen=True)
class Standardisation:
    """mean, deviation: float32 [feature_width]; a feature that never changes has deviation 1."""

    mean: np.ndarray
    deviation: np.ndarray

    @classmethod
    def of(cls, features: Any) -> Standardisation:
        """Of float32 [n, feature_width], an array or StoredFeatures, read some rows at a time."""
        count, width = features.shape
        total, squares = np.zeros(width), np.zeros(width)
        blocks = [
            np.arange(first, min(first + _ROWS_AT_ONCE, count))
            for first in range(0, count, _ROWS_AT_ONCE)
        ]
        for rows in blocks:
            total += features[rows].sum(axis=0, dtype=np.float64)
        mean = total / count
        for rows in blocks:
            squares += np.square(features[rows] - mean).sum(axis=0)
        deviation = np.sqrt(squares / count)
        deviation[deviation < 1e-6 * np.maximum(1, abs(mean))] = 1
        return cls(mean.astype(np.float32), deviation.astype(np.float32))

    def apply(self, features: Any) -> Any:
        """float32 [n, feature_width], standardised; an array or a tensor as it came."""
        return (features - self.mean) / self.deviation

    def fold(self, head: Head) -> Head:
        """The head that gives for plain features what `head` gives for standardised ones."""
        import tensorflow as tf

        weights = head.weights / self.deviation[:, None]
        return Head(weights, head.biases - tf.linalg.matvec(weights, self.mean, transpose_a=True))

    def unfold(self, head: Head) -> Head:
        """The reverse of `fold`."""
        import tensorflow as tf

        biases = head.biases + tf.linalg.matvec(head.weights, self.mean, transpose_a=True)
        return Head(head.weights * self.deviation[:, None], biases)
