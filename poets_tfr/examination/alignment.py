"""How alike two grey pictures are once one is laid over the other: shifted and scaled a little.

Lucas and Kanade 1981, with a shift and a scale along each axis: a copy of which the edges are cut
off lies where it was cut from.
"""

from __future__ import annotations

import numpy as np

from poets_tfr.parallel import cores, left_on_interrupt, ordered

_LEVELS = (16, 6), (32, 6)  # pixels a side, and steps
_LEAST_SCALE, _MOST_SCALE = 0.8, 1.25  # beyond, two pictures that share a part are no copies
_PAIRS_AT_ONCE, _UNALIGNED_AT_ONCE = 512, 1 << 13
_NEARLY = 0.08
_LEAST_DETAILS = 0.85  # copies have 0.94 and more, fields below a sky half of it


def similarity(grey: np.ndarray, pairs: np.ndarray, enough: float) -> np.ndarray:
    """float32 [pairs]: the correlation of the grey values where the two overlap; at most 1.

    That of their details, where the whole is alike and they are not.

    Args:
      grey: uint8 [n, 64, 64].
      pairs: int [pairs, 2], rows of `grey`.
      enough: where the first is laid over the second and is as alike as this, or not nearly so, the
        second is not laid over the first, too.
    """
    found = _similarity(grey, pairs)
    unsure = (found < enough) & (found > enough - _NEARLY)
    found[unsure] = np.maximum(found[unsure], _similarity(grey, pairs[unsure, ::-1]))
    return found


def _similarity(grey: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    blocks = (pairs[at : at + _PAIRS_AT_ONCE] for at in range(0, len(pairs), _PAIRS_AT_ONCE))

    def align(block: np.ndarray) -> np.ndarray:
        return _aligned(grey[block[:, 0]], grey[block[:, 1]])

    with left_on_interrupt(cores()) as pool:
        found = list(ordered(pool, align, blocks, 2 * cores()))
    return np.concatenate([np.empty(0, np.float32), *found])


def unaligned(grey: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """float32 [pairs]: the same as they are, at 16 pixels a side, which a small shift spares."""
    small = _shrunk(grey, 16).reshape(len(grey), -1)
    small -= small.mean(axis=1, keepdims=True)
    small /= np.maximum(np.linalg.norm(small, axis=1, keepdims=True), 1e-3)
    found = np.empty(len(pairs), np.float32)
    for first in range(0, len(pairs), _UNALIGNED_AT_ONCE):  # 2 KB a pair
        one, other = pairs[first : first + _UNALIGNED_AT_ONCE].T
        np.einsum('pi,pi->p', small[one], small[other], out=found[first : first + len(one)])
    return found


def _shrunk(grey: np.ndarray, side: int) -> np.ndarray:
    """float32 [n, side, side]: means of squares of pixels."""
    factor = grey.shape[1] // side
    blocks = grey.reshape(len(grey), side, factor, side, factor)
    return blocks.mean(axis=(2, 4), dtype=np.float32)


def _smooth(grey: np.ndarray) -> np.ndarray:
    """Blurred by a pixel: else what lies between two pixels differs from either."""
    wide = np.pad(grey, ((0, 0), (1, 1), (1, 1)), mode='edge')
    wide = wide[:, :-2] + 2 * wide[:, 1:-1] + wide[:, 2:]
    return (wide[:, :, :-2] + 2 * wide[:, :, 1:-1] + wide[:, :, 2:]) / 16


def _aligned(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    # Scale and shift, of rows and of columns.
    place = np.tile(np.array([1, 0, 1, 0], np.float32), (len(one), 1))
    best, best_place = np.full(len(one), -1, np.float32), place.copy()
    for side, steps in _LEVELS:
        still, moving = _smooth(_shrunk(one, side)), _smooth(_shrunk(other, side))
        for step in range(steps + 1):
            alike, change = _step(still, moving, place)
            if side == _LEVELS[-1][0]:
                better = alike > best
                best[better], best_place[better] = alike[better], place[better]
            if step < steps:
                place = place + change
                place[:, ::2] = place[:, ::2].clip(_LEAST_SCALE, _MOST_SCALE)
                place[:, 1::2] = place[:, 1::2].clip(-0.3, 0.3)
    details = _of_details(still, moving, best_place)
    return np.where(details < _LEAST_DETAILS, np.minimum(best, details), best)


def _of_details(still: np.ndarray, moving: np.ndarray, place: np.ndarray) -> np.ndarray:
    """float32 [pairs]: the correlation of what is left without the mean of 5 x 5 pixels.

    Any two fields below a sky are alike as a whole.
    """
    at = _middles(still.shape[1])
    seen, _, _, inside = _sampled(
        moving, place[:, :1] * at + place[:, 1:2], place[:, 2:3] * at + place[:, 3:]
    )
    inside = np.pad(inside[:, 1:-1, 1:-1], ((0, 0), (1, 1), (1, 1)))
    one, other = (_centred(_without_mean(each), inside) for each in (still, seen))
    norm = np.sqrt((one**2).sum(axis=(1, 2)) * (other**2).sum(axis=(1, 2)))
    return (one * other).sum(axis=(1, 2)) / np.maximum(norm, 1e-3)


def _without_mean(grey: np.ndarray, reach: int = 2) -> np.ndarray:
    """Each pixel less the mean of the square around it that reaches so far."""
    ends, across = ((0, 0), (reach + 1, reach), (reach + 1, reach)), 2 * reach + 1
    sums = np.pad(grey, ends, mode='edge').cumsum(axis=1).cumsum(axis=2)
    sums = sums[:, across:] - sums[:, :-across]
    return grey - (sums[:, :, across:] - sums[:, :, :-across]) / across**2


def _middles(side: int) -> np.ndarray:
    """float32 [side]: of the pixels, from -1 to 1."""
    return np.linspace(-1 + 1 / side, 1 - 1 / side, side, dtype=np.float32)


def _centred(values: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Less their mean where they are inside; 0 elsewhere."""
    count = inside.sum(axis=(1, 2), keepdims=True) + 1e-6
    return (values - (values * inside).sum(axis=(1, 2), keepdims=True) / count) * inside


def _step(
    still: np.ndarray, moving: np.ndarray, place: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The correlation at these places, and how to move them: float32 [pairs], [pairs, 4]."""
    at = _middles(still.shape[1])
    rows = place[:, :1] * at + place[:, 1:2]
    columns = place[:, 2:3] * at + place[:, 3:]
    seen, down, right, inside = _sampled(moving, rows, columns)
    wanted, seen = _centred(still, inside), _centred(seen, inside)
    norm = np.sqrt((wanted**2).sum(axis=(1, 2)) * (seen**2).sum(axis=(1, 2)))
    product = (wanted * seen).sum(axis=(1, 2))
    gain = product / np.maximum((seen**2).sum(axis=(1, 2)), 1e-3)
    slopes = [down * at[:, None], down, right * at, right]
    slopes = np.stack([_centred(each, inside) for each in slopes], axis=1)
    slopes = slopes.reshape(len(still), 4, -1) * gain[:, None, None]
    residual = (wanted - gain[:, None, None] * seen).reshape(len(still), -1, 1)
    normal = slopes @ slopes.transpose(0, 2, 1)
    normal += (
        np.eye(4, dtype=np.float32)
        * (1e-3 * np.trace(normal, axis1=1, axis2=2) + 1e-3)[:, None, None]
    )
    return product / np.maximum(norm, 1e-3), np.linalg.solve(normal, slopes @ residual)[..., 0]


def _sampled(
    pictures: np.ndarray, rows: np.ndarray, columns: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Bilinear values, their slopes along both axes, and whether each place is inside.

    rows, columns: float32 [n, side], from -1 to 1.
    """
    side = pictures.shape[1]
    (top, down, in_rows), (left, right, in_columns) = (
        _weights(places, side) for places in (rows, columns)
    )
    half = side / 2
    part = top @ pictures
    values = part @ left.transpose(0, 2, 1)
    of_rows = half * (down @ pictures) @ left.transpose(0, 2, 1)
    of_columns = half * part @ right.transpose(0, 2, 1)
    inside = (in_rows[:, :, None] & in_columns[:, None, :]).astype(np.float32)
    return values, of_rows, of_columns, inside


def _weights(places: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """[n, side, side] that interpolate, the same that differentiate, and what lies inside."""
    pixels = (places + 1) * (side / 2) - 0.5
    inside = (pixels >= -0.5) & (pixels <= side - 0.5)
    pixels = pixels.clip(0, side - 1 - 1e-3)
    first = np.floor(pixels)
    share = (pixels - first)[..., None]
    here = first[..., None] == np.arange(side)
    there = first[..., None] + 1 == np.arange(side)
    values = here * (1 - share) + there * share
    return values.astype(np.float32), there.astype(np.float32) - here, inside
