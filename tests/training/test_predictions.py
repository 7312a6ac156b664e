"""The final figures: exact, over every picture once."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from poets_tfr.extraction.extract import SplitFeatures
from poets_tfr.training.head import Head
from poets_tfr.training.predictions import Predictions, predict
from poets_tfr.training.settings import HeadConfig

PICTURES = 9001  # more than twice what is scored at once, and no multiple of anything
WEIGHTS = np.array([[1, 0, -1], [0, 1, -1]], np.float32)
HEAD = Head(tf.constant(WEIGHTS), tf.constant([0.1, 0.0, -0.1]))
LOGITS_BIAS = HEAD.biases.numpy()


@pytest.fixture(scope='module')
def split() -> SplitFeatures:
    rng = np.random.default_rng(1)
    features = rng.normal(0, 1, (PICTURES, 2)).astype(np.float32)
    labels = rng.integers(0, 3, PICTURES).astype(np.int32)
    return SplitFeatures(features, labels, tuple(map(str, range(PICTURES))))


def softmax(logits: np.ndarray) -> np.ndarray:
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def test_every_picture_once_in_its_order(split: SplitFeatures) -> None:
    tested = predict(HEAD, split)
    wanted = softmax(split.features @ WEIGHTS + LOGITS_BIAS)
    assert tested.paths == split.paths
    np.testing.assert_array_equal(tested.labels, split.labels)
    np.testing.assert_allclose(tested.scores, wanted, atol=1e-6)
    np.testing.assert_array_equal(tested.predicted, wanted.argmax(axis=1))
    assert tested.accuracy == (wanted.argmax(axis=1) == split.labels).mean()


def test_draws_carry_their_own_label_and_path(split: SplitFeatures) -> None:
    tested = predict(HEAD, split, 500, HeadConfig(seed=3))
    rows = np.array(tested.paths, int)
    assert len(tested) == 500
    assert len(set(rows.tolist())) > 400
    np.testing.assert_array_equal(tested.labels, split.labels[rows])
    wanted = softmax(split.features[rows] @ WEIGHTS + LOGITS_BIAS)
    np.testing.assert_allclose(tested.scores, wanted, atol=1e-6)
    again = predict(HEAD, split, 500, HeadConfig(seed=3))
    assert again.paths == tested.paths
    assert predict(HEAD, split, 500, HeadConfig(seed=4)).paths != tested.paths


def test_of_equal_scores_the_first_counts() -> None:
    scores = np.array([[0.5, 0.5], [0.25, 0.75]], np.float32)
    tested = Predictions(('a', 'b'), np.array([1, 1], np.int32), scores)
    assert tested.predicted.tolist() == [0, 1]
    assert tested.accuracy == 0.5


def test_cross_entropy() -> None:
    scores = np.array([[0.5, 0.5], [1.0, 0.0]], np.float32)
    tested = Predictions(('a', 'b'), np.array([1, 1], np.int32), scores)
    smallest = np.finfo(np.float32).tiny  # in place of a score of 0, whose logarithm is infinite
    assert tested.cross_entropy == pytest.approx(-(np.log(0.5) + np.log(smallest)) / 2)
    assert np.isnan(Predictions((), np.array([], np.int32), scores[:0]).cross_entropy)
