"""Pictures that are unlike all others, or show next to nothing."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from poets_tfr.examination.thumbnails import Thumbnails

_DARK, _BRIGHT = 40, 215  # grey values that hardly any pixel is beyond
_LEAST_CONTRAST = 4  # deviation of the grey values
_TINY = 32  # pixels of the shorter side
_LONGEST = 4  # times as long as wide
_LEAST_SHARPNESS = 0.01
_SHARPER = 20  # times is the median picture than a blurred one: drawings are all smooth
_LEAST_LINES = 10  # photos have 8 at most; docs/examining.md
_MOST_SCREENS = 0.2  # of the pictures: where more are drawn, that is not odd
_FAR = 2.5  # deviations beyond the median of the class

REASONS = {
    'nearly black': 'grey value that hardly a pixel exceeds, 0 to 255',
    'nearly white': 'grey value that hardly a pixel falls below, 0 to 255',
    'blank': 'deviation of the grey values, 0 to 255',
    'tiny': 'pixels of the shorter side',
    'extremely long': 'longer side / shorter side',
    'very blurred': 'variance of the Laplacian / variance of the grey values',
    'screenshot or text': 'lines of text',
    'unlike all others': '1 - cosine of the features to the nearest other image',
}


class Odd(NamedTuple):
    """A picture, by its row, with one of REASONS and its value."""

    row: int
    reason: str
    value: float


def find(thumbnails: Thumbnails, labels: np.ndarray, nearest: np.ndarray) -> list[Odd]:
    """Reason by reason, class by class, the oddest first; of the first three a picture has one.

    Args:
      thumbnails: of all pictures.
      labels: int32 [n].
      nearest: float32 [n], the cosine of the features to the nearest other picture.
    """
    dark = thumbnails.brightness + 2 * thumbnails.contrast
    bright = thumbnails.brightness - 2 * thumbnails.contrast
    sides = np.stack([thumbnails.width, thumbnails.height])
    long = sides.max(axis=0) / sides.min(axis=0)
    is_dark, is_bright = dark < _DARK, bright > _BRIGHT
    is_blank = (thumbnails.contrast < _LEAST_CONTRAST) & ~is_dark & ~is_bright
    nothing = is_dark | is_bright | is_blank
    least_sharp = min(_LEAST_SHARPNESS, float(np.median(thumbnails.sharpness)) / _SHARPER)
    is_blurred = (thumbnails.sharpness < least_sharp) & ~nothing
    lines = thumbnails.text_lines
    is_screen = lines >= _LEAST_LINES
    is_screen &= is_screen.mean() <= _MOST_SCREENS
    distance = 1 - nearest
    # Each with what sorts it: the smallest first.
    found = {
        'nearly black': (is_dark, dark, dark),
        'nearly white': (is_bright, bright, -bright),
        'blank': (is_blank, thumbnails.contrast, thumbnails.contrast),
        'tiny': (sides.min(axis=0) < _TINY, sides.min(axis=0), sides.min(axis=0)),
        'extremely long': (long >= _LONGEST, long, -long),
        'very blurred': (is_blurred, thumbnails.sharpness, thumbnails.sharpness),
        'screenshot or text': (is_screen, lines, -lines),
        'unlike all others': (_far(distance, labels) & ~nothing, distance, -distance),
    }
    return [
        Odd(int(row), reason, float(value[row]))
        for reason in REASONS
        for chosen, value, order in [found[reason]]
        for row in sorted(np.flatnonzero(chosen), key=lambda row: (labels[row], order[row], row))
    ]


def _far(distance: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """bool [n]: far beyond the median distance of the class, by its median deviation."""
    is_far = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        rows = labels == label
        away = distance[rows] - np.median(distance[rows])
        deviation = 1.4826 * np.median(np.abs(away))  # of a normal distribution
        is_far[rows] = (away > _FAR * deviation) & (deviation > 0)
    return is_far
