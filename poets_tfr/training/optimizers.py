"""From one head to the next. Pure: what an optimizer remembers (its slots) goes in and comes out,
so that a step can stand in a compiled loop and a stopped run can go on. Not Keras's optimizers:
their pure form, `stateless_apply`, does not exist for Keras on TensorFlow.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from poets_tfr.training import lbfgs
from poets_tfr.training.head import Head, Scores
from poets_tfr.training.objective import Objective
from poets_tfr.training.settings import HeadConfig

MOMENTUM = 0.9
ADAM_BETAS, ADAM_EPSILON = (0.9, 0.999), 1e-8  # the paper's


class Stepped(NamedTuple):
    """scores: of the batch, before the step. converged: bool scalar; no step would do more."""

    head: Head
    slots: Any
    scores: Scores
    converged: Any


class Optimizer(NamedTuple):
    """start: head -> slots. step: (0-based step, head, slots, objective) -> Stepped."""

    start: Callable[[Head], Any]
    step: Callable[[Any, Head, Any, Objective], Stepped]


def of(config: HeadConfig) -> Optimizer:
    if config.optimizer == 'lbfgs':
        return Optimizer(lbfgs.start, lambda _, *state: Stepped(*lbfgs.step(*state)))
    rate_at = _schedule(config)
    if config.optimizer == 'momentum':
        return _first_order(_zeros, lambda *step: _momentum(rate_at, *step))
    if config.optimizer == 'adam':
        decay = config.weight_decay
        start = lambda head: (_zeros(head), _zeros(head))  # noqa: E731
        return _first_order(start, lambda *step: _adam(rate_at, decay, *step))
    return _first_order(lambda head: (), lambda *step: _sgd(rate_at, *step))


def _schedule(config: HeadConfig) -> Callable[[Any], Any]:
    """The learning rate of a step. cosine: Loshchilov and Hutter, SGDR, 2017, without restarts."""
    import tensorflow as tf

    rate, total = config.learning_rate, config.how_many_training_steps
    if config.learning_rate_schedule == 'constant':
        return lambda step: rate
    return lambda step: rate * 0.5 * (1 + tf.cos(math.pi / total * tf.cast(step, tf.float32)))


Update = Callable[[Any, Head, Any, Head], tuple[Head, Any]]


def _first_order(start: Callable[[Head], Any], update: Update) -> Optimizer:
    """update: (step, head, slots, gradient) -> (head, slots)."""

    def step(number: Any, head: Head, slots: Any, objective: Objective) -> Stepped:
        import tensorflow as tf

        here = objective(head)
        head, slots = update(number, head, slots, here.gradient)
        return Stepped(head, slots, here.scores, tf.constant(False))

    return Optimizer(start, step)


def _zeros(head: Head) -> Head:
    import tensorflow as tf

    return Head(*map(tf.zeros_like, head))


def _sgd(
    rate_at: Callable[[Any], Any], step: Any, head: Head, slots: Any, gradient: Head
) -> tuple[Head, Any]:
    rate = rate_at(step)
    moved = [value - rate * part for value, part in zip(head, gradient, strict=True)]
    return Head(*moved), slots


def _momentum(
    rate_at: Callable[[Any], Any], step: Any, head: Head, velocity: Head, gradient: Head
) -> tuple[Head, Head]:
    """Polyak's, as in Sutskever et al. 2013, equations 1 and 2: v = 0.9 v - rate g, w += v."""
    rate = rate_at(step)
    both = zip(velocity, gradient, strict=True)
    velocity = Head(*[MOMENTUM * speed - rate * part for speed, part in both])
    return Head(*[v + speed for v, speed in zip(head, velocity, strict=True)]), velocity


def _adam(
    rate_at: Callable[[Any], Any],
    decay: float,
    step: Any,
    head: Head,
    slots: tuple[Head, Head],
    gradient: Head,
) -> tuple[Head, tuple[Head, Head]]:
    """Kingma and Ba 2015, algorithm 1; the decay of the weights is decoupled (Loshchilov and Hutter
    2019, algorithm 2).
    """
    import tensorflow as tf

    rate, number = rate_at(step), tf.cast(step, tf.float32) + 1
    (one, two), (first, second) = ADAM_BETAS, slots
    first = Head(*[one * m + (1 - one) * g for m, g in zip(first, gradient, strict=True)])
    second = Head(*[two * v + (1 - two) * g * g for v, g in zip(second, gradient, strict=True)])
    means = [m / (1 - tf.pow(one, number)) for m in first]
    squares = [v / (1 - tf.pow(two, number)) for v in second]
    moves = [m / (tf.sqrt(v) + ADAM_EPSILON) for m, v in zip(means, squares, strict=True)]
    if decay:
        moves[0] += decay * head.weights
    return Head(*[w - rate * move for w, move in zip(head, moves, strict=True)]), (first, second)
