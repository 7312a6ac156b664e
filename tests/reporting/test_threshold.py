"""The threshold for a wished precision, on tables made by hand."""

from __future__ import annotations

import numpy as np
import pytest

from poets_tfr.reporting import threshold
from poets_tfr.reporting.threshold import Accepted
from poets_tfr.training.predictions import Predictions


def predictions(confidences: list[float], right: list[bool]) -> Predictions:
    """Of two classes: the first has the score, and is the truth or not."""
    scores = np.array([[each, 1 - each] for each in confidences], np.float32)
    labels = np.array([0 if each else 1 for each in right], np.int32)
    return Predictions(tuple(map(str, range(len(right)))), labels, scores)


# 38 right of 40 from 0.75 on; 39 of 50 from 0.625 on.
CONFIDENCES = [0.875] * 20 + [0.75] * 20 + [0.625] * 10
RIGHT = [True] * 20 + [True] * 18 + [False] * 2 + [True] + [False] * 9
MADE = predictions(CONFIDENCES, RIGHT)


@pytest.mark.parametrize(
    ('precision', 'wanted'),
    [
        (1.0, 0.8125),  # the 20 of 0.875, halfway to the next
        (0.96, 0.8125),
        (0.95, 0.6875),  # 38 of 40 is 0.95 just so; the last of equal scores counts
        (0.79, 0.6875),
        (0.78, 0.0),  # 39 of 50: all may be accepted
        (0.1, 0.0),
    ],
)
def test_by_hand(precision: float, wanted: float) -> None:
    assert threshold.lowest(MADE, precision) == wanted
    found = threshold.accepted(MADE, wanted)
    assert found.precision
    assert found.precision >= precision


def test_the_order_of_the_pictures_is_of_no_matter() -> None:
    order = np.random.default_rng(0).permutation(50)
    shuffled = predictions([CONFIDENCES[i] for i in order], [RIGHT[i] for i in order])
    assert threshold.lowest(shuffled, 0.95) == 0.6875


def test_what_is_accepted() -> None:
    found = threshold.accepted(MADE, 0.6875)
    assert found == Accepted(50, 40, 38)
    assert (found.precision, found.coverage) == (0.95, 0.8)
    nothing = threshold.accepted(MADE, 0.9)
    assert (nothing.precision, nothing.coverage) == (None, 0.0)


def test_too_few_or_too_bad() -> None:
    assert threshold.lowest(predictions(CONFIDENCES[:19], RIGHT[:19]), 0.5) is None
    wrong = predictions(CONFIDENCES, [not each for each in RIGHT])
    assert threshold.lowest(wrong, 0.5) is None
    assert threshold.best(wrong) == Accepted(50, 50, 11)
    assert threshold.best(MADE) == Accepted(50, 20, 20)
