"""The score from which on labels are right often enough."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from poets_tfr.training.predictions import Predictions

LEAST_ACCEPTED = 20  # of fewer pictures, one more or less is over 5 points of precision


class Accepted(NamedTuple):
    """Of `pictures`, how many have a score that is high enough, and how many of these are right."""

    pictures: int
    accepted: int
    right: int

    @property
    def precision(self) -> float | None:
        """A fraction of 1; None where nothing is accepted."""
        return self.right / self.accepted if self.accepted else None

    @property
    def coverage(self) -> float | None:
        """The share that is accepted, of 1; None where there are no pictures."""
        return self.accepted / self.pictures if self.pictures else None


def lowest(predictions: Predictions, precision: float) -> float | None:
    """The threshold that accepts most pictures with at least this share of them labelled right.

    Returns:
      Halfway to the score of the next picture, so that rounding in an export accepts the same ones;
      0.0 where all may be accepted; None where no LEAST_ACCEPTED pictures are right so often.
    """
    scores, _, precisions = _running(predictions)
    enough = np.flatnonzero(precisions >= precision)
    if not len(enough):
        return None
    last = int(enough[-1])
    return float(scores[last : last + 2].mean()) if last + 1 < len(scores) else 0.0


def best(predictions: Predictions) -> Accepted:
    """Of the thresholds that accept LEAST_ACCEPTED pictures, that with the highest precision."""
    scores, right, precisions = _running(predictions)
    chosen = int(np.nanargmax(precisions))
    return Accepted(len(scores), chosen + 1, int(right[chosen]))


def accepted(predictions: Predictions, min_score: float) -> Accepted:
    """What becomes of some predictions under a threshold."""
    is_accepted = predictions.confidence >= min_score
    is_right = is_accepted & (predictions.predicted == predictions.labels)
    return Accepted(len(predictions), int(is_accepted.sum()), int(is_right.sum()))


def _running(predictions: Predictions) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Down to each picture, the highest score first: its score, how many are right, the precision.

    Float64 [n], int [n], float64 [n]; the precision is NaN where no threshold ends: among equal
    scores, and above LEAST_ACCEPTED pictures.
    """
    order = np.argsort(-predictions.confidence, kind='stable')
    scores = predictions.confidence[order].astype(np.float64)
    right = (predictions.predicted == predictions.labels)[order].cumsum()
    count = np.arange(1, len(scores) + 1)
    ends = np.append(scores[1:] < scores[:-1], True) & (count >= LEAST_ACCEPTED)
    return scores, right, np.where(ends, right / count, np.nan)
