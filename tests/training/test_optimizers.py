"""Each optimizer and each term of the objective against the same formula in plain numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from poets_tfr.training import lbfgs, objective, optimizers
from poets_tfr.training.head import Head, Scores
from poets_tfr.training.settings import HeadConfig

WIDTH, CLASSES, ROWS = 6, 3, 40
RNG = np.random.default_rng(0)
FEATURES = RNG.normal(0, 1, (ROWS, WIDTH))
LABELS = RNG.choice(CLASSES, ROWS, p=[0.6, 0.3, 0.1]).astype(np.int32)
WEIGHTS, BIASES = RNG.normal(0, 1, (WIDTH, CLASSES)), RNG.normal(0, 1, CLASSES)


def the_head() -> Head:
    import tensorflow as tf

    return Head(tf.constant(WEIGHTS, tf.float32), tf.constant(BIASES, tf.float32))


def the_objective(config: HeadConfig) -> objective.Objective:
    import tensorflow as tf

    batch = tf.constant(FEATURES, tf.float32), tf.constant(LABELS)
    return objective.of(config, LABELS, CLASSES)(batch)


def value_and_gradient(
    weights: np.ndarray, biases: np.ndarray, config: HeadConfig
) -> tuple[float, np.ndarray, np.ndarray]:
    """In float64; cross entropy, smoothing, class weights and the penalty that is in the loss."""
    logits = FEATURES @ weights + biases
    log_likely = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    smoothing = config.label_smoothing
    targets = (1 - smoothing) * np.eye(CLASSES)[LABELS] + smoothing / CLASSES
    importance = np.ones(ROWS)
    if config.class_weights == 'auto':
        importance = (ROWS / CLASSES / np.bincount(LABELS))[LABELS]
    penalty = 0 if config.optimizer == 'adam' else config.weight_decay
    value = -(importance[:, None] * targets * log_likely).sum() / ROWS
    gradient = importance[:, None] * (np.exp(log_likely) - targets) / ROWS
    value += penalty / 2 * np.square(weights).sum()
    return value, FEATURES.T @ gradient + penalty * weights, gradient.sum(axis=0)


OBJECTIVES = {
    'plain': {},
    'smoothing': {'label_smoothing': 0.2},
    'class weights': {'class_weights': 'auto', 'sampling': 'natural'},
    'decay': {'weight_decay': 0.3},
    'all': {
        'label_smoothing': 0.1, 'class_weights': 'auto', 'sampling': 'natural', 'weight_decay': 0.1
    },
}  # fmt: skip


@pytest.mark.parametrize('settings', OBJECTIVES.values(), ids=list(OBJECTIVES))
def test_the_objective_and_its_gradient(settings: dict[str, Any]) -> None:
    config = HeadConfig(**settings)
    found = the_objective(config)(the_head())
    value, weights, biases = value_and_gradient(WEIGHTS, BIASES, config)
    np.testing.assert_allclose(found.value.numpy(), value, rtol=1e-5)
    np.testing.assert_allclose(found.gradient.weights.numpy(), weights, atol=1e-5)
    np.testing.assert_allclose(found.gradient.biases.numpy(), biases, atol=1e-5)
    plain, _, _ = value_and_gradient(WEIGHTS, BIASES, HeadConfig())
    np.testing.assert_allclose(found.scores.cross_entropy.numpy(), plain, rtol=1e-5)


def after(config: HeadConfig, steps: int) -> np.ndarray:
    """All numbers of the head after some steps, in one row."""
    import tensorflow as tf

    optimizer, objective_ = optimizers.of(config), the_objective(config)
    compiled = tf.function(
        lambda step, head, slots: optimizer.step(step, head, slots, objective_), autograph=False
    )
    head, slots = the_head(), optimizer.start(the_head())
    for step in range(steps):
        head, slots, _, converged = compiled(tf.constant(step), head, slots)
        if bool(converged):
            break
    return np.concatenate([head.weights.numpy().ravel(), head.biases.numpy()])


def twin_after(config: HeadConfig, steps: int) -> np.ndarray:
    values = [WEIGHTS.copy(), BIASES.copy()]
    first, second = [np.zeros_like(v) for v in values], [np.zeros_like(v) for v in values]
    for step in range(steps):
        rate = config.learning_rate
        if config.learning_rate_schedule == 'cosine':
            rate *= (1 + np.cos(np.pi * step / config.how_many_training_steps)) / 2
        _, *gradients = value_and_gradient(values[0], values[1], config)
        for i, gradient in enumerate(gradients):
            if config.optimizer == 'adam':
                first[i] = 0.9 * first[i] + 0.1 * gradient
                second[i] = 0.999 * second[i] + 0.001 * gradient**2
                mean, square = first[i] / (1 - 0.9 ** (step + 1)), second[i]
                square = square / (1 - 0.999 ** (step + 1))
                decay = config.weight_decay * values[i] if i == 0 else 0
                values[i] = values[i] - rate * (mean / (np.sqrt(square) + 1e-8) + decay)
            else:
                kept = 0.9 if config.optimizer == 'momentum' else 0
                first[i] = kept * first[i] - rate * gradient
                values[i] = values[i] + first[i]
    return np.concatenate([values[0].ravel(), values[1]])


@pytest.mark.parametrize('schedule', ['constant', 'cosine'])
@pytest.mark.parametrize('decay', [0.0, 0.2])
@pytest.mark.parametrize('optimizer', ['sgd', 'momentum', 'adam'])
def test_an_optimizer_equals_its_plain_twin(optimizer: Any, decay: float, schedule: Any) -> None:
    config = HeadConfig(
        optimizer=optimizer,
        weight_decay=decay,
        learning_rate=0.1,
        learning_rate_schedule=schedule,
        how_many_training_steps=20,
    )
    np.testing.assert_allclose(after(config, 15), twin_after(config, 15), atol=3e-5)


@pytest.mark.parametrize('settings', OBJECTIVES.values(), ids=list(OBJECTIVES))
def test_lbfgs_ends_in_the_valley(settings: dict[str, Any]) -> None:
    """The objective is convex, so that a flat place is the lowest one; SGD needs far more steps."""
    settings = {'weight_decay': 0.01, **settings}
    config = HeadConfig(**settings, optimizer='lbfgs')
    found = after(config, 100)
    weights, biases = found[:-CLASSES].reshape(WIDTH, CLASSES), found[-CLASSES:]
    lowest, *gradients = value_and_gradient(weights, biases, config)
    assert max(abs(gradient).max() for gradient in gradients) < 1e-3
    sgd = after(HeadConfig(**settings, learning_rate=0.5), 300)
    value, *_ = value_and_gradient(sgd[:-CLASSES].reshape(WIDTH, CLASSES), sgd[-CLASSES:], config)
    assert lowest <= value + 1e-6


def test_lbfgs_stops_by_itself_and_then_stands_still() -> None:
    config = HeadConfig(optimizer='lbfgs', weight_decay=0.1)
    np.testing.assert_array_equal(after(config, 100), after(config, 1000))


@pytest.mark.parametrize(('sign', 'remembered'), [(1.0, 1), (-1.0, 0)])
def test_lbfgs_remembers_no_pair_without_curvature(sign: float, remembered: int) -> None:
    """On a hill the gradient changes against the move: that would turn the next step uphill."""
    import tensorflow as tf

    def hill_or_valley(head: Head) -> objective.ValueAndGradient:
        value = sign * sum(tf.nn.l2_loss(part) for part in head)
        gradient = Head(*(sign * part for part in head))
        return objective.ValueAndGradient(value, gradient, Scores(tf.zeros([]), tf.zeros([])))

    _, memory, _, _ = lbfgs.step(the_head(), lbfgs.start(the_head()), hill_or_valley)
    assert np.count_nonzero(memory.curvatures) == remembered
    assert np.count_nonzero(np.any(memory.moves, axis=1)) == remembered
    if remembered:  # the gradient is the head itself, and changes as it moves
        np.testing.assert_allclose(
            memory.curvatures[-1], 1 / np.square(memory.moves[-1]).sum(), rtol=1e-4
        )


def test_class_weights_are_one_in_the_mean() -> None:
    weights = objective.class_weights(np.array([0, 0, 0, 1], np.int32), 2)
    np.testing.assert_allclose(weights, [2 / 3, 2])
    assert weights[[0, 0, 0, 1]].mean() == 1
