"""Standardised features, and a head that need not know of them."""

from __future__ import annotations

import numpy as np

from poets_tfr.training import head as heads
from poets_tfr.training.head import Head
from poets_tfr.training.standardisation import Standardisation

RNG = np.random.default_rng(0)
FEATURES = RNG.normal([5, -3, 0, 100, 7], [1, 10, 0.01, 3, 0], (9000, 5)).astype(np.float32)


def test_mean_0_deviation_1_and_a_constant_stays_finite() -> None:
    found = Standardisation.of(FEATURES).apply(FEATURES)
    np.testing.assert_allclose(found.mean(axis=0), 0, atol=1e-3)
    np.testing.assert_allclose(found.std(axis=0), [1, 1, 1, 1, 0], rtol=1e-3, atol=1e-3)


def test_a_folded_head_gives_the_same_logits_on_plain_features() -> None:
    import tensorflow as tf

    standardisation = Standardisation.of(FEATURES)
    weights, biases = RNG.normal(0, 1, (5, 3)), RNG.normal(0, 1, 3)
    head = Head(tf.constant(weights, tf.float32), tf.constant(biases, tf.float32))
    wanted = heads.logits(head, standardisation.apply(FEATURES)).numpy()
    folded = standardisation.fold(head)
    np.testing.assert_allclose(heads.logits(folded, FEATURES).numpy(), wanted, atol=2e-3)
    for found, original in zip(standardisation.unfold(folded), head, strict=True):
        np.testing.assert_allclose(found.numpy(), original.numpy(), rtol=1e-4, atol=1e-3)
