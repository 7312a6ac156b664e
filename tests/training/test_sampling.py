"""Which rows a step draws: the original's distribution, and the same rows for the same seed."""

from __future__ import annotations

import numpy as np
import pytest

from poets_tfr.training.sampling import (
    TEST_STREAM,
    TRAIN_STREAM,
    VALIDATION_STREAM,
    Sampler,
)
from poets_tfr.training.settings import Sampling

# Row -> class, mixed as records are; the classes have 1, 4, 15 and 80 rows.
LABELS = np.random.default_rng(0).permutation(np.repeat([0, 1, 2, 3], [1, 4, 15, 80])).astype('i4')
STEPS, BATCH = 200, 100


def sampler(
    sampling: Sampling = 'class_uniform', batch_size: int = BATCH, seed: int = 0,
    stream: int = TRAIN_STREAM,
) -> Sampler:  # fmt: skip
    return Sampler.of(LABELS, 4, batch_size, sampling, seed, stream)


def draws(chosen: Sampler) -> np.ndarray:
    return np.concatenate([chosen.draw(step).numpy() for step in range(STEPS)])


def chi_square(counts: np.ndarray, shares: np.ndarray) -> float:
    """About the number of categories when `counts` were drawn with `shares`."""
    wanted = shares * counts.sum()
    return float((np.square(counts - wanted) / wanted).sum())


def test_class_uniform_draws_each_class_as_often_and_each_of_its_rows() -> None:
    rows = draws(sampler())
    by_class = np.bincount(LABELS[rows], minlength=4)
    assert chi_square(by_class, np.full(4, 1 / 4)) < 16.3  # p = 0.001 with 3 degrees of freedom
    by_row = np.bincount(rows, minlength=100)
    shares = 1 / 4 / np.bincount(LABELS)[LABELS]
    assert chi_square(by_row, shares) < 149  # p = 0.001 with 99


def test_natural_draws_each_row_as_often() -> None:
    by_row = np.bincount(draws(sampler('natural')), minlength=100)
    assert chi_square(by_row, np.full(100, 1 / 100)) < 149


def test_the_draws_of_a_batch_do_not_depend_on_each_other() -> None:
    """With replacement: the only row of class 0 comes more than once in a batch."""
    rows = sampler().draw(3).numpy()
    assert (LABELS[rows] == 0).sum() > 1
    assert len(np.unique(rows)) < BATCH
    pairs = draws(sampler('natural')).reshape(-1, 2) // 25
    table = np.bincount(pairs[:, 0] * 4 + pairs[:, 1], minlength=16)
    assert chi_square(table, np.full(16, 1 / 16)) < 37.7  # p = 0.001 with 15


@pytest.mark.parametrize('sampling', ['class_uniform', 'natural'])
def test_minus_one_is_every_row_in_order(sampling: Sampling) -> None:
    chosen = sampler(sampling, batch_size=-1)
    assert chosen.draws == 100
    for step in 0, 7:
        np.testing.assert_array_equal(chosen.draw(step).numpy(), np.arange(100))
    assert sampler(batch_size=7).draws == 7


def test_seed_step_and_stream_decide() -> None:
    import tensorflow as tf

    first = sampler().draw(5).numpy()
    np.testing.assert_array_equal(sampler().draw(5).numpy(), first)
    np.testing.assert_array_equal(sampler().draw(tf.constant(5)).numpy(), first)
    compiled = tf.function(sampler().draw)
    np.testing.assert_array_equal(compiled(tf.constant(5)).numpy(), first)
    others = [
        sampler().draw(4),
        sampler().draw(6),
        sampler(seed=1).draw(5),
        sampler(stream=VALIDATION_STREAM).draw(5),
        sampler(stream=TEST_STREAM).draw(5),
    ]
    for other in others:
        assert (other.numpy() != first).mean() > 0.5


def test_no_two_steps_of_any_stream_share_their_numbers() -> None:
    seen = set()
    for stream in TRAIN_STREAM, VALIDATION_STREAM, TEST_STREAM:
        for step in range(50):
            seen.add(sampler(stream=stream).draw(step).numpy().tobytes())
    assert len(seen) == 150


def test_large_step_numbers() -> None:
    rows = sampler().draw(700_000_000).numpy()
    assert ((rows >= 0) & (rows < 100)).all()


def test_the_draws_are_philox_s() -> None:
    """TensorFlow is not told so: whatever it takes by default, a seed must mean the same draws."""
    import tensorflow as tf

    chosen = sampler('natural', seed=7, stream=VALIDATION_STREAM)
    for step in 0, 1, 3999, 2**29:
        numbers = tf.random.stateless_uniform(
            [2, BATCH], seed=[7, step * 3 + 1], maxval=2**31 - 1, dtype=tf.int32, alg='philox'
        )
        np.testing.assert_array_equal(chosen.draw(step), numbers[0].numpy() % 100)
