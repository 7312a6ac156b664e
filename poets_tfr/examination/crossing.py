"""Every head that the examination needs, trained side by side over folds of groups."""

from __future__ import annotations

import dataclasses

import numpy as np

from poets_tfr.examination import heads
from poets_tfr.examination.columns import Columns
from poets_tfr.examination.curve import SHARES, Curve
from poets_tfr.training.head import Head

FOLDS = 5
_DRAWS = 2  # of the folds: the mean of the two scores is steadier than one
_LARGE = 1_000_000  # pictures x classes: from here on one draw, and the curve of one fold


@dataclasses.dataclass(frozen=True)
class Crossed:
    """scores: float32 [n, classes], of heads that saw neither the picture nor its near copies.

    by_split: float32 [n, classes], of the head of the training split; None where there is none.
    """

    scores: np.ndarray
    curve: Curve
    by_split: np.ndarray | None


def validate(columns: Columns, group: np.ndarray, seed: int) -> Crossed:
    """group: int32 [n], pictures of one group are always in one fold."""
    rng = np.random.default_rng(seed)
    classes, labels = len(columns.names), columns.labels
    is_large = len(columns) * classes > _LARGE
    draws = [_folds(group, rng) for _ in range(1 if is_large else _DRAWS)]
    curve_folds = range(1 if is_large else FOLDS)
    order = _order(group, rng)
    masks = [fold != part for fold in draws for part in range(FOLDS)]
    masks += [(draws[0] != part) & (order < share) for share in SHARES[:-1] for part in curve_folds]
    in_train = columns.is_of('train')
    has_splits = 0 < in_train.sum() < len(columns)
    if has_splits:
        masks.append(in_train)
    weights = np.stack(masks, axis=1).astype(np.float32)
    head = heads.train(columns.features, labels, classes, weights)
    wanted = np.stack(draws, axis=1) + np.arange(len(draws)) * FOLDS
    scores = heads.scores(head, columns.features, classes, wanted).mean(axis=1)
    by_split = None
    if has_splits:
        last = np.full((len(columns), 1), len(masks) - 1)
        by_split = heads.scores(head, columns.features, classes, last)[:, 0]
    curve = _curve(columns, head, draws[0], weights, len(draws) * FOLDS, curve_folds)
    return Crossed(scores, curve, by_split)


def accuracy_by_fold(columns: Columns, group: np.ndarray, seed: int) -> np.ndarray:
    """float64 [FOLDS]: of heads on the pictures of each fold; the folds are those of `validate`."""
    fold = _folds(group, np.random.default_rng(seed))
    weights = (fold[:, None] != np.arange(FOLDS)).astype(np.float32)
    classes = len(columns.names)
    head = heads.train(columns.features, columns.labels, classes, weights)
    scored = heads.scores(head, columns.features, classes, fold[:, None])[:, 0]
    right = scored.argmax(axis=1) == columns.labels
    return np.array([right[fold == part].mean() for part in range(FOLDS)])


def _folds(group: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """int64 [n]: the fold of each picture."""
    _, numbers = np.unique(group, return_inverse=True)
    return (rng.permutation(numbers.max() + 1) % FOLDS)[numbers]


def _order(group: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """float64 [n]: evenly between 0 and 1 at random, the same for all of a group."""
    _, numbers = np.unique(group, return_inverse=True)
    return rng.permutation(numbers.max() + 1)[numbers] / (numbers.max() + 1)


def _curve(
    columns: Columns,
    head: Head,
    fold: np.ndarray,
    weights: np.ndarray,
    first: int,
    parts: range,
) -> Curve:
    """first: the first head of the shares; the heads of all pictures are those of the folds."""
    labels, classes = columns.labels, len(columns.names)
    accuracy, of_class, pictures = [], [], []
    for place in range(len(SHARES)):
        at = first + place * len(parts) if place < len(SHARES) - 1 else 0
        chosen = np.minimum(fold, len(parts) - 1) + at
        scored = heads.scores(head, columns.features, classes, chosen[:, None])[:, 0]
        right = scored.argmax(axis=1) == labels
        accuracy.append([right[fold == part].mean() for part in parts])
        seen = fold < len(parts)
        counts = np.bincount(labels[seen], minlength=classes)
        hits = np.bincount(labels[seen], right[seen], classes)
        of_class.append(np.where(counts, hits / np.maximum(counts, 1), np.nan))
        pictures.append(round(float(weights[:, at : at + len(parts)].sum(axis=0).mean())))
    return Curve(pictures, np.array(accuracy).T, np.array(of_class))
