"""Predictions -> figures. Pure numpy; every figure is a fraction of 1 unless it says otherwise."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from poets_tfr.training.predictions import Predictions

CALIBRATION_BINS = 10
CURVE_THRESHOLDS = 101


@dataclasses.dataclass(frozen=True)
class Calibration:
    """Whether a score of 0.8 is right 8 times in 10. Bins of equal width, (0, 0.1], (0.1, 0.2] ...

    counts: int [bins], predictions whose highest score falls into the bin.
    confidences, accuracies: float [bins], the mean highest score, and how many are right; NaN where
      the bin is empty.
    error: the expected calibration error (Guo et al. 2017, arXiv 1706.04599): the mean over all
      predictions of |accuracy - confidence| of their bin.
    """

    counts: np.ndarray
    confidences: np.ndarray
    accuracies: np.ndarray
    error: float


@dataclasses.dataclass(frozen=True)
class Metrics:
    """What some predictions are worth. What is undefined, 0 of 0, is NaN.

    pictures: how many.
    accuracy: top-1. With one label for each picture it is the micro-average of precision, recall
      and F1 too.
    macro_accuracy: the mean of the recalls of those classes that have pictures: each class counts
      as much, however few its pictures.
    cross_entropy: mean, in nats.
    confusion: int64 [classes, classes], rows are the true labels, columns the predicted ones.
    precision, recall, f1: float64 [classes]. F1 is 0 where precision or recall is 0 or undefined,
      and NaN for a class that neither occurs nor is predicted.
    """

    pictures: int
    accuracy: float
    macro_accuracy: float
    cross_entropy: float
    confusion: np.ndarray
    precision: np.ndarray
    recall: np.ndarray
    f1: np.ndarray
    calibration: Calibration

    @property
    def interval(self) -> tuple[float, float] | None:
        """Where the accuracy on endless images lies, with 95 % confidence; None without images."""
        if not self.pictures:
            return None
        return wilson_interval(round(self.accuracy * self.pictures), self.pictures)

    @property
    def baseline(self) -> float:
        """The accuracy of always guessing the commonest class."""
        return float(self.support.max() / self.pictures) if self.pictures else float('nan')

    @property
    def support(self) -> np.ndarray:
        """int64 [classes]: pictures of each class."""
        return self.confusion.sum(axis=1)

    def to_json(self, labels: Sequence[str]) -> dict[str, Any]:
        """Plain values; what is undefined is None."""
        columns = zip(self.precision, self.recall, self.f1, self.support, strict=True)
        return {
            'pictures': self.pictures,
            'accuracy': _plain(self.accuracy),
            'macro_accuracy': _plain(self.macro_accuracy),
            'cross_entropy': _plain(self.cross_entropy),
            'expected_calibration_error': _plain(self.calibration.error),
            'classes': [
                {
                    'label': label,
                    'precision': _plain(precision),
                    'recall': _plain(recall),
                    'f1': _plain(f1),
                    'pictures': int(support),
                }
                for label, (precision, recall, f1, support) in zip(labels, columns, strict=True)
            ],
            'confusion': self.confusion.tolist(),
            'calibration': {
                'counts': self.calibration.counts.tolist(),
                'confidences': [_plain(value) for value in self.calibration.confidences],
                'accuracies': [_plain(value) for value in self.calibration.accuracies],
            },
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Metrics:
        """What `to_json` made. Raises KeyError, TypeError or ValueError: something else."""
        classes, calibration = value['classes'], value['calibration']

        def column(name: str) -> np.ndarray:
            return np.array([each[name] for each in classes], np.float64)

        return cls(
            pictures=value['pictures'],
            accuracy=_number(value['accuracy']),
            macro_accuracy=_number(value['macro_accuracy']),
            cross_entropy=_number(value['cross_entropy']),
            confusion=np.array(value['confusion'], np.int64).reshape(len(classes), len(classes)),
            precision=column('precision'),
            recall=column('recall'),
            f1=column('f1'),
            calibration=Calibration(
                np.array(calibration['counts'], np.int64),
                np.array(calibration['confidences'], np.float64),
                np.array(calibration['accuracies'], np.float64),
                _number(value['expected_calibration_error']),
            ),
        )


def measure(predictions: Predictions) -> Metrics:
    """All the figures of some predictions."""
    classes = predictions.scores.shape[1]
    labels, predicted = predictions.labels, predictions.predicted
    pairs = labels.astype(np.int64) * classes + predicted
    confusion = np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)
    right = confusion.diagonal()
    precision = _share(right, confusion.sum(axis=0))
    recall = _share(right, confusion.sum(axis=1))
    f1 = _share(2 * right, confusion.sum(axis=0) + confusion.sum(axis=1))
    seen = recall[~np.isnan(recall)]
    return Metrics(
        pictures=len(predictions),
        accuracy=predictions.accuracy,
        macro_accuracy=float(seen.mean()) if len(seen) else float('nan'),
        cross_entropy=predictions.cross_entropy,
        confusion=confusion,
        precision=precision,
        recall=recall,
        f1=f1,
        calibration=_calibration(predictions),
    )


def wilson_interval(right: int, pictures: int) -> tuple[float, float]:
    """Where the accuracy on endless images lies, with 95 % confidence (Wilson 1927).

    >>> low, high = wilson_interval(90, 100)
    >>> f'{low:.3f} to {high:.3f}'
    '0.826 to 0.945'
    """
    z = 1.959964
    share = right / pictures
    centre = share + z * z / (2 * pictures)
    spread = z * math.sqrt(share * (1 - share) / pictures + z * z / (4 * pictures * pictures))
    scale = 1 + z * z / pictures
    return max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale)


def worst_mistakes(predictions: Predictions, most: int) -> np.ndarray:
    """int [<= most]: the rows that are wrong with the highest scores, the worst first."""
    wrong = np.flatnonzero(predictions.predicted != predictions.labels)
    confidence = predictions.scores[wrong].max(axis=1)
    order = wrong[np.argsort(-confidence, kind='stable')]
    _, first = np.unique([predictions.paths[row] for row in order], return_index=True)
    return order[np.sort(first)][:most]  # a picture that was drawn twice counts once


def precision_recall(
    scores: np.ndarray, truth: np.ndarray, thresholds: int = CURVE_THRESHOLDS
) -> np.ndarray:
    """float64 [6, thresholds]: TP, FP, TN, FN, precision, recall, as TensorBoard's plugin wants it.

    Args:
      scores: float [n] of 0..1.
      truth: bool [n].
      thresholds: of 0..1, evenly; a score counts as positive from its threshold on.
    """
    bins = np.floor(scores.astype(np.float64) * (thresholds - 1)).astype(int)
    bins = bins.clip(0, thresholds - 1)
    above = [
        np.bincount(bins[truth == wanted], minlength=thresholds)[::-1].cumsum()[::-1]
        for wanted in (True, False)
    ]
    positives, negatives = (counts.astype(np.float64) for counts in above)
    precision = positives / np.maximum(positives + negatives, 1)
    recall = positives / max(positives[0], 1)
    return np.stack(
        [
            positives,
            negatives,
            negatives[0] - negatives,
            positives[0] - positives,
            precision,
            recall,
        ]
    )


def _calibration(predictions: Predictions) -> Calibration:
    confidence = predictions.scores.max(axis=1).astype(np.float64)
    right = predictions.predicted == predictions.labels
    bins = (np.ceil(confidence * CALIBRATION_BINS).astype(int) - 1).clip(0, CALIBRATION_BINS - 1)
    counts = np.bincount(bins, minlength=CALIBRATION_BINS)
    confidences = _share(np.bincount(bins, confidence, CALIBRATION_BINS), counts)
    accuracies = _share(np.bincount(bins, right, CALIBRATION_BINS), counts)
    gaps = np.abs(accuracies - confidences)[counts > 0]
    error = float('nan')
    if len(confidence):
        error = float((gaps * counts[counts > 0]).sum() / counts.sum())
    return Calibration(counts, confidences, accuracies, error)


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """part / whole; NaN where the whole is 0."""
    nothing = np.full(len(whole), np.nan)
    return np.divide(part, whole, out=nothing, where=whole > 0)


def _number(value: float | None) -> float:
    return float('nan') if value is None else value


def _plain(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
