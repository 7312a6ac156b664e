"""The distance to the nearest class: by hand, and in blocks."""

from __future__ import annotations

import numpy as np
import pytest

from poets_tfr.export import likeness
from poets_tfr.export.likeness import Likeness
from poets_tfr.extraction.extract import SplitFeatures


def split(features: list[list[float]], labels: list[int]) -> SplitFeatures:
    return SplitFeatures(
        np.array(features, np.float32), np.array(labels, np.int32), [str(i) for i in labels]
    )


# Means (0, 0) of class 0 and (10, 0) of class 2; class 1 has no pictures.
TRAIN = split([[-1, 0], [1, 0], [10, 2], [10, -2]], [0, 0, 2, 2])
# At distances of 1, 2, 3, 4 and 5.
VALIDATION = split([[0, 1], [10, 2], [0, 3], [14, 0], [13, 4]], [0, 2, 0, 2, 2])


@pytest.mark.parametrize('at_once', [4096, 2])
def test_by_hand(monkeypatch: pytest.MonkeyPatch, at_once: int) -> None:
    monkeypatch.setattr(likeness, '_ROWS_AT_ONCE', at_once)
    found = Likeness.of(TRAIN, VALIDATION, 0.25)
    assert found.farthest == pytest.approx(4)
    assert found.refused(VALIDATION) == 1
    features = np.array([[5, 0], [0, 4.1], [10, -4.1], [10, -3.9], [6.1, 0]], np.float32)
    assert found.is_unlike(features).tolist() == [True, True, True, False, False]
    assert Likeness.of(TRAIN, VALIDATION, 0.5).farthest == pytest.approx(3)
