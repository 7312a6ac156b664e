"""What training makes small: the mean cross entropy and, where asked for, more.

The scores that are reported stay plain, so that runs of different settings compare.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from poets_tfr.training import head as heads
from poets_tfr.training.head import Head, Scores
from poets_tfr.training.settings import HeadConfig


class ValueAndGradient(NamedTuple):
    """The objective at a head: its value, its gradient, and the plain scores of the batch."""

    value: Any
    gradient: Head
    scores: Scores


Objective = Callable[[Head], ValueAndGradient]


def of(
    config: HeadConfig, labels: np.ndarray, classes: int
) -> Callable[[tuple[Any, Any]], Objective]:
    """A function that turns a batch (features [n, feature_width], labels int32 [n]) into the
    objective of that batch.

    labels: int32 [n] of the training split, for --class_weights.
    """
    import tensorflow as tf

    weights = class_weights(labels, classes) if config.class_weights == 'auto' else None
    penalty = 0.0 if config.optimizer == 'adam' else config.weight_decay  # adam's is decoupled

    def value(head: Head, features: Any, truth: Any) -> tuple[Any, Scores]:
        logits = heads.logits(head, features)
        scores = heads.scores_of(logits, truth)
        loss = scores.cross_entropy
        if config.label_smoothing or weights is not None:
            losses = _losses(logits, truth, classes, config.label_smoothing)
            if weights is not None:
                losses *= tf.gather(tf.constant(weights), truth)
            loss = tf.reduce_mean(losses)
        if penalty:
            loss += penalty * tf.nn.l2_loss(head.weights)
        return loss, scores

    def objective_of(batch: tuple[Any, Any]) -> Objective:
        def objective(head: Head) -> ValueAndGradient:
            with tf.GradientTape() as tape:
                tape.watch(head)
                loss, scores = value(head, *batch)
            return ValueAndGradient(loss, Head(*tape.gradient(loss, head)), scores)

        return objective

    return objective_of


def class_weights(labels: np.ndarray, classes: int) -> np.ndarray:
    """float32 [classes]: n / (classes * count), so that classes weigh alike and pictures 1 in the
    mean (King and Zeng, Logistic Regression in Rare Events Data, 2001; scikit-learn's 'balanced').
    """
    counts = np.bincount(labels, minlength=classes)
    return (len(labels) / (classes * counts)).astype(np.float32)


def _losses(logits: Any, labels: Any, classes: int, smoothing: float) -> Any:
    """[n]: cross entropy with (1 - s) one-hot + s / classes (Szegedy et al. 2016, section 7)."""
    import tensorflow as tf

    hard = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
    if not smoothing:
        return hard
    uniform = tf.fill(tf.shape(logits), 1.0 / classes)
    soft = tf.nn.softmax_cross_entropy_with_logits(uniform, logits)
    return (1 - smoothing) * hard + smoothing * soft
