"""The distortions: their random numbers against the formula, their pixels against plain numpy."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pytest
from plain_resize import legacy_bilinear

from poets_tfr.pictures import distort, preprocess
from poets_tfr.pictures.distort import Distortion, Distortions
from poets_tfr.pictures.preprocess import Preprocessing
from poets_tfr.pictures.settings import DistortionConfig
from poets_tfr.records.reading import seeds_of

DRAWS = 20_000
# The distance between a distribution and DRAWS draws from it is larger once in 100,000 trials.
FARTHEST = 2.47 / DRAWS**0.5
PICTURE = 0x1234_5678_9ABC_DEF0


def drawn(
    size: int, seed: int = 3, picture: int = PICTURE, draws: int = DRAWS, **settings: Any
) -> Distortion:
    """The distortions of copies 0 to draws - 1, an array for each number."""
    import tensorflow as tf

    distortions = Distortions(DistortionConfig(**settings), seed)
    copies = tf.data.Dataset.range(draws)
    each = copies.map(lambda copy: distort.draw(distortions, size, picture, copy))
    return Distortion(*(value.numpy() for value in next(iter(each.batch(draws)))))


def farthest(values: np.ndarray, low: float, high: float) -> float:
    """The Kolmogorov-Smirnov distance of values from the uniform distribution."""
    wanted = (np.sort(values) - low) / (high - low)
    steps = np.arange(len(values) + 1) / len(values)
    return max(np.abs(wanted - steps[1:]).max(), np.abs(wanted - steps[:-1]).max())


@pytest.fixture(scope='module')
def everything() -> Distortion:
    return drawn(299, flip_left_right=True, random_crop=30, random_scale=50, random_brightness=40)


def test_the_scale_is_uniform_above_the_margin(everything: Distortion) -> None:
    """The picture is resized to int(1.3 * s * 299), s from U[1, 1.5]."""
    sides = np.arange(388, 584)
    assert everything.resized.min() == 388  # int(1.3 * 299)
    assert everything.resized.max() in (582, 583)  # int(1.3 * 1.5 * 299)
    chances = np.clip(((sides + 1) / (1.3 * 299) - 1) / 0.5, 0, 1)
    found = np.array([(everything.resized <= side).mean() for side in sides])
    assert np.abs(found - chances).max() < FARTHEST


def test_the_window_is_anywhere_and_as_often_everywhere(everything: Distortion) -> None:
    """Not in the middle, as the original's documentation had it."""
    room = everything.resized - 299
    for place in everything.top, everything.left:
        assert (place >= 0).all()
        assert (place <= room).all()
        assert (place == 0).any()
        assert (place == room).any()
        # As likely anywhere between its own start and the next place's.
        jitter = np.random.default_rng(0).uniform(size=DRAWS)
        assert farthest((place + jitter) / (room + 1), 0, 1) < FARTHEST


def test_every_place_of_a_crop_is_as_likely() -> None:
    places = drawn(100, random_crop=10)
    assert (places.resized == 110).all()
    wanted, sigma = DRAWS / 121, (DRAWS / 121) ** 0.5
    counts = np.bincount(places.top * 11 + places.left, minlength=121)
    assert places.left.max() == 10
    assert len(counts) == 121
    assert np.abs(counts - wanted).max() < 5 * sigma


def test_brightness_is_uniform_around_one(everything: Distortion) -> None:
    assert farthest(everything.brightness, 0.6, 1.4) < FARTHEST
    assert everything.brightness.dtype == np.float32


def test_half_of_the_pictures_are_flipped_if_asked(everything: Distortion) -> None:
    assert abs(everything.flipped.mean() - 0.5) < 5 * 0.5 / DRAWS**0.5


def test_the_numbers_have_nothing_to_do_with_each_other(everything: Distortion) -> None:
    room = everything.resized - 299
    numbers = np.stack(
        [
            everything.resized,
            everything.top / room,
            everything.left / room,
            everything.flipped,
            everything.brightness,
        ]
    )
    correlations = np.corrcoef(numbers) - np.eye(5)
    assert np.abs(correlations).max() < 4.5 / DRAWS**0.5


def test_what_is_not_asked_for_is_not_done() -> None:
    for settings in {'random_brightness': 20}, {'flip_left_right': True}:
        some = drawn(128, draws=500, **settings)
        assert (some.resized == 128).all()
        assert not some.top.any()
        assert not some.left.any()
    assert (some.brightness == 1).all()
    cropped = drawn(128, draws=500, random_crop=20, random_scale=20, random_brightness=20)
    assert not cropped.flipped.any()


def test_seed_picture_and_copy_each_change_the_numbers() -> None:
    one = drawn(299, random_crop=100)
    again = drawn(299, random_crop=100)
    np.testing.assert_array_equal(one, again)
    for other in drawn(299, seed=4, random_crop=100), drawn(299, picture=7, random_crop=100):
        both = np.corrcoef(one.top, other.top)[0, 1]
        assert abs(both) < 4.5 / DRAWS**0.5
    neighbours = np.corrcoef(one.top[1:], one.top[:-1])[0, 1]
    assert abs(neighbours) < 4.5 / DRAWS**0.5


def by_hand(pixels: np.ndarray, done: Distortion, model: Preprocessing) -> np.ndarray:
    """The original's steps in numpy, float64."""
    rows = slice(done.top, done.top + model.size)
    columns = slice(done.left, done.left + model.size)
    window = legacy_bilinear(pixels.astype(np.float64), done.resized)[rows, columns]
    if done.flipped:
        window = window[:, ::-1]
    return (window * done.brightness - model.mean) / model.std


@pytest.mark.parametrize(
    'done',
    [
        Distortion(48, 0, 0, False, 1.0),
        Distortion(48, 0, 0, True, 1.0),
        Distortion(72, 24, 0, False, 1.0),  # a corner
        Distortion(72, 0, 24, True, 1.0),
        Distortion(55, 3, 6, True, 0.55),
        Distortion(90, 11, 40, False, 2.0),  # far above 255: not clipped
    ],
    ids=str,
)
@pytest.mark.parametrize('shape', [(48, 48), (37, 50), (240, 320)], ids=str)
def test_pixels(shape: tuple[int, int], done: Distortion) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (*shape, 3), dtype=np.uint8)
    for model in Preprocessing(48, 127.5, 127.5), Preprocessing(48, 0, 255):
        found = distort.apply(done, pixels, model).numpy()
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, by_hand(pixels, done, model), atol=2e-4)


def test_no_distortion_gives_the_undistorted_picture_to_the_bit() -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (60, 41, 3), dtype=np.uint8)
    model = Preprocessing(32, 127.5, 127.5)
    nothing = Distortion(32, 0, 0, False, 1.0)
    found = distort.apply(nothing, pixels, model).numpy()
    undistorted = preprocess.resize_and_normalise(pixels[None], model).numpy()[0]
    np.testing.assert_array_equal(found, undistorted)


def digests_of(count: int) -> np.ndarray:
    return np.array([hashlib.sha256(b'%d' % n).digest() for n in range(count)], 'S32')


def test_every_copy_of_every_picture_has_its_own_name() -> None:
    digests = digests_of(300)
    # Numpy drops zero bytes at the end of such an item: they must count all the same.
    digests[7], digests[8] = b'a' * 31, b'a' * 30
    names = distort.copy_digests(digests, 5)
    assert len(set(names.tolist())) == 1500
    fewer = distort.copy_digests(digests, 2)
    np.testing.assert_array_equal(names.reshape(300, 5)[:, :2].ravel(), fewer)
    assert len(set(seeds_of(digests).tolist())) > 297


def test_the_cache_key_changes_with_all_that_changes_pixels() -> None:
    settings: dict[str, Any] = {
        'flip_left_right': True,
        'random_crop': 5,
        'random_scale': 6,
        'random_brightness': 7,
    }
    base = DistortionConfig(**settings)
    keys = {Distortions(base, 0).cache_key, Distortions(base, 1).cache_key}
    for name, value in settings.items():
        other = {**settings, name: False if value is True else value + 1}
        keys.add(Distortions(DistortionConfig(**other), 0).cache_key)
    assert len(keys) == 6
    more = DistortionConfig(**settings, augment_copies=20)
    assert Distortions(more, 0).cache_key == Distortions(base, 0).cache_key
