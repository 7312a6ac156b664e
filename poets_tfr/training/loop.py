"""Features -> a trained head: hundreds of steps per compiled call, nothing but numbers comes out.

The loop yields what it measured; the caller prints it, writes it and stores it.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Collection, Iterator
from typing import Any, NamedTuple

import numpy as np

from poets_tfr.errors import InputError
from poets_tfr.extraction.cache import StoredFeatures
from poets_tfr.extraction.extract import SplitFeatures
from poets_tfr.extraction.live import LiveFeatures
from poets_tfr.training import early_stopping, objective, optimizers
from poets_tfr.training import head as heads
from poets_tfr.training.early_stopping import Best
from poets_tfr.training.head import Head
from poets_tfr.training.sampling import TRAIN_STREAM, VALIDATION_STREAM, Sampler
from poets_tfr.training.settings import HeadConfig
from poets_tfr.training.standardisation import Standardisation

_MOST_STEPS_PER_CALL = 500
_FIRST_CALL_STEPS = 16
_SHORT_CALL_SECONDS, _LONG_CALL_SECONDS = 0.25, 1.0
_ROW, _EVALUATED = 7, 6  # numbers a step leaves; the place of the one that says it was evaluated


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


class State(NamedTuple):
    """All that the next step depends on, as tensors: what a checkpoint holds.

    step: int32, the next one. head: as it is trained, before anything is folded into it. slots: the
    optimizer's. best: () without early stopping. stopped: bool; no further step would help.
    """

    step: Any
    head: Head
    slots: Any
    best: Best | tuple[()]
    stopped: Any


@dataclasses.dataclass(frozen=True)
class Measurements:
    """What some consecutive steps gave.

    first_step: 0-based. accuracies, cross_entropies: float32 [steps], of each step's batch before
    its update. head: after the last of them. state: from which the next step goes on (fine-
    tuning keeps its own: None). seconds: how long they took; waited: how many of these went by
    until features were read from disk.
    """

    first_step: int
    accuracies: np.ndarray
    cross_entropies: np.ndarray
    evaluations: list[Evaluation]
    head: Head
    state: Any
    seconds: float = 0.0
    waited: float = 0.0

    @property
    def last_step(self) -> int:
        return self.first_step + len(self.accuracies) - 1


class Training:
    """The training of one head. Step and seed alone decide the bits: neither the clock nor a stop.

    Args:
      splits: 'train' and, unless it is empty, 'validation'.
      classes: how many.
      config: of the head.
    """

    def __init__(self, splits: dict[str, SplitFeatures], classes: int, config: HeadConfig):
        self._splits, self._classes, self._config = splits, classes, config
        features = splits['train'].features
        self._width = features.shape[1]
        self._standardisation = (
            Standardisation.of(features) if config.standardize_features else None
        )
        self._optimizer = optimizers.of(config)
        self._call: Callable[[State, Any], tuple[State, Any]] | None = None

    @property
    def steps(self) -> int:
        return self._config.how_many_training_steps

    def start(self, head: Head | None = None) -> State:
        """The state before the first step; of a fresh head, or of one made before."""
        import tensorflow as tf

        if head is None:
            head = heads.init(self._width, self._classes, self._config.seed)
        elif self._standardisation:
            head = self._standardisation.unfold(head)
        best = early_stopping.start(head) if self._config.early_stopping_patience else ()
        return State(tf.constant(0), head, self._optimizer.start(head), best, tf.constant(False))

    def run(
        self, state: State, pause_every: int = 0, pause_before: Collection[int] = ()
    ) -> Iterator[Measurements]:
        """Goes on from `state` to the last step, or until no further step would help.

        Args:
          state: of `start`, or of a measurement of the same training.
          pause_every: every measurement ends at the latest at a step that is a multiple of this, so
            that the head of just that step can be stored; 0: wherever the loop likes.
          pause_before: steps that a measurement begins with.

        Raises:
          InputError: the cross entropy is no longer a number.
        """
        import tensorflow as tf

        self._call = self._call or tf.function(self._steps(), autograph=False)
        live = isinstance(self._splits['train'].features, LiveFeatures)
        first, most = int(state.step), 1 if live else _FIRST_CALL_STEPS
        while first < self._config.how_many_training_steps and not bool(state.stopped):
            end = min(first + most, self._config.how_many_training_steps)
            if pause_every:
                end = min(end, -(-first // pause_every) * pause_every + 1)
            end = min([end, *(step for step in pause_before if step > first)])
            start, waited = time.perf_counter(), self._seconds_read
            state, rows = self._call(state, tf.constant(end))
            done = int(state.step) - first
            seconds = time.perf_counter() - start
            if seconds < _SHORT_CALL_SECONDS:
                most = min(2 * most, _MOST_STEPS_PER_CALL)
            elif seconds > _LONG_CALL_SECONDS:
                most = max(most // 2, 1)
            measured = self._measured(first, rows.numpy()[:done], state)
            waited = self._seconds_read - waited
            yield dataclasses.replace(measured, seconds=seconds, waited=waited)
            first += done

    @property
    def _seconds_read(self) -> float:
        """How long features have been read from disk so far."""
        stored = (split.features for split in self._splits.values())
        return sum(each.seconds_read for each in stored if isinstance(each, StoredFeatures))

    def trained(self, state: State) -> Head:
        """What training gives if it ends here: with early stopping, the best head so far."""
        best = state.best
        return self._plain(best.head if isinstance(best, Best) else state.head)

    def _plain(self, head: Head) -> Head:
        """For features as they come."""
        return self._standardisation.fold(head) if self._standardisation else head

    def _steps(self) -> Callable[[State, Any], tuple[State, Any]]:
        """run(state, end) -> (state, rows float32 [_MOST_STEPS_PER_CALL, 7])."""
        import tensorflow as tf

        one_step = self._one_step()

        def run(state: State, end: Any) -> tuple[State, Any]:
            first = state.step
            rows = tf.TensorArray(tf.float32, _MOST_STEPS_PER_CALL, element_shape=[_ROW])

            def go_on(state: State, rows: Any) -> Any:
                return tf.logical_and(state.step < end, ~state.stopped)

            def body(state: State, rows: Any) -> tuple[State, Any]:
                after, row = one_step(state)
                return after, rows.write(state.step - first, row)

            state, rows = tf.while_loop(go_on, body, (state, rows), parallel_iterations=1)
            return state, rows.stack()

        return run

    def _one_step(self) -> Callable[[State], tuple[State, Any]]:
        """state -> (state, row): scores before, after, of validation; whether it was evaluated."""
        import tensorflow as tf

        config, optimizer = self._config, self._optimizer
        train, validation = self._splits['train'], self._splits.get('validation')
        train_size = -1 if config.optimizer == 'lbfgs' else config.train_batch_size
        take_train = self._taker(train, train_size, TRAIN_STREAM)
        take_validation = validation and self._taker(
            validation, self._validation_batch_size, VALIDATION_STREAM
        )
        objective_of = objective.of(config, train.labels, self._classes)
        last = config.how_many_training_steps - 1

        def one_step(state: State) -> tuple[State, Any]:
            step, batch = state.step, take_train(state.step)
            head, slots, before, converged = optimizer.step(
                step, state.head, state.slots, objective_of(batch)
            )

            def evaluate() -> tuple[Any, Any, Any]:
                after = heads.evaluate(head, *batch)
                unseen = heads.evaluate(head, *take_validation(step)) if take_validation else after
                best, stopped = state.best, converged
                if isinstance(best, Best):
                    best = early_stopping.update(best, head, unseen, step)
                    waited_enough = best.waited >= config.early_stopping_patience
                    stopped = tf.logical_or(stopped, waited_enough)
                return tf.stack([*before, *after, *unseen, 1.0]), best, stopped

            def skip() -> tuple[Any, Any, Any]:
                return tf.stack([*before, 0.0, 0.0, 0.0, 0.0, 0.0]), state.best, converged

            due = tf.logical_or(step % config.eval_step_interval == 0, step == last)
            row, best, stopped = tf.cond(tf.logical_or(due, converged), evaluate, skip)
            return State(step + 1, head, slots, best, stopped), row

        return one_step

    @property
    def _validation_batch_size(self) -> int:
        """The best head is chosen by the whole split, not by draws."""
        whole = self._config.early_stopping_patience
        return -1 if whole else self._config.validation_batch_size

    def _taker(
        self, split: SplitFeatures, batch_size: int, stream: int
    ) -> Callable[[Any], tuple[Any, Any]]:
        """A function of the step that gives its batch; the features stay on the device."""
        import tensorflow as tf

        config, standardisation = self._config, self._standardisation
        labels, features = tf.constant(split.labels), split.features
        sampler = Sampler.of(
            split.labels, self._classes, batch_size, config.sampling, config.seed, stream
        )
        if isinstance(features, LiveFeatures):
            return _live(features, labels, sampler, standardisation)
        if isinstance(features, StoredFeatures):
            return _reader(features, labels, sampler, standardisation)
        features = tf.constant(standardisation.apply(features) if standardisation else features)
        if batch_size < 0:
            return lambda step: (features, labels)

        def take(step: Any) -> tuple[Any, Any]:
            rows = sampler.draw(step)
            return tf.gather(features, rows), tf.gather(labels, rows)

        return take

    def _measured(self, first: int, rows: np.ndarray, state: State) -> Measurements:
        evaluations = []
        for step, row in enumerate(rows, first):
            if not np.isfinite(row).all():
                raise InputError(
                    f'Step {step}: the cross entropy is not a finite number. The steps are too '
                    f'long: lower --learning_rate (it is {self._config.learning_rate}).'
                )
            if row[_EVALUATED]:
                evaluations.append(self._evaluation(step, *row[2:_EVALUATED].tolist()))
        return Measurements(
            first, rows[:, 0], rows[:, 1], evaluations, self._plain(state.head), state
        )

    def _evaluation(
        self,
        step: int,
        accuracy: float,
        cross_entropy: float,
        unseen_accuracy: float,
        unseen_cross_entropy: float,
    ) -> Evaluation:
        validation, size = self._splits.get('validation'), self._validation_batch_size
        if validation is None:
            return Evaluation(step, accuracy, cross_entropy, None, None, 0)
        draws = len(validation) if size < 0 else size
        return Evaluation(
            step, accuracy, cross_entropy, unseen_accuracy, unseen_cross_entropy, draws
        )


def train(
    splits: dict[str, SplitFeatures],
    classes: int,
    config: HeadConfig,
    pause_every: int = 0,
) -> Iterator[Measurements]:
    """A whole training from a fresh head, as `Training` does it."""
    training = Training(splits, classes, config)
    return training.run(training.start(), pause_every)


def _reader(
    features: StoredFeatures,
    labels: Any,
    sampler: Sampler,
    standardisation: Standardisation | None,
) -> Callable[[Any], tuple[Any, Any]]:
    """A taker for features that stay on disk: the rows of each step are read when it comes."""
    import tensorflow as tf

    def take(step: Any) -> tuple[Any, Any]:
        rows = sampler.draw(step)
        values = tf.numpy_function(features.__getitem__, [rows], tf.float32)
        values = tf.ensure_shape(values, [sampler.draws, features.shape[1]])
        values = standardisation.apply(values) if standardisation else values
        return values, tf.gather(labels, rows)

    return take


def _live(
    features: LiveFeatures,
    labels: Any,
    sampler: Sampler,
    standardisation: Standardisation | None,
) -> Callable[[Any], tuple[Any, Any]]:
    """A taker that distorts the pictures of each step and sends them through the network."""
    import tensorflow as tf

    features_of = features.drawn_by(sampler.draw, sampler.draws)

    def take(step: Any) -> tuple[Any, Any]:
        values = features_of(step)
        values = standardisation.apply(values) if standardisation else values
        return values, tf.gather(labels, sampler.draw(step))

    return take
