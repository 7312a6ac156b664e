"""The nearest features among very many pictures, by faiss (the extra `faiss`).

Comparing all with all takes four times as long for twice as many. Here features of fewer dimensions
(principal components) are put into cells, and only those in the cells around a picture are compared
with it: Johnson, Douze and Jegou, Billion-scale similarity search with GPUs, 2019. The cosines of
what is found are those of the whole features; a neighbour may be missed, none is invented.
"""

from __future__ import annotations

import importlib.util

import numpy as np

from poets_tfr import progress

_DIMENSIONS = 128
_CELLS_PER_ROOT = 4  # cells: so many times the root of the pictures, as faiss advises
_CELLS_SEARCHED = 64
_LEARNED_FROM = 64  # pictures for each cell
_FOUND = 64  # of which the nearest are kept
_ROWS_AT_ONCE, _COMPARED_AT_ONCE = 4096, 256


def is_installed() -> bool:
    return importlib.util.find_spec('faiss') is not None


def nearest(features: np.ndarray, scale: np.ndarray, kept: int) -> tuple[np.ndarray, np.ndarray]:
    """(cosines float32 [n, kept], descending; places int32 [n, kept], -1: none).

    Args:
      features: float32 [n, width].
      scale: float32 [n], 1 / the length of each.
      kept: how many of each.
    """
    import faiss

    count, width = features.shape
    cells = max(1, min(round(_CELLS_PER_ROOT * count**0.5), count // _LEARNED_FROM))
    dimensions = min(_DIMENSIONS, width)
    index = faiss.index_factory(
        width, f'PCA{dimensions},IVF{cells},Flat', faiss.METRIC_INNER_PRODUCT
    )
    faiss.extract_index_ivf(index).nprobe = _CELLS_SEARCHED
    learned_from = np.random.default_rng(0).permutation(count)[: cells * _LEARNED_FROM]
    index.train(features[learned_from] * scale[learned_from, None])
    for first in range(0, count, _ROWS_AT_ONCE):
        rows = slice(first, first + _ROWS_AT_ONCE)
        index.add(features[rows] * scale[rows, None])
    cosines = np.full((count, kept), -1, np.float32)
    places = np.full((count, kept), -1, np.int32)
    with progress.bar(count, 'images', 'Looking for near duplicates') as bar:
        for first in range(0, count, _ROWS_AT_ONCE):
            rows = slice(first, min(first + _ROWS_AT_ONCE, count))
            _, found = index.search(features[rows] * scale[rows, None], _FOUND + 1)
            for start in range(rows.start, rows.stop, _COMPARED_AT_ONCE):
                these = slice(start, min(start + _COMPARED_AT_ONCE, rows.stop))
                chosen = found[start - first : these.stop - first]
                cosines[these], places[these] = _sorted(features, scale, these, chosen, kept)
            bar.update(rows.stop - rows.start)
    return cosines, places


def _sorted(
    features: np.ndarray, scale: np.ndarray, rows: slice, found: np.ndarray, kept: int
) -> tuple[np.ndarray, np.ndarray]:
    """Of the places that were found (int64 [rows, some]; -1: none) the nearest, without itself."""
    cosines = np.einsum('rw,rfw->rf', features[rows], features[found], optimize=True)
    cosines *= scale[rows, None] * scale[found]
    itself = found == np.arange(rows.start, rows.stop)[:, None]
    cosines[itself | (found < 0)] = -1
    order = np.argsort(-cosines, axis=1, kind='stable')[:, :kept]
    best = np.take_along_axis(cosines, order, axis=1)
    return best, np.where(best > -1, np.take_along_axis(found, order, axis=1), -1)
