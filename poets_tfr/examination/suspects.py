"""Labels that are likely wrong: what heads say that have not seen the picture, and its neighbours.

Northcutt, Jiang and Chuang, Confident Learning, JAIR 2021. Of its qualities of a label,
self-confidence (the score of the given label) is taken, not the normalised margin. The labels of
the nearest pictures are a part of a score, as in Zhu, Dong and Liu, Detecting Corrupted
Labels Without Training a Model to Predict, ICML 2022. docs/examining.md has the figures of all.
"""

from __future__ import annotations

import dataclasses

import numpy as np

_RESAMPLES = 200
_VOTERS = 10  # of the nearest pictures
_WEIGHT_OF_VOTES = 0.3  # of 0.2 to 0.6, and of 5 to 50 voters, among the best


@dataclasses.dataclass(frozen=True)
class Suspects:
    """quality: float32 [n], 0 (surely wrong) to 1, of the given label. suggested: int32 [n], the
    label with the highest score. differs: bool [n], whether that is another one than the given.
    order: int64 [n], the rows, the worst first.

    expected: how many labels are to be expected that disagree with what the picture shows, with the
    95 % range of that. joint: float64 [classes, classes], how many of each given label (row) seem
    to be of which (column).
    """

    quality: np.ndarray
    suggested: np.ndarray
    order: np.ndarray
    expected: float
    expected_range: tuple[float, float]
    joint: np.ndarray
    differs: np.ndarray

    def likely(self) -> np.ndarray:
        """int64 [<= expected]: as many of the worst as are expected, whose label would change."""
        worst = self.order[: round(self.expected)]
        return worst[self.differs[worst]]


def find(scores: np.ndarray, neighbours: np.ndarray, labels: np.ndarray, seed: int) -> Suspects:
    """scores: float32 [n, classes], out of fold. neighbours: int32 [n, k], rows of pictures of
    other groups, the nearest first; -1: none. labels: int32 [n]."""
    scores = with_neighbours(scores, neighbours, labels)
    quality = scores[np.arange(len(labels)), labels]
    suggested = scores.argmax(axis=1).astype(np.int32)
    counted = _confident(scores, labels)
    joint = _joint(*counted, scores.shape[1])
    low, high = _range(*counted, scores.shape[1], seed)
    return Suspects(
        quality,
        suggested,
        np.argsort(quality, kind='stable'),
        float(joint.sum() - np.trace(joint)),
        (low, high),
        joint,
        suggested != labels,
    )


def with_neighbours(scores: np.ndarray, neighbours: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """float32 [n, classes]: of each score a part is the share of neighbours with the label."""
    votes, rows = np.zeros_like(scores), np.arange(len(scores))
    votes_left = np.full(len(scores), _VOTERS)
    for column in neighbours.T:
        counts = (column >= 0) & (votes_left > 0)
        votes[rows[counts], labels[column[counts]]] += 1
        votes_left -= counts
    cast = votes.sum(axis=1, keepdims=True)
    share = np.where(cast > 0, _WEIGHT_OF_VOTES, 0).astype(np.float32)
    votes *= share / np.maximum(cast, 1)
    return votes + (1 - share) * scores


def _confident(scores: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(labels, int [n]: the class of which each picture surely seems to be; -1: none).

    Surely: with at least the mean score that pictures of that class get for it.
    """
    classes = scores.shape[1]
    own = scores[np.arange(len(labels)), labels]
    counts = np.bincount(labels, minlength=classes)
    thresholds = np.bincount(labels, own, classes) / np.maximum(counts, 1)
    sure = scores >= np.where(counts, thresholds, np.inf)
    seems = np.where(sure, scores, -1).argmax(axis=1)
    return labels, np.where(sure.any(axis=1), seems, -1)


def _joint(labels: np.ndarray, seems: np.ndarray, classes: int) -> np.ndarray:
    """The confident joint, scaled so that each row adds up to the pictures of its label."""
    sure = seems >= 0
    pairs = labels[sure].astype(np.int64) * classes + seems[sure]
    joint = np.bincount(pairs, minlength=classes * classes).reshape(classes, classes).astype(float)
    rows = joint.sum(axis=1, keepdims=True)
    counts = np.bincount(labels, minlength=classes)[:, None]
    return np.where(rows > 0, joint * counts / np.maximum(rows, 1), np.diag(counts[:, 0]))


def _range(labels: np.ndarray, seems: np.ndarray, classes: int, seed: int) -> tuple[float, float]:
    """The middle 95 % of what other draws of as many pictures would give (bootstrap).

    Only the row and whether a picture is off the diagonal matter: so of few counts it is drawn.
    """
    off = (seems >= 0) & (seems != labels)
    counts = np.bincount(labels, minlength=classes)
    sure = np.bincount(labels[seems >= 0], minlength=classes)
    wrong = np.bincount(labels[off], minlength=classes)
    kinds = np.concatenate([wrong, sure - wrong, counts - sure])
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(len(labels), kinds / len(labels), _RESAMPLES)
    wrong, right, unsure = np.split(drawn, 3, axis=1)
    expected = ((wrong + right + unsure) * wrong / np.maximum(wrong + right, 1)).sum(axis=1)
    low, high = np.quantile(expected, [0.025, 0.975])
    return float(low), float(high)
