"""What more pictures would bring: heads of 1/8, 1/4, 1/2 and all of them."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

SHARES = 1 / 8, 1 / 4, 1 / 2, 1.0


@dataclasses.dataclass(frozen=True)
class Curve:
    """pictures: how many each share is, in the mean. accuracy: float64 [folds, shares].

    of_class: float64 [shares, classes], the share of each class's pictures that was recognised.
    """

    pictures: list[int]
    accuracy: np.ndarray
    of_class: np.ndarray

    @property
    def mean(self) -> np.ndarray:
        return self.accuracy.mean(axis=0)

    @property
    def error(self) -> np.ndarray:
        """Standard error of each mean; NaN of a single fold."""
        folds = len(self.accuracy)
        if folds < 2:
            return np.full(len(SHARES), np.nan)
        return self.accuracy.std(axis=0, ddof=1) / math.sqrt(folds)

    def doubled(self) -> tuple[float, float]:
        """What twice as many pictures may add to the accuracy, and the standard error of that.

        The mistakes fall by the same share with each doubling, as far as they have done so.
        """
        gains = np.array([_gain(1 - accuracy) for accuracy in self.accuracy])
        error = gains.std(ddof=1) / math.sqrt(len(gains)) if len(gains) > 1 else math.nan
        return float(gains.mean()), float(error)

    def doubled_of_class(self) -> np.ndarray:
        """float64 [classes]: the same, class by class."""
        return np.array([_gain(1 - shares) for shares in self.of_class.T])


def _gain(mistakes: np.ndarray) -> float:
    """mistakes: fraction at each share, each share twice the one before."""
    if np.isnan(mistakes).any() or mistakes[-1] <= 0:
        return 0.0
    logs = np.log(np.maximum(mistakes, 1e-4))
    slope = np.polyfit(np.arange(len(logs)), logs, 1)[0]
    return float(mistakes[-1] * (1 - math.exp(min(slope, 0.0))))
