"""The head: one softmax layer over features. Pure functions, each traced into a compiled loop."""

from __future__ import annotations

from typing import Any, NamedTuple

_STDDEV = 0.001  # the original's truncated normal


class Head(NamedTuple):
    """weights: float32 [feature_width, classes]. biases: float32 [classes]."""

    weights: Any
    biases: Any


class Scores(NamedTuple):
    """accuracy: fraction of 1. cross_entropy: mean, in nats. Float32 scalars."""

    accuracy: Any
    cross_entropy: Any


def better(one: Any, other: Any) -> Any:
    """Whether `one` is the better of two: the more accurate; of equal ones, of less cross entropy.

    Of anything that has both, numbers or scalar tensors; NaN is never better.
    """
    less_entropy = one.cross_entropy < other.cross_entropy
    return (one.accuracy > other.accuracy) | ((one.accuracy == other.accuracy) & less_entropy)


def init(feature_width: int, classes: int, seed: int) -> Head:
    """The original's start: weights truncated normal of 0.001, biases 0."""
    import tensorflow as tf

    weights = tf.random.stateless_truncated_normal(
        [feature_width, classes], seed=[seed, 0], stddev=_STDDEV, alg='philox'
    )
    return Head(weights, tf.zeros([classes]))


def logits(head: Head, features: Any) -> Any:
    """[n, feature_width] -> [n, classes]."""
    import tensorflow as tf

    return tf.matmul(features, head.weights) + head.biases


def evaluate(head: Head, features: Any, labels: Any) -> Scores:
    """Scores of a batch; labels are int32 [n], 0-based."""
    return scores_of(logits(head, features), labels)


def scores_of(values: Any, labels: Any) -> Scores:
    """Scores of logits float32 [n, classes] whose labels are int32 [n]."""
    import tensorflow as tf

    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, values)
    right = tf.equal(tf.argmax(values, axis=1, output_type=labels.dtype), labels)
    return Scores(tf.reduce_mean(tf.cast(right, tf.float32)), tf.reduce_mean(losses))
