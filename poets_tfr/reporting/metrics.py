"""Predictions -> figures. Pure numpy; every figure is a fraction of 1 unless it says otherwise."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from poets_tfr.training.predictions import Predictions

CALIBRATION_BINS = 10
CURVE_THRESHOLDS = 101
DENSE_CLASSES = 100  # of more, reports hold what scales with thousands
_DECIMALS = 4


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
    accuracy: top-1. With one label for each image it is the micro-average of precision, recall
      and F1 too.
    macro_accuracy: the mean of the recalls of those classes that have images: each class counts
      as much, however few its images.
    cross_entropy: mean, in nats.
    pairs: int64 [n, 3], ascending: label, predicted label, how many images. Those that occur: it
      grows with the images, not with the square of the classes.
    classes: how many there are.
    """

    pictures: int
    accuracy: float
    macro_accuracy: float
    cross_entropy: float
    pairs: np.ndarray
    classes: int
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
    def confusion(self) -> np.ndarray:
        """int64 [classes, classes], made anew: rows are the true labels, columns the predicted."""
        return self.confusion_of(np.arange(self.classes))

    def confusion_of(self, chosen: np.ndarray) -> np.ndarray:
        """int64 [n, n]: the rows and columns of some classes, given in ascending order."""
        place = np.full(self.classes, -1)
        place[chosen] = np.arange(len(chosen))
        rows, columns = place[self.pairs[:, 0]], place[self.pairs[:, 1]]
        inside = (rows >= 0) & (columns >= 0)
        confusion = np.zeros((len(chosen), len(chosen)), np.int64)
        confusion[rows[inside], columns[inside]] = self.pairs[inside, 2]
        return confusion

    @functools.cached_property
    def support(self) -> np.ndarray:
        """int64 [classes]: images of each class."""
        return self._per_class(0)

    @functools.cached_property
    def times_predicted(self) -> np.ndarray:
        """int64 [classes]: how many images were taken for each class."""
        return self._per_class(1)

    @functools.cached_property
    def right(self) -> np.ndarray:
        """int64 [classes]: how many images of each class were classified correctly."""
        return self._per_class(0, self.pairs[:, 0] == self.pairs[:, 1])

    @functools.cached_property
    def precision(self) -> np.ndarray:
        """float64 [classes]: of the images taken for a class, how many are of it."""
        return _share(self.right, self.times_predicted)

    @functools.cached_property
    def recall(self) -> np.ndarray:
        """float64 [classes]: of the images of a class, how many were taken for it."""
        return _share(self.right, self.support)

    @functools.cached_property
    def f1(self) -> np.ndarray:
        """float64 [classes]: 0 where precision or recall is 0 or undefined, NaN where both are."""
        return _share(2 * self.right, self.times_predicted + self.support)

    def most_mistaken(self, most: int) -> np.ndarray:
        """int [<= most], ascending: the classes that take part in the most mistakes."""
        wrong = self.times_predicted + self.support - 2 * self.right
        return np.sort(np.argsort(-wrong, kind='stable')[:most])

    def weakest(self, most: int) -> np.ndarray:
        """int [<= most]: the classes with images whose recall is lowest, the lowest first.

        Of equal ones, that with the most images first.
        """
        order = np.lexsort((-self.support, self.recall))
        return order[self.support[order] > 0][:most]

    def worst_pairs(self, most: int) -> np.ndarray:
        """int64 [<= most, 3]: the commonest mistakes, as in `pairs`, the commonest first."""
        mistakes = self.pairs[self.pairs[:, 0] != self.pairs[:, 1]]
        return mistakes[np.argsort(-mistakes[:, 2], kind='stable')[:most]]

    def to_json(self, labels: Sequence[str]) -> dict[str, Any]:
        """Plain values; what is undefined is None.

        Of more than DENSE_CLASSES `classes` holds columns in the order of the labels, its shares
        rounded, and `confusion` the `pairs`.
        """
        return {
            'pictures': self.pictures,
            'accuracy': _plain(self.accuracy),
            'macro_accuracy': _plain(self.macro_accuracy),
            'cross_entropy': _plain(self.cross_entropy),
            'expected_calibration_error': _plain(self.calibration.error),
            'classes': self._class_rows(labels) if is_dense(labels) else self._class_columns(),
            'confusion': (self.confusion if is_dense(labels) else self.pairs).tolist(),
            'calibration': {
                'counts': self.calibration.counts.tolist(),
                'confidences': [_plain(value) for value in self.calibration.confidences],
                'accuracies': [_plain(value) for value in self.calibration.accuracies],
            },
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any], classes: int) -> Metrics:
        """What `to_json` made, of so many classes; 0.1 wrote the whole matrix of any number.

        Raises KeyError, TypeError or ValueError: something else.
        """
        calibration = value['calibration']
        return cls(
            pictures=value['pictures'],
            accuracy=_number(value['accuracy']),
            macro_accuracy=_number(value['macro_accuracy']),
            cross_entropy=_number(value['cross_entropy']),
            pairs=_pairs_from_json(value['confusion'], classes),
            classes=classes,
            calibration=Calibration(
                np.array(calibration['counts'], np.int64),
                np.array(calibration['confidences'], np.float64),
                np.array(calibration['accuracies'], np.float64),
                _number(value['expected_calibration_error']),
            ),
        )

    def _per_class(self, column: int, chosen: np.ndarray | slice = slice(None)) -> np.ndarray:
        """int64 [classes]: images of the chosen pairs, by the label in one of their columns."""
        counts = np.zeros(self.classes, np.int64)
        np.add.at(counts, self.pairs[chosen, column], self.pairs[chosen, 2])
        return counts

    def _class_rows(self, labels: Sequence[str]) -> list[dict[str, Any]]:
        columns = zip(self.precision, self.recall, self.f1, self.support, strict=True)
        return [
            {
                'label': label,
                'precision': _plain(precision),
                'recall': _plain(recall),
                'f1': _plain(f1),
                'pictures': int(support),
            }
            for label, (precision, recall, f1, support) in zip(labels, columns, strict=True)
        ]

    def _class_columns(self) -> dict[str, list[Any]]:
        shares = {'precision': self.precision, 'recall': self.recall, 'f1': self.f1}
        rounded = {
            name: [_plain(value) for value in column.round(_DECIMALS).tolist()]
            for name, column in shares.items()
        }
        return {**rounded, 'pictures': self.support.tolist()}


def is_dense(labels: Sequence[str]) -> bool:
    """Whether so few classes are reported one by one, with the whole matrix."""
    return len(labels) <= DENSE_CLASSES


def measure(predictions: Predictions) -> Metrics:
    """All the figures of some predictions."""
    labels, classes = predictions.labels, predictions.scores.shape[1]
    taken = labels.astype(np.int64) * classes + predictions.predicted
    pairs, counts = np.unique(taken, return_counts=True)
    figures = Metrics(
        pictures=len(predictions),
        accuracy=predictions.accuracy,
        macro_accuracy=float('nan'),
        cross_entropy=predictions.cross_entropy,
        pairs=np.column_stack([*np.divmod(pairs, classes), counts]),
        classes=classes,
        calibration=_calibration(predictions),
    )
    seen = figures.recall[figures.support > 0]
    return dataclasses.replace(figures, macro_accuracy=float(seen.mean()) if len(seen) else np.nan)


def calibration_error(predictions: Predictions) -> float:
    """The expected calibration error: see `Calibration`."""
    return _calibration(predictions).error


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
    confidence = predictions.confidence[wrong]
    order = wrong[np.argsort(-confidence, kind='stable')]
    _, first = np.unique([predictions.paths[row] for row in order], return_index=True)
    return order[np.sort(first)][:most]  # a picture that was drawn twice counts once


def right_beside(predictions: Predictions, mistaken: Sequence[int], most: int) -> np.ndarray:
    """int [<= most]: rows of images that were classified correctly, with the highest scores.

    One for each class that the rows `mistaken` are of, or were taken for; where there is any.
    """
    right = predictions.predicted == predictions.labels
    pairs = [(predictions.predicted[row], predictions.labels[row]) for row in mistaken]
    found = []
    for label in dict.fromkeys(int(label) for pair in pairs for label in pair):
        rows = np.flatnonzero(right & (predictions.labels == label))
        if len(rows):
            found.append(rows[predictions.confidence[rows].argmax()])
    return np.array(found[:most], int)


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
    confidence = predictions.confidence.astype(np.float64)
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


def _pairs_from_json(confusion: Sequence[Sequence[int]], classes: int) -> np.ndarray:
    if classes <= DENSE_CLASSES or all(len(row) == classes for row in confusion):
        dense = np.array(confusion, np.int64).reshape(classes, classes)
        rows, columns = np.nonzero(dense)
        return np.column_stack([rows, columns, dense[rows, columns]])
    pairs = np.array(confusion, np.int64).reshape(len(confusion), 3)
    if len(pairs) and (pairs.min() < 0 or pairs[:, :2].max() >= classes):
        raise ValueError(f'confusion: there are {classes} classes')
    return pairs


def _number(value: float | None) -> float:
    return float('nan') if value is None else value


def _plain(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
