"""What a trained head says of the pictures of a split: the one source of every final figure."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator
from typing import Any

import numpy as np

from poets_tfr.extraction.extract import SplitFeatures
from poets_tfr.training import head as heads
from poets_tfr.training.head import Head
from poets_tfr.training.sampling import TEST_STREAM, Sampler
from poets_tfr.training.settings import HeadConfig

_ROWS_AT_ONCE = 4096


@dataclasses.dataclass(frozen=True)
class Predictions:
    """Scores beside the truth, one row for each picture (or draw).

    paths: of the pictures, relative to image_dir.
    labels: int32 [n], 0-based: the true ones.
    scores: float32 [n, classes], softmax: each row sums to 1.
    """

    paths: tuple[str, ...]
    labels: np.ndarray
    scores: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    @functools.cached_property  # with thousands of classes it takes a second
    def predicted(self) -> np.ndarray:
        """int32 [n]: the label with the highest score; of equal ones the first."""
        return self.scores.argmax(axis=1).astype(np.int32)

    @functools.cached_property
    def confidence(self) -> np.ndarray:
        """float32 [n]: the highest score of each row."""
        return self.scores[np.arange(len(self)), self.predicted]

    @property
    def accuracy(self) -> float:
        """The fraction, of 1, that is classified correctly; NaN where there is nothing."""
        return float(np.mean(self.predicted == self.labels)) if len(self) else float('nan')

    @property
    def cross_entropy(self) -> float:
        """The mean, in nats, a score of 0 being taken as the smallest float32; NaN as above."""
        of_truth = self.scores[np.arange(len(self)), self.labels].astype(np.float64)
        losses = -np.log(np.maximum(of_truth, np.finfo(np.float32).tiny))
        return float(losses.mean()) if len(self) else float('nan')


def predict(
    head: Head, split: SplitFeatures, batch_size: int = -1, config: HeadConfig | None = None
) -> Predictions:
    """The head's scores for every picture of a split, in its order.

    With a `batch_size` above 0: for as many draws from it instead, by `config`'s sampling and seed.
    """
    import tensorflow as tf

    config = config or HeadConfig()
    classes = int(head.biases.shape[0])
    sampler = Sampler.of(
        split.labels, classes, batch_size, config.sampling, config.seed, TEST_STREAM
    )
    rows = sampler.draw(0).numpy()
    scores = np.empty((len(rows), classes), np.float32)
    for chosen, logits in _logits(head, split, rows):
        scores[chosen] = tf.nn.softmax(logits).numpy()
    paths = tuple(split.paths[row] for row in rows.tolist())
    return Predictions(paths, split.labels[rows], scores)


def logits_of(head: Head, split: SplitFeatures) -> np.ndarray:
    """float32 [n, classes]: what the softmax is taken of, for every picture of a split."""
    found = np.empty((len(split), int(head.biases.shape[0])), np.float32)
    for chosen, logits in _logits(head, split, np.arange(len(split))):
        found[chosen] = logits.numpy()
    return found


def _logits(head: Head, split: SplitFeatures, rows: np.ndarray) -> Iterator[tuple[slice, Any]]:
    """Of these pictures, some at a time: where they stand in `rows`, and their logits."""
    for first in range(0, len(rows), _ROWS_AT_ONCE):
        chosen = slice(first, first + _ROWS_AT_ONCE)
        yield chosen, heads.logits(head, split.features[rows[chosen]])
