"""Features -> a trained head: hundreds of steps per compiled call, nothing but numbers comes out.

The loop yields what it measured; the caller prints it, writes it and stores it.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from poets_tfr.config import HeadConfig, InputError
from poets_tfr.feature_cache import StoredFeatures
from poets_tfr.features import SplitFeatures
from poets_tfr.training import head as heads
from poets_tfr.training.head import Head
from poets_tfr.training.sampling import TRAIN_STREAM, VALIDATION_STREAM, Sampler

_MOST_STEPS_PER_CALL = 500
_FIRST_CALL_STEPS = 16
_SHORT_CALL_SECONDS, _LONG_CALL_SECONDS = 0.25, 1.0


class Evaluation(NamedTuple):
    """At an evaluation step, after its update. Accuracies are fractions of 1; entropies in nats.

    validation_*: None where there is no validation split.
    """

    step: int
    train_accuracy: float
    cross_entropy: float
    validation_accuracy: float | None
    validation_cross_entropy: float | None
    validation_draws: int


@dataclasses.dataclass(frozen=True)
class Measurements:
    """What some consecutive steps gave.

    first_step: 0-based. accuracies, cross_entropies: float32 [steps], of each step's batch before
    its update. head: after the last of them.
    """

    first_step: int
    accuracies: np.ndarray
    cross_entropies: np.ndarray
    evaluations: list[Evaluation]
    head: Head

    @property
    def last_step(self) -> int:
        return self.first_step + len(self.accuracies) - 1


def train(
    splits: dict[str, SplitFeatures],
    classes: int,
    config: HeadConfig,
    pause_every: int = 0,
) -> Iterator[Measurements]:
    """Trains the head; the last item holds the trained one. Step and seed alone decide the bits.

    Args:
      splits: 'train' and, unless it is empty, 'validation'.
      classes: how many.
      config: of the head.
      pause_every: every measurement ends at the latest at a step that is a multiple of this, so
        that the head of just that step can be stored; 0: wherever the loop likes.

    Raises:
      InputError: the cross entropy is no longer a number.
    """
    run = _compile_steps(splits, classes, config)
    head = heads.init(splits['train'].features.shape[1], classes, config.seed)
    first, most = 0, _FIRST_CALL_STEPS
    while first < config.how_many_training_steps:
        end = min(first + most, config.how_many_training_steps)
        if pause_every:
            end = min(end, -(-first // pause_every) * pause_every + 1)
        start = time.perf_counter()
        head, rows = run(head, first, end - first)
        seconds = time.perf_counter() - start
        if seconds < _SHORT_CALL_SECONDS:
            most = min(2 * most, _MOST_STEPS_PER_CALL)
        elif seconds > _LONG_CALL_SECONDS:
            most = max(most // 2, 1)
        yield _measured(first, rows.numpy()[: end - first], head, splits, config)
        first = end


_Row = Any  # float32 [6]: scores before the step, after it, and of validation


def _compile_steps(
    splits: dict[str, SplitFeatures], classes: int, config: HeadConfig
) -> Callable[[Head, int, int], tuple[Head, Any]]:
    """run(head, first step, steps) -> (head, float32 [_MOST_STEPS_PER_CALL, 6])."""
    import tensorflow as tf

    take_train = _taker(splits['train'], classes, config.train_batch_size, TRAIN_STREAM, config)
    validation = splits.get('validation')
    take_validation = validation and _taker(
        validation, classes, config.validation_batch_size, VALIDATION_STREAM, config
    )
    last = config.how_many_training_steps - 1

    def one_step(step: Any, head: Head) -> tuple[Head, _Row]:
        batch = take_train(step)
        head, before = heads.step(head, *batch, config.learning_rate)

        def evaluate() -> Any:
            after = heads.evaluate(head, *batch)
            unseen = heads.evaluate(head, *take_validation(step)) if take_validation else after
            return tf.stack([*before, *after, *unseen])

        def skip() -> Any:
            return tf.stack([*before, 0.0, 0.0, 0.0, 0.0])

        due = tf.logical_or(step % config.eval_step_interval == 0, step == last)
        return head, tf.cond(due, evaluate, skip)

    def run(weights: Any, biases: Any, first: Any, steps: Any) -> tuple[Any, Any, Any]:
        rows = tf.TensorArray(tf.float32, _MOST_STEPS_PER_CALL, element_shape=[6])

        def body(i: Any, weights: Any, biases: Any, rows: Any) -> tuple[Any, Any, Any, Any]:
            head, row = one_step(first + i, Head(weights, biases))
            return i + 1, *head, rows.write(i, row)

        _, weights, biases, rows = tf.while_loop(
            lambda i, *_: i < steps, body, (0, weights, biases, rows), parallel_iterations=1
        )
        return weights, biases, rows.stack()

    compiled = tf.function(run, autograph=False)

    def call(head: Head, first: int, steps: int) -> tuple[Head, Any]:
        weights, biases, rows = compiled(*head, tf.constant(first), tf.constant(steps))
        return Head(weights, biases), rows

    return call


def _taker(
    split: SplitFeatures, classes: int, batch_size: int, stream: int, config: HeadConfig
) -> Callable[[Any], tuple[Any, Any]]:
    """A function of the step that gives its batch; the features stay on the device."""
    import tensorflow as tf

    labels = tf.constant(split.labels)
    sampler = Sampler.of(split.labels, classes, batch_size, config.sampling, config.seed, stream)
    if isinstance(split.features, StoredFeatures):
        return _reader(split.features, labels, sampler)
    features = tf.constant(split.features)
    if batch_size < 0:
        return lambda step: (features, labels)

    def take(step: Any) -> tuple[Any, Any]:
        rows = sampler.draw(step)
        return tf.gather(features, rows), tf.gather(labels, rows)

    return take


def _reader(
    features: StoredFeatures, labels: Any, sampler: Sampler
) -> Callable[[Any], tuple[Any, Any]]:
    """As `_taker`, for features that stay on disk: the rows of each step are read when it comes."""
    import tensorflow as tf

    def take(step: Any) -> tuple[Any, Any]:
        rows = sampler.draw(step)
        values = tf.numpy_function(features.__getitem__, [rows], tf.float32)
        values = tf.ensure_shape(values, [sampler.draws, features.shape[1]])
        return values, tf.gather(labels, rows)

    return take


def _measured(
    first: int,
    rows: np.ndarray,
    head: Head,
    splits: dict[str, SplitFeatures],
    config: HeadConfig,
) -> Measurements:
    last = config.how_many_training_steps - 1
    has_validation = 'validation' in splits
    draws = len(splits['validation']) if has_validation else 0
    if has_validation and config.validation_batch_size > 0:
        draws = config.validation_batch_size
    evaluations = []
    for step, row in enumerate(rows, first):
        evaluated = step % config.eval_step_interval == 0 or step == last
        if not np.isfinite(row).all():
            raise InputError(
                f'Step {step}: the cross entropy is not a finite number. The steps are too long: '
                f'lower --learning_rate (it is {config.learning_rate}).'
            )
        if evaluated:
            _, _, accuracy, cross_entropy, unseen_accuracy, unseen_entropy = row.tolist()
            if not has_validation:
                unseen_accuracy = unseen_entropy = None
            evaluations.append(
                Evaluation(step, accuracy, cross_entropy, unseen_accuracy, unseen_entropy, draws)
            )
    return Measurements(first, rows[:, 0], rows[:, 1], evaluations, head)
