"""Pictures that show the same: found by their features, checked on their pixels."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator
from typing import Any

import numpy as np

from poets_tfr import progress
from poets_tfr.examination import alignment, approximate
from poets_tfr.examination.columns import Columns

log = logging.getLogger('poets_tfr')

MANY = 100_000  # images: up to here all are compared with all, for some minutes
LEAST_SIMILARITY = 0.975  # of the pixels; docs/examining.md shows what lies on either side
_LEAST_COSINE = 0.7  # of the features; what is cut, scaled or brightened keeps more
_NEIGHBOURS = 10
_KEPT = 16  # neighbours, of which some may turn out to be copies
_LEAST_UNALIGNED = 0.6  # what is below is no copy, however it is laid
_ROWS_AT_ONCE, _COLUMNS_AT_ONCE = 1024, 4096
_MOST_HITS = 1000  # of a row in a tile; of more, only the nearest are looked at


@dataclasses.dataclass(frozen=True)
class NearCopies:
    """group: int32 [n]; rows of the same number show the same, most are alone in theirs.

    similarity: float32 [n], to the member of the group that is most alike; 0 for a row alone.
    nearest: float32 [n], cosine of the features to the nearest picture of another content.
    neighbours: int32 [n, k], the rows with the nearest features of another group, the nearest
    first; -1 where there are no more.
    """

    group: np.ndarray
    similarity: np.ndarray
    nearest: np.ndarray
    neighbours: np.ndarray

    def groups(self) -> list[np.ndarray]:
        """The rows of each group of two or more, the largest group first."""
        order = np.argsort(self.group, kind='stable')
        parts = np.split(order, np.flatnonzero(np.diff(self.group[order])) + 1)
        return sorted((part for part in parts if len(part) > 1), key=lambda p: (-len(p), p[0]))

    def seen_elsewhere(self, rows: np.ndarray, others: np.ndarray) -> np.ndarray:
        """bool [n]: which of `rows` (bool [n]) have a near copy among `others` (bool [n])."""
        return rows & np.isin(self.group, np.unique(self.group[others]))


@dataclasses.dataclass(frozen=True)
class Candidates:
    """Pairs of rows whose features are near: int64 [pairs, 2], of different contents.

    first: int64 [contents], a row of each content. content: int64 [n], the place of each row's
    content among them. nearest, neighbours: see NearCopies; these of another content.
    """

    pairs: np.ndarray
    first: np.ndarray
    content: np.ndarray
    nearest: np.ndarray
    neighbours: np.ndarray

    def checked(self, grey: np.ndarray) -> NearCopies:
        """grey: uint8 [n, 64, 64], the thumbnails."""
        count, first, content, pairs = len(self.content), self.first, self.content, self.pairs
        pairs = pairs[alignment.unaligned(grey, pairs) >= _LEAST_UNALIGNED]
        alike = alignment.similarity(grey, pairs, LEAST_SIMILARITY)
        pairs, alike = pairs[alike >= LEAST_SIMILARITY], alike[alike >= LEAST_SIMILARITY]
        similarity = np.zeros(count, np.float32)
        for side in pairs.T:
            np.maximum.at(similarity, side, alike)
        similarity = similarity[first][content]
        similarity[np.bincount(content)[content] > 1] = 1
        group = _joined(first[content], pairs)
        others = np.where(group[self.neighbours] == group[:, None], -1, self.neighbours)
        return NearCopies(group, similarity, self.nearest, others)


def candidates(columns: Columns) -> Candidates:
    """By the features alone: the thumbnails need not be there yet, and of many images, either is
    hundreds of megabytes."""
    _, first, content = np.unique(columns.digests, return_index=True, return_inverse=True)
    squares = np.einsum('ni,ni->n', columns.features, columns.features)[first]
    scale = 1 / np.sqrt(np.maximum(squares, 1e-12))
    is_many = len(first) > MANY
    if is_many and not approximate.is_installed():
        log.warning(
            'WARNING: %d images are compared with each other, which takes four times as long for '
            "twice as many: pip install faiss-cpu is quicker beyond %d.", len(first), MANY,
        )  # fmt: skip
    search = _among_very_many if is_many and approximate.is_installed() else _neighbours
    pairs, nearest = search(columns.features, first, scale)
    neighbours = np.where(nearest.places < 0, -1, first[nearest.places]).astype(np.int32)
    return Candidates(
        first[pairs], first, content, nearest.cosines[content, 0], neighbours[content]
    )


@dataclasses.dataclass(frozen=True)
class _Nearest:
    """Of each picture those whose features are nearest, as far as they were compared.

    cosines: float32 [chosen, _KEPT], descending. places: int32 [chosen, _KEPT]; -1: none.
    """

    cosines: np.ndarray
    places: np.ndarray

    @classmethod
    def none_of(cls, count: int) -> _Nearest:
        empty = np.full((count, _KEPT), -1)
        return cls(empty.astype(np.float32), empty.astype(np.int32))

    def take(self, rows: slice, cosine: Any, first: int) -> None:
        """cosine: float32 [rows, some], to the places from `first` on."""
        import tensorflow as tf

        cosines, columns = tf.math.top_k(cosine, min(_KEPT, cosine.shape[1]))
        places = np.where(cosines > -1, columns + first, -1)
        places = np.concatenate([self.places[rows], places], axis=1)
        cosines, best = tf.math.top_k(np.concatenate([self.cosines[rows], cosines], axis=1), _KEPT)
        self.cosines[rows] = cosines
        self.places[rows] = np.take_along_axis(places, best.numpy(), axis=1)


def _among_very_many(
    features: np.ndarray, chosen: np.ndarray, scale: np.ndarray
) -> tuple[np.ndarray, _Nearest]:
    """As `_neighbours`, approximately: the pairs are those of the nearest of each."""
    whole = features if len(chosen) == len(features) else features[chosen]
    nearest = _Nearest(*approximate.nearest(whole, scale, _KEPT))
    rows, ranks = np.nonzero(nearest.cosines >= _LEAST_COSINE)
    pairs = np.column_stack([rows, nearest.places[rows, ranks]])
    return np.unique(np.sort(pairs, axis=1), axis=0), nearest


def _neighbours(
    features: np.ndarray, chosen: np.ndarray, scale: np.ndarray
) -> tuple[np.ndarray, _Nearest]:
    """Pairs (int [pairs, 2]) of near features, and the nearest of each.

    Tile by tile, so that memory stays flat, and each pair once.

    chosen: int [chosen], the rows that are compared; pairs are places among them, the smaller one
      first. scale: float32 [chosen], 1 / the length of the features.
    """
    import tensorflow as tf

    count = len(chosen)
    nearest = _Nearest.none_of(count)
    found = [np.zeros((0, 2), np.int64)]
    with progress.bar(count, 'images', 'Looking for near duplicates') as bar:
        for rows in _blocks(0, count, _ROWS_AT_ONCE):
            these, hits = tf.constant(features[chosen[rows]]), []
            for columns in _blocks(rows.start, count, _COLUMNS_AT_ONCE):
                cosine = tf.matmul(these, features[chosen[columns]], transpose_b=True).numpy()
                cosine *= scale[rows, None]
                cosine *= scale[columns]
                if columns.start == rows.start:
                    cosine[np.tril_indices(len(cosine), 0, cosine.shape[1])] = -1
                nearest.take(rows, cosine, columns.start)
                nearest.take(columns, tf.transpose(cosine), rows.start)
                hits.append(_nearest(*_hits(cosine, columns.start)))
            near = _nearest(*map(np.concatenate, zip(*hits, strict=True)))
            found.append(np.column_stack(near[:2]) + [rows.start, 0])
            bar.update(rows.stop - rows.start)
    return np.concatenate(found), nearest


def _blocks(first: int, end: int, size: int) -> Iterator[slice]:
    for at in range(first, end, size):
        yield slice(at, min(at + size, end))


def _hits(cosine: np.ndarray, first: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Row, column and cosine of what is near enough; of a row with many, of the nearest alone."""
    least = np.full(len(cosine), _LEAST_COSINE, np.float32)
    many = np.count_nonzero(cosine >= _LEAST_COSINE, axis=1) > _MOST_HITS
    if many.any():
        least[many] = np.partition(cosine[many], -_NEIGHBOURS, axis=1)[:, -_NEIGHBOURS]
    rows, columns = np.divmod(np.flatnonzero(cosine >= least[:, None]), cosine.shape[1])
    return rows, columns + first, cosine[rows, columns]


def _nearest(
    rows: np.ndarray, columns: np.ndarray, cosine: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of these pairs, those in which one is among the nearest of the other."""
    kept = np.zeros(len(rows), bool)
    for side in rows, columns:
        order = np.lexsort((-cosine, side))
        ranked = side[order]
        rank = np.arange(len(side)) - np.searchsorted(ranked, ranked)
        kept[order[rank < _NEIGHBOURS]] = True
    return rows[kept], columns[kept], cosine[kept]


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
