"""Temperature scaling (Guo et al. 2017, arXiv 1706.04599): scores as sure as they are right.

One number, by which all logits are divided: the one with the least cross entropy on pictures that
the head was not trained on. It changes how sure a head is, never what it says.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from poets_tfr.training.head import Head

_VALUES_AT_ONCE = 1 << 22  # of logits, in float64: memory stays flat
_MOST_STEPS = 200
_PRECISION = 1e-12  # of the result, relative
_Z = 1.959964  # of 95 %


class Temperature(NamedTuple):
    """low, high: where it lies with 95 % confidence, by how sharp the minimum is."""

    value: float
    low: float
    high: float


def fit(logits: np.ndarray, labels: np.ndarray) -> Temperature | None:
    """The temperature with the least cross entropy, by Newton's method within bounds.

    Args:
      logits: float [n, classes].
      labels: int [n], the true classes.

    Returns:
      None where there is no such temperature: every label has the highest logit, so that the
      entropy falls the colder it gets; or logits are no better than guessing, so that it rises.
    """
    of_truth = logits[np.arange(len(labels)), labels]
    if not np.any(of_truth < logits.max(axis=1, initial=-np.inf)):
        return None
    if _slope(logits, labels, 0.0)[0] >= 0:
        return None
    # In the inverse of the temperature the cross entropy is convex: its slope rises.
    low, high = 0.0, 1.0
    while _slope(logits, labels, high)[0] < 0:
        low, high = high, 2 * high
    inverse = high
    for _ in range(_MOST_STEPS):
        slope, curvature = _slope(logits, labels, inverse)
        low, high = (inverse, high) if slope < 0 else (low, inverse)
        step = inverse - slope / curvature if curvature > 0 else high
        before, inverse = inverse, step if low < step < high else (low + high) / 2
        if abs(inverse - before) <= _PRECISION * inverse:
            break
    curvature = _slope(logits, labels, inverse)[1]
    # Of the temperature's logarithm, from Fisher's information.
    spread = math.exp(_Z / (inverse * math.sqrt(len(labels) * curvature)))
    return Temperature(1 / inverse, 1 / inverse / spread, spread / inverse)


def folded(head: Head, temperature: float) -> Head:
    """The head whose logits are those of `head` divided by the temperature."""
    import tensorflow as tf

    return Head(
        *(tf.constant((np.asarray(x, np.float64) / temperature).astype(np.float32)) for x in head)
    )


def _slope(logits: np.ndarray, labels: np.ndarray, inverse: float) -> tuple[float, float]:
    """First and second derivative of the mean cross entropy by the inverse of the temperature."""
    rows = max(1, _VALUES_AT_ONCE // logits.shape[1])
    slope = curvature = 0.0
    for first in range(0, len(logits), rows):
        z = logits[first : first + rows].astype(np.float64)
        z -= z.max(axis=1, keepdims=True)
        of_truth = z[np.arange(len(z)), labels[first : first + rows]]
        scores = np.exp(inverse * z)
        scores /= scores.sum(axis=1, keepdims=True)
        mean = (scores * z).sum(axis=1)
        slope += float((mean - of_truth).sum())
        curvature += float((scores * (z - mean[:, None]) ** 2).sum())
    return slope / len(logits), curvature / len(logits)
