"""Screenshots and pages of text: plain grounds, and line below line of something on them."""

from __future__ import annotations

import numpy as np

_LEAST_FLAT = 0.4  # of the pixels are as their neighbours
_LEAST_PLAIN = 0.5  # of the pixels have one of two grey values
_STRIPS = 4
_BLANK = 10  # grey values beside that of the ground; JPEG is not exact


def text_lines(grey: np.ndarray) -> int:
    """In the second best of four upright strips; 0 where the ground is not plain and flat.

    A photo on a black ground has the ground, but no lines; a fence has lines, but no ground.

    Args:
      grey: uint8 [height, width].
    """
    if min(grey.shape) < 2 * _STRIPS or not (_plain(grey) >= _LEAST_PLAIN and _is_flat(grey)):
        return 0
    return sorted(map(_lines, np.array_split(grey, _STRIPS, axis=1)))[-2]


def _plain(grey: np.ndarray) -> float:
    """The share of the pixels that have one of the two commonest grey values, or one beside."""
    counts = np.bincount(grey.ravel(), minlength=256)
    first = np.convolve(counts, np.ones(3, int), 'same')
    place = int(first.argmax())
    rest = counts.copy()
    rest[max(0, place - 2) : place + 3] = 0
    second = np.convolve(rest, np.ones(3, int), 'same')
    return float(first.max() + second.max()) / grey.size


def _is_flat(grey: np.ndarray) -> bool:
    values = grey.astype(np.int16)
    across = np.abs(values[:-1, 1:] - values[:-1, :-1])
    down = np.abs(values[1:, :-1] - values[:-1, :-1])
    return float(((across <= 1) & (down <= 1)).mean()) >= _LEAST_FLAT


def _lines(strip: np.ndarray) -> int:
    """How often something ends and a row of nothing but the ground begins."""
    counts = np.bincount(strip.ravel(), minlength=256)
    ground = int(np.convolve(counts, np.ones(5, int), 'same').argmax())
    is_blank = (np.abs(strip.astype(np.int16) - ground) <= _BLANK).all(axis=1)
    return int((is_blank[1:] & ~is_blank[:-1]).sum())
