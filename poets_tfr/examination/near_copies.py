"""Pictures that show the same: found by their features, checked on their pixels."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np

from poets_tfr import progress
from poets_tfr.examination import alignment
from poets_tfr.examination.columns import Columns

LEAST_SIMILARITY = 0.98  # of the pixels; docs/examining.md shows what lies on either side
_LEAST_COSINE = 0.7  # of the features; what is cut, scaled or brightened keeps more
_NEIGHBOURS = 10
_LEAST_UNALIGNED = 0.6  # what is below is no copy, however it is laid
_ROWS_AT_ONCE = 256
_MOST_HITS = 1000  # of a row; of more, only the nearest are looked at


@dataclasses.dataclass(frozen=True)
class NearCopies:
    """group: int32 [n]; rows of the same number show the same, most are alone in theirs.

    similarity: float32 [n], to the member of the group that is most alike; 0 for a row alone.
    nearest: float32 [n], cosine of the features to the nearest picture of another content.
    """

    group: np.ndarray
    similarity: np.ndarray
    nearest: np.ndarray

    def groups(self) -> list[np.ndarray]:
        """The rows of each group of two or more, the largest group first."""
        order = np.argsort(self.group, kind='stable')
        parts = np.split(order, np.flatnonzero(np.diff(self.group[order])) + 1)
        return sorted((part for part in parts if len(part) > 1), key=lambda p: (-len(p), p[0]))

    def seen_elsewhere(self, rows: np.ndarray, others: np.ndarray) -> np.ndarray:
        """bool [n]: which of `rows` (bool [n]) have a near copy among `others` (bool [n])."""
        return rows & np.isin(self.group, np.unique(self.group[others]))


def find(columns: Columns, grey: np.ndarray) -> NearCopies:
    """grey: uint8 [n, 64, 64], the thumbnails."""
    _, first, content = np.unique(columns.digests, return_index=True, return_inverse=True)
    pairs, nearest = _neighbours(columns.features[first])
    pairs = first[pairs]
    pairs = pairs[alignment.unaligned(grey, pairs) >= _LEAST_UNALIGNED]
    alike = alignment.similarity(grey, pairs, LEAST_SIMILARITY)
    pairs, alike = pairs[alike >= LEAST_SIMILARITY], alike[alike >= LEAST_SIMILARITY]
    similarity = np.zeros(len(columns), np.float32)
    for side in pairs.T:
        np.maximum.at(similarity, side, alike)
    similarity = similarity[first][content]
    similarity[np.bincount(content)[content] > 1] = 1
    return NearCopies(_joined(first[content], pairs), similarity, nearest[content])


def _neighbours(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pairs (int [pairs, 2], the smaller row first) of near features; the nearest's cosine [n]."""
    norms = np.maximum(np.linalg.norm(features, axis=1), 1e-6)
    nearest = np.full(len(features), -1, np.float32)
    found = [np.zeros((0, 2), np.int64)]
    with progress.bar(len(features), 'pictures', 'Looking for near duplicates') as bar:
        for rows in _blocks(len(features)):
            cosine = features[rows] @ features.T
            cosine /= norms[rows, None] * norms
            at = np.arange(len(cosine))
            cosine[at, rows.start + at] = -1
            nearest[rows] = cosine.max(axis=1)
            found.append(_near(cosine) + [rows.start, 0])
            bar.update(len(cosine))
    return np.unique(np.sort(np.concatenate(found), axis=1), axis=0), nearest


def _blocks(count: int) -> Iterator[slice]:
    for first in range(0, count, _ROWS_AT_ONCE):
        yield slice(first, min(first + _ROWS_AT_ONCE, count))


def _near(cosine: np.ndarray) -> np.ndarray:
    """int [pairs, 2]: row and column of the nearest of each row that are near enough."""
    least = np.full(len(cosine), _LEAST_COSINE, np.float32)
    many = np.count_nonzero(cosine >= _LEAST_COSINE, axis=1) > _MOST_HITS
    if many.any():
        least[many] = np.partition(cosine[many], -_NEIGHBOURS, axis=1)[:, -_NEIGHBOURS]
    rows, columns = np.nonzero(cosine >= least[:, None])
    order = np.lexsort((-cosine[rows, columns], rows))
    rows, columns = rows[order], columns[order]
    rank = np.arange(len(rows)) - np.searchsorted(rows, rows)
    return np.column_stack([rows, columns])[rank < _NEIGHBOURS]


def _joined(group: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """int32 [n]: the groups once the rows of each pair are in one; each named by its first row."""
    parent = group.tolist()

    def root(row: int) -> int:
        while parent[row] != row:
            parent[row] = parent[parent[row]]
            row = parent[row]
        return row

    for one, other in pairs.tolist():
        low, high = sorted((root(one), root(other)))
        parent[high] = low
    return np.array([root(row) for row in range(len(parent))], np.int32)
