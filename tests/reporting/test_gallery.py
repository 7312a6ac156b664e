"""The contact sheet shows what the network gets, distorted where training pictures are."""

from __future__ import annotations

import numpy as np
from command_line import Ended, Places

from poets_tfr.pictures import preprocess
from poets_tfr.pictures.distort import Distortions
from poets_tfr.pictures.preprocess import Preprocessing
from poets_tfr.pictures.settings import DistortionConfig
from poets_tfr.records.reading import Records
from poets_tfr.reporting import gallery

MODEL = Preprocessing(128, 127.5, 127.5)


def sheet(places: Places, distortions: Distortions | None) -> list[np.ndarray]:
    records = Records.open(str(places.records))
    train = records['train']
    ((label, tiles),) = gallery.seen_by_network(records, MODEL, 1, 4, distortions)
    assert label == records.labels[0]
    shown = train.read_each(np.flatnonzero(train.labels == 0)[:4])
    undistorted = [preprocess.from_encoded(encoded, MODEL).numpy() for encoded in shown]
    return [*undistorted, *(tile.pixels for tile in tiles)]


def test_undistorted(trained: tuple[Places, Ended]) -> None:
    *truth, a, b, c, d = sheet(trained[0], None)
    for tile, wanted in zip((a, b, c, d), truth, strict=True):
        np.testing.assert_allclose(tile, wanted * 127.5 + 127.5, atol=0.51)


def test_distorted(trained: tuple[Places, Ended]) -> None:
    """Flipping and brightness can be undone, and then each is its picture."""
    strength = DistortionConfig(flip_left_right=True, random_brightness=50)
    *truth, a, b, c, d = sheet(trained[0], Distortions(strength, 0))
    factors = []
    for tile, wanted in zip((a, b, c, d), truth, strict=True):
        pixels = wanted * 127.5 + 127.5
        factors.append(tile.mean() / pixels.mean())
        bright = np.clip(pixels * factors[-1], 0, 255)
        closer = min(np.abs(tile - either).mean() for either in (bright, bright[:, ::-1]))
        assert closer < 3
    assert np.ptp(factors) > 0.1
    assert 0.5 < min(factors) < max(factors) < 1.5
