"""The head against the same mathematics in numpy."""

from __future__ import annotations

import numpy as np
import pytest

from poets_tfr.training import head as heads
from poets_tfr.training.head import Head, Scores, better

RNG = np.random.default_rng(0)
FEATURES = RNG.normal(0, 1, (50, 7)).astype(np.float32)
LABELS = RNG.integers(0, 3, 50).astype(np.int32)
WEIGHTS = RNG.normal(0, 1, (7, 3)).astype(np.float32)
BIASES = RNG.normal(0, 1, 3).astype(np.float32)


def softmax(values: np.ndarray) -> np.ndarray:
    exponents = np.exp(values - values.max(axis=1, keepdims=True))
    return exponents / exponents.sum(axis=1, keepdims=True)


def the_head() -> Head:
    import tensorflow as tf

    return Head(tf.constant(WEIGHTS), tf.constant(BIASES))


def test_logits() -> None:
    found = heads.logits(the_head(), FEATURES).numpy()
    np.testing.assert_allclose(found, FEATURES @ WEIGHTS + BIASES, rtol=1e-5, atol=1e-5)


def test_accuracy_and_cross_entropy() -> None:
    scores = heads.evaluate(the_head(), FEATURES, LABELS)
    likely = softmax(FEATURES.astype(np.float64) @ WEIGHTS + BIASES)
    wanted = -np.log(likely[np.arange(50), LABELS]).mean()
    np.testing.assert_allclose(scores.cross_entropy.numpy(), wanted, rtol=1e-5)
    assert scores.accuracy.numpy() == np.float32((likely.argmax(axis=1) == LABELS).mean())


def test_the_start_is_the_originals() -> None:
    """Truncated normal of 0.001: nothing beyond two standard deviations; biases 0."""
    start = heads.init(2048, 5, seed=0)
    weights = start.weights.numpy()
    assert weights.shape == (2048, 5)
    assert abs(weights).max() <= 0.002
    np.testing.assert_allclose(weights.std(), 0.001 * 0.8796, rtol=0.03)  # that of a truncated one
    assert abs(weights.mean()) < 5e-5
    np.testing.assert_array_equal(start.biases.numpy(), np.zeros(5, np.float32))
    np.testing.assert_array_equal(heads.init(2048, 5, seed=0).weights.numpy(), weights)
    assert (heads.init(2048, 5, seed=1).weights.numpy() != weights).mean() > 0.9


FIRST = Scores(0.5, 0.7)


@pytest.mark.parametrize(
    ('other', 'wanted'),
    [
        (Scores(0.6, 0.9), True),
        (Scores(0.4, 0.1), False),
        (Scores(0.5, 0.6), True),
        (Scores(0.5, 0.7), False),
        (Scores(0.5, 0.8), False),
        (Scores(float('nan'), 0.1), False),
        (Scores(0.5, float('nan')), False),
    ],
)
def test_better_is_more_accurate_and_then_of_less_entropy(other: Scores, wanted: bool) -> None:
    """In numbers as in a compiled function."""
    import tensorflow as tf

    assert better(other, FIRST) is wanted
    compiled = tf.function(lambda *values: better(Scores(*values[:2]), Scores(*values[2:])))
    assert bool(compiled(*map(tf.constant, (*other, *FIRST)))) is wanted
