"""How far a picture is from all training pictures: its features' distance to the nearest class."""

from __future__ import annotations

import base64
import dataclasses

import numpy as np

from poets_tfr.extraction.extract import SplitFeatures

MOST_VALUES = 1 << 19  # of the means, 2 MiB: the description is read whole
_ROWS_AT_ONCE = 4096


@dataclasses.dataclass(frozen=True)
class Likeness:
    """means: float32 [classes, width], the mean features of each class, little-endian in base64.

    farthest: pictures that are farther than this from every mean are unlike those of the training.
    """

    means: str
    farthest: float

    @classmethod
    def of(cls, train: SplitFeatures, validation: SplitFeatures, share: float) -> Likeness:
        """So that this share of the validation pictures is farther away."""
        means = _means(train)
        farthest = np.quantile(_distances(validation, means), 1 - share)
        text = base64.b64encode(means.astype('<f4').tobytes()).decode()
        return cls(text, float(farthest))

    def is_unlike(self, features: np.ndarray) -> np.ndarray:
        """bool [n], of features float32 [n, width]."""
        values = np.frombuffer(base64.b64decode(self.means), '<f4')
        means = values.reshape(-1, features.shape[1]).astype(np.float64)
        return _nearest(features, means) > self.farthest

    def refused(self, split: SplitFeatures) -> int:
        """How many of a split's pictures are unlike."""
        return sum(int(self.is_unlike(split.features[rows]).sum()) for rows in _blocks(split))


def _blocks(split: SplitFeatures) -> list[np.ndarray]:
    return np.array_split(np.arange(len(split)), -(-len(split) // _ROWS_AT_ONCE))


def _means(split: SplitFeatures) -> np.ndarray:
    """float64 [classes that have pictures, width]."""
    classes, counts = np.unique(split.labels, return_counts=True)
    sums = np.zeros((len(classes), split.features.shape[1]))
    for rows in _blocks(split):
        is_of = (split.labels[rows] == classes[:, None]).astype(np.float64)
        sums += is_of @ split.features[rows].astype(np.float64)
    return sums / counts[:, None]


def _distances(split: SplitFeatures, means: np.ndarray) -> np.ndarray:
    return np.concatenate([_nearest(split.features[rows], means) for rows in _blocks(split)])


def _nearest(features: np.ndarray, means: np.ndarray) -> np.ndarray:
    """float64 [n]: the Euclidean distance to the nearest mean."""
    seen = features.astype(np.float64)
    squares = (seen**2).sum(axis=1)[:, None] - 2 * seen @ means.T + (means**2).sum(axis=1)
    return np.sqrt(np.maximum(squares.min(axis=1), 0))
