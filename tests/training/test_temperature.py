"""The temperature: known answers, and where there is none."""

from __future__ import annotations

import math

import numpy as np
import pytest
import tensorflow as tf

from poets_tfr.training import temperature
from poets_tfr.training.head import Head

# A logit that is log 3 higher is right 3 times in 4: scores of 0.75, and so a temperature of 1.
LOGITS = np.array([[math.log(3), 0.0]] * 4)
LABELS = np.array([0, 0, 0, 1])


@pytest.mark.parametrize('factor', [1.0, 2.5, 0.01, 1000.0])
def test_scaled_logits_give_the_factor(factor: float) -> None:
    found = temperature.fit(factor * LOGITS + 7, LABELS)
    assert found
    assert found.value == pytest.approx(factor, rel=1e-9)
    # Fisher's information of the logarithm, by hand: n * p * (1 - p) * log(3)^2.
    spread = math.exp(1.959964 / math.sqrt(4 * 0.75 * 0.25 * math.log(3) ** 2))
    assert found[1:] == pytest.approx([factor / spread, factor * spread], rel=1e-6)


def cross_entropy(logits: np.ndarray, labels: np.ndarray) -> float:
    scores = np.exp(logits - logits.max(axis=1, keepdims=True))
    scores /= scores.sum(axis=1, keepdims=True)
    return float(-np.log(scores[np.arange(len(labels)), labels]).mean())


def test_many_classes_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Labels drawn by the scores themselves; what is found is the lowest point."""
    rng = np.random.default_rng(3)
    logits = rng.normal(0, 2, (4000, 11)).astype(np.float32)
    labels = (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)
    found = temperature.fit(3 * logits, labels)
    assert found
    assert found.low < 3 < found.high < 1.1 * found.low
    least = cross_entropy(3 * logits / found.value, labels)
    for other in 0.999, 1.001:
        assert cross_entropy(3 * logits / (other * found.value), labels) > least
    monkeypatch.setattr(temperature, '_VALUES_AT_ONCE', 1000)
    assert temperature.fit(3 * logits, labels) == pytest.approx(found, rel=1e-9)


@pytest.mark.parametrize(
    'labels',
    [
        [0, 0, 0, 0],  # all right: the colder the better
        [1, 1, 1, 0],  # worse than guessing
        [0, 0, 1, 1],  # as good as guessing
    ],
)
def test_no_temperature(labels: list[int]) -> None:
    assert temperature.fit(LOGITS, np.array(labels)) is None
    assert temperature.fit(0 * LOGITS, np.array(labels)) is None


def test_folding_divides_the_logits() -> None:
    head = Head(tf.constant([[3.0, -6.0]]), tf.constant([1.5, 0.75]))
    folded = temperature.folded(head, 1.5)
    assert folded.weights.numpy().tolist() == [[2.0, -4.0]]
    assert folded.biases.numpy().tolist() == [1.0, 0.5]
    assert folded.weights.dtype == tf.float32
