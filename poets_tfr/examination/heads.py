"""Many regularised softmax heads over the same features, trained at once.

Folds, shares of the pictures and seeds are heads that differ in the weights of the pictures alone,
so that five folds cost one pass over the features for each step, as one head does.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from poets_tfr.training import lbfgs
from poets_tfr.training.head import Head, Scores
from poets_tfr.training.objective import Objective, ValueAndGradient
from poets_tfr.training.standardisation import Standardisation

WEIGHT_DECAY = 0.1  # of standardised features, as configs/best_head.flags has it
_MOST_STEPS = 60
_ALIGNMENT = 64  # bytes, which TensorFlow asks of what it has not allocated itself
_ROWS_AT_ONCE = 4096  # of logits: memory stays flat


def room_for(rows: int, width: int) -> np.ndarray:
    """float32 [rows, width], not filled, which TensorFlow can read where it is."""
    numbers = np.empty(rows * width + _ALIGNMENT, np.float32)
    first = -numbers.ctypes.data % _ALIGNMENT // numbers.itemsize
    return numbers[first : first + rows * width].reshape(rows, width)


def _read_in_place(features: np.ndarray) -> Any:
    """A tensor in the memory of the array: of 100,000 images, a copy would be 400 MB.

    A GPU has memory of its own, and would fetch them for each step.
    """
    import tensorflow as tf

    if features.ctypes.data % _ALIGNMENT or tf.config.list_physical_devices('GPU'):
        return tf.constant(features)
    return tf.experimental.dlpack.from_dlpack(features.__dlpack__())


def standardise(features: np.ndarray) -> np.ndarray:
    """float32 [n, width], every feature of mean 0 and deviation 1; in place, block by block."""
    standardisation = Standardisation.of(features)
    for first in range(0, len(features), _ROWS_AT_ONCE):
        rows = slice(first, first + _ROWS_AT_ONCE)
        features[rows] = standardisation.apply(features[rows])
    return features


def train(
    features: np.ndarray,
    labels: np.ndarray,
    classes: int,
    weights: np.ndarray,
    weight_decay: float = WEIGHT_DECAY,
) -> Head:
    """The heads that make mean cross entropy + decay / 2 * |weights|^2 small, side by side.

    Args:
      features: float32 [n, width], standardised.
      labels: int32 [n].
      classes: how many there are.
      weights: float32 [n, heads], of each picture for each head; 0: the head does not see it.

    Returns:
      weights float32 [width, heads * classes], those of a head side by side; biases
      [heads * classes].
    """
    import tensorflow as tf

    heads = weights.shape[1]
    shares = weights / np.maximum(weights.sum(axis=0), 1)
    objective = _objective(features, labels, classes, shares, weight_decay)
    head = Head(
        tf.zeros([features.shape[1], heads * classes]),
        tf.zeros([heads * classes]),
    )
    step = tf.function(lambda head, memory: lbfgs.step(head, memory, objective))
    memory = lbfgs.start(head)
    for _ in range(_MOST_STEPS):
        head, memory, _, converged = step(head, memory)
        if converged:
            break
    return head


def scores(head: Head, features: np.ndarray, classes: int, wanted: np.ndarray) -> np.ndarray:
    """float32 [n, k, classes]: for each picture the softmax of the k heads that are wanted.

    wanted: int [n, k], the numbers of heads.
    """
    import tensorflow as tf

    found = []
    for first in range(0, len(features), _ROWS_AT_ONCE):
        rows = slice(first, first + _ROWS_AT_ONCE)
        logits = tf.matmul(features[rows], head.weights) + head.biases
        logits = tf.reshape(logits, [len(logits), -1, classes])
        chosen = tf.gather(logits, wanted[rows], batch_dims=1)
        found.append(tf.nn.softmax(chosen).numpy())
    return np.concatenate(found)


def _objective(
    features: np.ndarray, labels: np.ndarray, classes: int, shares: np.ndarray, decay: float
) -> Objective:
    """Of all heads together; shares: float32 [n, heads], each head's add up to 1."""
    import tensorflow as tf

    blocks = [slice(at, at + _ROWS_AT_ONCE) for at in range(0, len(features), _ROWS_AT_ONCE)]
    parts = [
        (_read_in_place(features[b]), tf.constant(labels[b]), tf.constant(shares[b], tf.float32))
        for b in blocks
    ]

    def of_block(head: Head, part: tuple[Any, Any, Any]) -> tuple[Any, Any, Any]:
        seen, truth, share = part
        logits = tf.matmul(seen, head.weights) + head.biases
        logits = tf.nn.log_softmax(tf.reshape(logits, [-1, shares.shape[1], classes]))
        wanted = tf.one_hot(truth, classes)[:, None]
        loss = -tf.reduce_sum(share * tf.reduce_sum(wanted * logits, axis=2))
        slope = tf.reshape(
            share[:, :, None] * (tf.exp(logits) - wanted), [-1, head.biases.shape[0]]
        )
        return loss, tf.matmul(seen, slope, transpose_a=True), tf.reduce_sum(slope, axis=0)

    def objective(head: Head) -> ValueAndGradient:
        value = decay * tf.nn.l2_loss(head.weights)
        gradient = Head(decay * head.weights, tf.zeros_like(head.biases))
        for part in parts:
            # One block after another: else the logits of all are held at once.
            with tf.control_dependencies([value]):
                loss, of_weights, of_biases = of_block(head, part)
            value += loss
            gradient = Head(gradient.weights + of_weights, gradient.biases + of_biases)
        return ValueAndGradient(value, gradient, Scores(value, value))

    return objective
